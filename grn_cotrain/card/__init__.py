"""The gene-embedding card of a run, and the difference of two runs."""

from __future__ import annotations

from grn_cotrain.card.card import GeneCard, build_card
from grn_cotrain.card.diff import RunDiff, diff_runs

__all__ = ["GeneCard", "RunDiff", "build_card", "diff_runs"]
