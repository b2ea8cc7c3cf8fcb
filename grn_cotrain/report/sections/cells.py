"""Masked values of held-out cells, compared with predictors that need no network."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from grn_cotrain.present import Cell, Column, Row, Table, figure, metric, whole
from grn_cotrain.report.blocks import Block, Heading, Missing, Section, Text
from grn_cotrain.report.inputs import ReportInputs, RunInputs

__all__ = ["section"]

_WHAT = {
    "gene_mean": "each gene's mean over training cells; scores 0 by definition",
    "gene_and_cell": "gene mean and the cell's general level",
    "factor_analysis": "factor analysis from the visible entries, rank chosen on validation cells",
}
_RANKED = {
    "feature_frequency": "share of training cells in which the feature is open",
    "frequency_and_depth": "that share, times the number of open features that the cell shows",
}
_SHOWN = ("r2", "r2_pooled")
_SHOWN_RANKED = ("auroc", "auprc")
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
        found = [(run, frame if "assay" in frame else frame.assign(assay="")) for run, frame in found]
        assays = list(dict.fromkeys(assay for _, frame in found for assay in frame["assay"]))
        for assay in assays:
            mine = [(run, frame[frame["assay"] == assay]) for run, frame in found]
            mine = [(run, frame) for run, frame in mine if len(frame)]
            blocks += [Heading(f"Assay {assay}")] if len(assays) > 1 else []
            blocks.append(_table(mine, assay if len(assays) > 1 else ""))
            blocks += [text for run, frame in mine if (text := _verdict(run, frame)) is not None]
    return Section("cells", "Masked values of held-out cells", "Cells", tuple(blocks))


def _table(found: list[tuple[RunInputs, pd.DataFrame]], assay: str) -> Table:
    """Table of one assay; ``assay`` is empty where there is one."""
    rows: dict[str, Row] = {}
    ranked = any("auroc" in set(frame["metric"]) for _, frame in found)
    metrics = _SHOWN_RANKED if ranked else _SHOWN
    baselines = _RANKED if ranked else _WHAT
    for run, frame in found:
        for scorer in dict.fromkeys(frame["scorer"]):
            part = frame[frame["scorer"] == scorer].set_index("metric")
            is_control = scorer in baselines
            name = str(scorer).replace("_", " ") if is_control else run.arm
            first = part.iloc[0]
            shown = [
                figure(*(part.at[name, key] for key in ("value", "low", "high")))
                if name in part.index
                else figure(None)
                for name in metrics
            ]
            what = baselines.get(scorer, "the model")
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
        *(Column(metric(name).heading, title=metric(name).sentence) for name in metrics),
        Column("hidden entries"),
        Column("cells"),
        Column("what it is", numeric=False),
    ]
    caption = "R2 of hidden values with 95 % bootstrap intervals over held-out cells."
    if ranked:
        caption = (
            "Values of this assay are all alike, so entries are ranked: 15 % of the entries of held-out cells are"
            " hidden, open and closed ones alike. 95 % bootstrap intervals over held-out cells."
        )
    ordered = sorted(rows.values(), key=lambda row: (row.tone != "model", -(_as_number(row.cells[1].value))))
    return Table(columns, ordered, name=f"cells-{assay}" if assay else "cells", caption=caption)


def _as_number(value: float | str | None) -> float:
    return float(value) if value is not None else float("-inf")


def _verdict(run: RunInputs, frame: pd.DataFrame) -> Text | None:
    ranked = "auroc" in set(frame["metric"])
    judged = _RANKING if ranked else _VALUES
    values = frame[frame["metric"] == judged.metric].set_index("scorer")
    mine = [scorer for scorer in values.index if scorer not in (_RANKED if ranked else _WHAT)]
    who = f"Run {run.label}: the model" if run.label else "The model"
    if not mine:
        return Text(f"{who} {judged.untrained}, so it has no row here.", tone="note")
    if judged.bar not in values.index:
        return None
    model, bar = values.loc[mine[0]], values.loc[judged.bar]
    if model["low"] > bar["high"]:
        return Text(f"{who} {judged.better}.", tone="good")
    if model["high"] < bar["low"] or model["value"] < bar["value"]:
        return Text(f"{who} {judged.worse}.", tone="caution")
    named = judged.bar.replace("_", " ")
    return Text(f"{who} and {named} cannot be distinguished: their intervals overlap.", tone="caution")


@dataclass(frozen=True)
class _Judged:
    """A metric, the baseline that a model is compared with, and the words for each outcome."""

    metric: str
    bar: str
    untrained: str
    better: str
    worse: str


_VALUES = _Judged(
    "r2",
    "factor_analysis",
    "was not trained on masked values",
    "explains more of the hidden values than factor analysis",
    "explains less of the hidden values than factor analysis",
)
_RANKING = _Judged(
    "auroc",
    "frequency_and_depth",
    "has no objective that learns which features are zero",
    "ranks open features better than frequency and depth do",
    "ranks open features worse than frequency and depth do",
)
