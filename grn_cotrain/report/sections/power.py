"""Power: the gain over links alone in simulated worlds, and where this run's data are."""

from __future__ import annotations

from grn_cotrain.data.power import POWER, POWER_TREES, power_note
from grn_cotrain.data.store import CellStore
from grn_cotrain.present import figure, percent, table, whole
from grn_cotrain.report.blocks import Block, Missing, Section, Text
from grn_cotrain.report.figures import draw
from grn_cotrain.report.inputs import ReportInputs, RunInputs

__all__ = ["section"]

_TITLES = {"share": "share of acting edges", "cells": "number of cells", "depth": "depth"}


def section(report: ReportInputs) -> Section:
    """Figures of the first run: runs of a comparison read the same cells, or have reports of their own."""
    return Section("power", "Power of these data", "Power", tuple(_of(report.runs[0])))


def _of(run: RunInputs) -> list[Block]:
    prep = run.prep.value
    if prep is None:
        return [Missing(run.prep.problem, "grn-cotrain report from the folder where the recipe's paths hold")]
    note = power_note(prep.cells)
    if note is None:
        return [Missing("power is known for RNA alone")]
    how = (
        "How much expression adds to links alone was measured in simulated worlds: boosted trees with regulon factors,"
        " minus the same trees without, on unseen targets. It is not a prediction for these data, since which share of"
        f" the edges acts in these cells is unknown; {POWER_TREES}."
    )
    return [Text(how), Text(note, tone="note"), *(_figure(prep.cells, by) for by in _TITLES), _table()]


def _figure(cells: CellStore, by: str) -> Block:
    from grn_cotrain import pl

    return draw(
        lambda ax: pl.power(cells, by=by, ax=ax),
        size=(4.5, 3.0),
        name=f"power-{by}",
        title=f"Gain over links alone by {_TITLES[by]}",
        description=(
            f"A line of the mean gain in simulated worlds against the {_TITLES[by]}, single worlds with their intervals"
            " over TFs, and a vertical line where the data of this run are. The table below holds the numbers."
        ),
        caption=f"Gain in macro AUROC by {_TITLES[by]}. Small marks: single worlds with 95 % intervals over TFs."
        + ("" if by == "share" else " Vertical line: the data of this run."),
    )


def _table() -> Block:
    rows = []
    for one in POWER:
        above = figure(sum(low > 0 for _, low, _ in one.worlds), digits=0)
        settings = (percent(one.share, 0), whole(one.cells), figure(one.per_gene, digits=2))
        rows.append([*settings, figure(one.gain, sign=True), above])
    headings = ("acting edges", "cells", "counts a gene", "gain", "worlds with an interval above 0")
    caption = f"Gains in simulated worlds, mean of {len(POWER[0].worlds)}."
    return table(headings, rows, numeric=(0, 1, 2, 3, 4), name="power", caption=caption, sortable=False)
