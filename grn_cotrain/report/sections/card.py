"""The gene-embedding card: what the embedding encodes, how stable it is, what can be read from it."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.card import GeneCard, build_card
from grn_cotrain.report.blocks import Block, Section
from grn_cotrain.report.card_page import run_card_blocks, stored_card
from grn_cotrain.report.inputs import ReportInputs, RunInputs, without_paths
from grn_cotrain.report.sections.beside import beside

__all__ = ["section"]

_OPEN = 3  # sections shown at once; what they rest on is folded away


def section(report: ReportInputs) -> Section:
    """Card of each run: the one in the folder, or a new one."""
    return Section("card", "Gene-embedding card", "Card", tuple(beside(report, lambda run: _of(report, run))))


def _of(report: ReportInputs, run: RunInputs) -> Sequence[Block]:
    return run_card_blocks(
        run, lambda: _card(report, run), command=f"grn-cotrain card {run.place}", slug=run.slug, num_open=_OPEN
    )


def _card(report: ReportInputs, run: RunInputs) -> GeneCard:
    """The card in the run's folder, or a new one."""
    found = stored_card(GeneCard, report, run, run.run.model)
    if found is not None:
        return found
    return build_card(run.run.folder, say=lambda text: report.say(f"  {without_paths(text)}"))
