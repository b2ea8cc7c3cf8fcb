"""Masked values of held-out cells, compared with predictors that need no network."""

from __future__ import annotations

import pandas as pd

from grn_cotrain.present import CELL_METRICS, Cell, Column, Row, Table, figure, whole
from grn_cotrain.report.blocks import Block, Missing, Section, Text
from grn_cotrain.report.inputs import ReportInputs, RunInputs

__all__ = ["section"]

_WHAT = {
    "gene_mean": "each gene's mean over training cells; scores 0 by definition",
    "gene_and_cell": "gene mean and the cell's general level",
    "factor_analysis": "factor analysis from the visible entries, rank chosen on validation cells",
}
_SHOWN = ("r2", "r2_pooled")
_HOW = (
    "15 % of the non-zero entries of held-out cells are hidden and predicted from the rest. R2 is taken on values "
    "standardised per gene, so that knowledge of the genes' means scores 0. Factor analysis is the reference: a "
    "cell model that learned more than linear co-expression is above it."
)


def section(report: ReportInputs) -> Section:
    """One table for all runs."""
    blocks: list[Block] = [Text(_HOW)]
    found = [(run, run.cells.value) for run in report.runs if run.cells.value is not None]
    for run in report.runs:
        if run.cells.value is None:
            who = f"run {run.label}: " if run.label else ""
            blocks.append(Missing(who + run.cells.problem, f"grn-cotrain evaluate links {run.place}"))
    if found:
        blocks.append(_table(found))
        blocks += [text for run, frame in found if (text := _verdict(run, frame)) is not None]
    return Section("cells", "Masked values of held-out cells", "Cells", tuple(blocks))


def _table(found: list[tuple[RunInputs, pd.DataFrame]]) -> Table:
    rows: dict[str, Row] = {}
    for run, frame in found:
        for scorer in dict.fromkeys(frame["scorer"]):
            part = frame[frame["scorer"] == scorer].set_index("metric")
            is_control = scorer in _WHAT
            name = str(scorer).replace("_", " ") if is_control else run.arm
            first = part.iloc[0]
            shown = [
                figure(*(part.at[name, key] for key in ("value", "low", "high")))
                if name in part.index
                else figure(None)
                for name in _SHOWN
            ]
            what = _WHAT.get(scorer, "the model")
            note = f"{what}; {first['note']}" if first.get("note") else what
            # Runs on other cells have other controls of the same name.
            key = f"{name}{shown[0].value}"
            rows.setdefault(
                key,
                Row(
                    [Cell(name), *shown, whole(first["num_entries"]), whole(first["num_cells"]), Cell(note)],
                    tone="" if is_control else "model",
                ),
            )
    columns = [
        Column("predictor", numeric=False),
        *(Column(CELL_METRICS[name].heading, title=CELL_METRICS[name].sentence) for name in _SHOWN),
        Column("hidden entries"),
        Column("cells"),
        Column("what it is", numeric=False),
    ]
    caption = "R2 of hidden values with 95 % bootstrap intervals over held-out cells."
    ordered = sorted(rows.values(), key=lambda row: (row.tone != "model", -(_as_number(row.cells[1].value))))
    return Table(columns, ordered, name="cells", caption=caption)


def _as_number(value: float | str | None) -> float:
    return float(value) if value is not None else float("-inf")


def _verdict(run: RunInputs, frame: pd.DataFrame) -> Text | None:
    values = frame[frame["metric"] == "r2"].set_index("scorer")
    mine = [scorer for scorer in values.index if scorer not in _WHAT]
    who = f"Run {run.label}: the model" if run.label else "The model"
    if not mine:
        return Text(f"{who} was not trained on masked values, so it has no row here.", tone="note")
    if "factor_analysis" not in values.index:
        return None
    model, bar = values.loc[mine[0]], values.loc["factor_analysis"]
    if model["low"] > bar["high"]:
        return Text(f"{who} explains more of the hidden values than factor analysis.", tone="good")
    if model["high"] < bar["low"] or model["value"] < bar["value"]:
        return Text(f"{who} explains less of the hidden values than factor analysis.", tone="caution")
    return Text(f"{who} and factor analysis cannot be distinguished: their intervals overlap.", tone="caution")
