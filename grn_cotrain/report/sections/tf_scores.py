"""Scores of single TFs: where the macro averages come from."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grn_cotrain.present import Cell, Column, figure, table, whole
from grn_cotrain.report.blocks import Block, Missing, Section, Text
from grn_cotrain.report.inputs import ReportInputs
from grn_cotrain.report.sections.links import Source, sources

__all__ = ["section"]


def section(report: ReportInputs) -> Section:
    """Tables of TFs, one a split."""
    blocks: list[Block] = []
    groups = sources(report)
    for group in groups:
        blocks += _group(group)
    if not groups:
        blocks.append(Missing("links were not evaluated yet", "grn-cotrain evaluate links RUN"))
    return Section("tf-scores", "Scores of single TFs", "Single TFs", tuple(blocks))


def _group(group: Sequence[Source]) -> list[Block]:
    first = group[0].table
    split = first.headline_split
    if any(source.table.per_tf is None for source in group):
        reason = f"scores of single TFs on {split} were not kept by an older evaluation"
        return [Missing(reason, "grn-cotrain evaluate links RUN")]
    scores: list[tuple[str, pd.DataFrame]] = []
    for source in group:
        frame = source.table.per_tf
        assert frame is not None
        for scorer in dict.fromkeys(frame.loc[frame["kind"] != "control", "scorer"]):
            scores.append((source.name(scorer, "model"), _of(source, scorer)))
    control = first.best_control()
    if control is not None:
        scores.append((control, _of(group[0], control)))
    if not scores:
        return [Missing(f"no scorer was evaluated on {split}", "grn-cotrain evaluate links RUN")]
    return _table(split, scores, has_control=control is not None)


def _of(source: Source, scorer: str) -> pd.DataFrame:
    frame = source.table.per_tf
    assert frame is not None
    chosen = frame[(frame["split"] == source.table.headline_split) & (frame["scorer"] == scorer)]
    return chosen.drop_duplicates("tf").set_index("tf")


def _table(split: str, scores: Sequence[tuple[str, pd.DataFrame]], *, has_control: bool) -> list[Block]:
    base = scores[0][1].sort_values(["num_targets", "num_pairs"], ascending=False, kind="stable")
    model, control = scores[0][0], scores[-1][0]
    columns = [Column("TF", numeric=False), Column("targets tested"), Column("candidates")]
    columns += [Column(f"AUROC, {name}") for name, _ in scores]
    if has_control and len(scores) > 1:
        columns.append(Column(f"{model} \N{MINUS SIGN} {control}", title="difference of the AUROCs"))
    columns += [Column(f"AP, {name}", title="average precision") for name, _ in scores]
    rows, wins, compared = [], 0, 0
    for tf, first in base.iterrows():
        aurocs = [_value(frame, tf, "auroc") for _, frame in scores]
        cells = [Cell(str(tf)), whole(first["num_targets"]), whole(first["num_pairs"])]
        cells += [figure(value) for value in aurocs]
        if has_control and len(scores) > 1:
            both = aurocs[0] is not None and aurocs[-1] is not None
            change = aurocs[0] - aurocs[-1] if both else None  # type: ignore[operator]
            compared += change is not None
            wins += change is not None and change > 0
            cells.append(figure(change, sign=True))
        cells += [figure(_value(frame, tf, "ap")) for _, frame in scores]
        rows.append(cells)
    blocks: list[Block] = [
        table(
            columns,
            rows,
            name=f"tfs-{split}",
            caption=f"{split}: scores among all candidates of a TF. A dash: too few test positives for a score.",
            sorted_by=(1, "descending"),
            filter="Show TFs whose row contains",
        )
    ]
    if compared:
        text = f"{model} scores above {control}, its best control on average, for {wins:,} of {compared:,} TFs."
        blocks.insert(0, Text(text))
    return blocks


def _value(frame: pd.DataFrame, tf: object, column: str) -> float | None:
    if tf not in frame.index:
        return None
    value = float(frame.at[tf, column])  # type: ignore[arg-type]
    return value if value == value else None
