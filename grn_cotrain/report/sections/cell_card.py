"""The cell-embedding card: which labels can be read from it, and what depth explains of it; with maps."""

from __future__ import annotations

from collections.abc import Sequence

from grn_cotrain.card import CellCard, build_cell_card
from grn_cotrain.report.blocks import Block, Missing, Section
from grn_cotrain.report.card_page import run_card_blocks, stored_card
from grn_cotrain.report.cell_maps import cell_maps
from grn_cotrain.report.inputs import Part, ReportInputs, RunInputs, without_paths
from grn_cotrain.report.sections.beside import beside

__all__ = ["section"]

_OPEN = 2  # labels, and what explains the embedding
_MAX_CELLS = 1000


def section(report: ReportInputs) -> Section:
    """Card of each run: the one in the folder, or a new one of the run's own cells."""
    return Section("cell-card", "Cell-embedding card", "Cell card", tuple(beside(report, lambda run: _of(report, run))))


def _of(report: ReportInputs, run: RunInputs) -> Sequence[Block]:
    return run_card_blocks(
        run,
        lambda: _card(report, run),
        command=f"grn-cotrain card {run.place} --kind cells",
        slug=lambda name: run.slug(f"cell-{name}"),
        num_open=_OPEN,
        figures=lambda card: _maps(report, run, card),
    )


def _maps(report: ReportInputs, run: RunInputs, card: CellCard) -> Sequence[Block]:
    maps = Part.attempt(lambda: cell_maps(card, basis=report.basis, slug=run.slug))
    return maps.value if maps.value is not None else [Missing(f"no map: {maps.problem}")]


def _card(report: ReportInputs, run: RunInputs) -> CellCard:
    found = stored_card(CellCard, report, run, run.run.model_for("cells"))
    if found is not None:
        return found
    return build_cell_card(
        run.run.folder,
        None,
        prep=run.given_prep,
        max_cells=_MAX_CELLS,
        say=lambda text: report.say(f"  {without_paths(text)}"),
    )
