"""The cards of a run: of its gene embedding and of its cell embedding; and the difference of two runs."""

from __future__ import annotations

from grn_cotrain.card.card import GeneCard, build_card
from grn_cotrain.card.cell_card import CellCard, build_cell_card
from grn_cotrain.card.diff import RunDiff, diff_runs
from grn_cotrain.card.document import Card

__all__ = [
    "Card",
    "CellCard",
    "GeneCard",
    "RunDiff",
    "build_card",
    "build_cell_card",
    "diff_runs",
]
