"""The model beside its controls on the held-out links, every metric with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from grn_cotrain.evaluate.bootstrap import interval as paired_interval
from grn_cotrain.evaluate.link_rows import TITLES, digits, link_rows, printed_metrics
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.report.blocks import Block, Columns, Details, Heading, Missing, Names, Section, Text
from grn_cotrain.report.figures import draw
from grn_cotrain.report.inputs import ReportInputs, RunInputs
from grn_cotrain.report.tables import Cell, Column, Row, Table, count, interval, measured, number, records, signed
from grn_cotrain.report.verdict import metric_name, split_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Source", "section", "sources"]

_HEADLINE = "macro_auroc"
_EXPLAINED = {
    "macro_auroc": "mean over TFs of the AUROC among a TF's candidate targets",
    "macro_ap": "mean over TFs of average precision",
    "auroc": "AUROC of all pairs in one list",
    "auprc": "area under precision and recall of all pairs in one list",
    "auprc_ratio": "AUPRC over the share of positives; 1 is chance",
    "epr": "early precision over the share of positives; 1 is chance",
    "mrr_adjusted": "mean reciprocal rank, adjusted for chance; 0 is chance",
    "degree_matched_auroc": "concordance among targets of equal in-degree; 0.5: nothing but degree",
    "residual_auroc": "within strata of the additive model's logit; 0.5: nothing but degree",
    "brier": "mean squared error of the probabilities; less is better",
}
_HOW_TO_READ = (
    "Macro metrics are means over TFs. Intervals are 95 % bootstrap intervals over {units}; they may overlap where "
    "a paired difference is certain, so read the differences. The best control is chosen on these same test pairs, in "
    "the controls' favour. A star marks the best control of a column. Controls whose printed values are all equal "
    "share one row."
)


@dataclass(frozen=True)
class Source:
    """A link table and who it belongs to: one run, or several folds together."""

    label: str
    table: LinkTable

    def name(self, scorer: str, kind: str) -> str:
        """Return the scorer as rows show it: models carry the letter of their run."""
        return f"{self.label}: {scorer}" if self.label and kind != "control" else scorer


def sources(report: ReportInputs) -> list[list[Source]]:
    """Link tables of the report, those of one split together: their controls are the same and are shown once."""
    groups: dict[str, list[Source]] = {}
    for run in report.runs:
        if run.links.value is not None:
            table = run.links.value
            groups.setdefault(table.keys[table.headline_split], []).append(Source(run.label, table))
    for name, table in report.tables:
        groups.setdefault(f"{name}-{table.headline_split}", []).append(Source("", table))
    return list(groups.values())


def section(report: ReportInputs) -> Section:
    """Link tables of all runs."""
    blocks: list[Block] = [_missing(run) for run in report.runs if run.links.value is None]
    groups = sources(report)
    for group in groups:
        blocks += _group(group, with_heading=len(groups) > 1)
    if groups:
        blocks.append(_controls_explained(groups))
    return Section("links", "The model beside its controls", "Links", tuple(blocks))


def _missing(run: RunInputs) -> Missing:
    who = f"run {run.label}: " if run.label else ""
    if not run.has_model:
        command = f"grn-cotrain train RECIPE.yaml --out {run.place} --resume"
        return Missing(f"{who}links cannot be evaluated before a model is saved", command)
    return Missing(who + run.links.problem, f"grn-cotrain evaluate links {run.place}")


def _group(group: Sequence[Source], *, with_heading: bool) -> list[Block]:
    table = group[0].table
    split = table.headline_split
    blocks: list[Block] = [Heading(f"{split}: {split_in_words(split)}")] if with_heading else []
    present = set(table.frame.loc[table.frame["split"] == split, "candidates"])
    blocks += _figures(group)
    blocks.append(_main_table(group, "all"))
    units = "TFs and held-out genes" if table.two_way else "TFs"
    blocks.append(Text(_HOW_TO_READ.format(units=units), tone="note"))
    blocks += _differences(group)
    blocks += [
        Details(TITLES[candidates][0].upper() + TITLES[candidates][1:], (_main_table(group, candidates),))
        for candidates in TITLES
        if candidates != "all" and candidates in present
    ]
    blocks.append(Details("Every metric with its interval", (_every_metric(group),)))
    notes = list(dict.fromkeys(note for source in group for note in source.table.notes))
    return [*blocks, Names("Notes of the evaluation", notes)] if notes else blocks


def _figures(group: Sequence[Source]) -> list[Block]:
    """The headline metric of every scorer, for each run, beside what is left of it at equal in-degree."""
    from grn_cotrain import pl

    found: list[tuple[str, Sequence[Block]]] = []
    for source in group:
        for metric in (_HEADLINE, "degree_matched_auroc"):
            part = _chosen(source, "all")
            num_scorers = int(part.loc[part["metric"] == metric, "value"].notna().sum())
            if not num_scorers:
                continue
            name = f"{f'Run {source.label}: ' if source.label else ''}{metric_name(metric)}"

            def plot(ax: Axes, source: Source = source, metric: str = metric) -> None:
                pl.controls(source.table, metric=metric, ax=ax)
                ax.set_xlabel(f"{metric_name(metric)} (higher is better)")

            figure = draw(
                plot,
                size=(4.1, 1.2 + 0.2 * num_scorers),
                name=f"controls-{source.label}-{metric}",
                title=f"{name} of the model and of every control",
                description=_described(source, metric),
                caption=f"{name[0].upper()}{name[1:]}: {_EXPLAINED[metric]}. Diamonds are models, circles "
                "controls, bars 95 % intervals.",
            )
            found.append(("", (figure,)))
    return [Columns(found)] if found else []


def _described(source: Source, metric: str) -> str:
    part = _chosen(source, "all")
    part = part[(part["metric"] == metric)].dropna(subset="value").sort_values("value", ascending=False)
    said = [f"{source.name(row.scorer, row.kind)} {row.value:.3f}" for row in records(part)]
    return f"From best to worst: {', '.join(said)}."


def _chosen(source: Source, candidates: str) -> pd.DataFrame:
    frame = source.table.frame
    return frame[(frame["split"] == source.table.headline_split) & (frame["candidates"] == candidates)]


def _main_table(group: Sequence[Source], candidates: str) -> Table:
    """The rows that the command line prints, for all runs of a split together."""
    parts = [_chosen(source, candidates) for source in group]
    printed = printed_metrics(parts, candidates)
    best = {metric: group[0].table.best_control(metric, candidates=candidates) for metric, _, _ in printed}
    rows = []
    for row in link_rows([(source.label, part) for source, part in zip(group, parts, strict=True)], candidates):
        cells = [Cell(row.label)]
        for metric, _, with_interval in printed:
            cells.append(
                _metric_cell(row.records.get(metric), metric, with_interval, starred=best[metric] in row.names)
            )
        rows.append(Row(cells, tone="" if row.kind == "control" else "model"))
    columns = [Column("scorer", numeric=False)]
    columns += [Column(metric_name(metric), title=_EXPLAINED.get(metric, "")) for metric, _, _ in printed]
    return Table(
        name=f"links-{group[0].table.headline_split}-{candidates}",
        caption=_caption(parts[0], group[0].table.headline_split, candidates),
        columns=columns,
        rows=rows,
        compact=True,
    )


def _caption(part: pd.DataFrame, split: str, candidates: str) -> str:
    pooled = part[part["metric"] == "auroc"].iloc[0]
    macro = part.loc[part["metric"] == _HEADLINE, "num_tfs"]
    in_macro = f" ({macro.max()} of them in macro metrics)" if len(macro) else ""
    return (
        f"{split}, {TITLES[candidates]}: {pooled['num_pairs']:,} pairs, {pooled['prevalence']:.2%} of them links, "
        f"{pooled['num_tfs']:,} TFs{in_macro}. Models first, then controls from best to worst."
    )


def _metric_cell(row: Any, metric: str, with_interval: bool, *, starred: bool) -> Cell:
    if row is None:
        return number(None)
    low, high = (row.low, row.high) if with_interval else (None, None)
    return measured(row.value, low, high, digits(metric), star="best control" if starred else "")


def _differences(group: Sequence[Source]) -> list[Block]:
    """Paired differences: each model to the best control, and the runs to each other where their draws are equal."""
    rows = []
    for source in group:
        table = source.table
        for metric in ("macro_auroc", "macro_ap", "auroc", "auprc"):
            found = table.difference_to_best_control(metric)
            for one in records(found[found["split"] == table.headline_split]):
                label = source.name(str(one.scorer), "model")
                rows.append(_difference_row(f"{label} − {one.control}", metric, one.value, one.low, one.high))  # noqa: RUF001
    for index, a in enumerate(group):
        for b in group[index + 1 :]:
            rows += _between(a, b)
    if not rows:
        return []
    columns = [
        Column("difference", numeric=False),
        Column("metric", numeric=False),
        Column("value"),
        Column("95 % interval", numeric=False),
        Column("reading", numeric=False),
    ]
    caption = "Paired differences: the same TFs are resampled for both, so what they share cancels."
    return [Table(f"differences-{group[0].table.headline_split}", caption, columns, rows)]


def _between(a: Source, b: Source) -> list[Row]:
    rows = []
    for metric in ("macro_auroc", "macro_ap", "auroc", "auprc"):
        mine, theirs = (_model_of(source, metric) for source in (a, b))
        if mine is None or theirs is None:
            continue
        one, other = a.table.result(mine, metric), b.table.result(theirs, metric)
        if one.key != other.key or one.replicates_B.shape != other.replicates_B.shape:
            continue
        value, low, high = paired_interval(one.value - other.value, one.replicates_B - other.replicates_B)
        label = f"{a.name(mine, 'model')} − {b.name(theirs, 'model')}"  # noqa: RUF001
        rows.append(_difference_row(label, metric, value, low, high))
    return rows


def _model_of(source: Source, metric: str) -> str | None:
    part = _chosen(source, "all")
    names = part.loc[(part["kind"] != "control") & (part["metric"] == metric), "scorer"]
    return str(names.iloc[0]) if len(names) else None


def _difference_row(label: str, metric: str, value: float, low: float, high: float) -> Row:
    if not math.isfinite(low):
        bounds, reading = "–", "no interval"  # noqa: RUF001
    else:
        bounds = interval(low, high, plus=True)
        reading = "above zero" if low > 0 else "below zero" if high < 0 else "holds zero: cannot be told apart"
    shown = Cell(signed(value), value) if math.isfinite(value) else number(None)
    return Row([Cell(label), Cell(metric_name(metric)), shown, Cell(bounds), Cell(reading)])


def _every_metric(group: Sequence[Source]) -> Table:
    rows, seen = [], set()
    for source in group:
        part = source.table.frame[source.table.frame["split"] == source.table.headline_split]
        for row in records(part):
            name = source.name(str(row.scorer), str(row.kind))
            key = (name, row.candidates, row.metric)
            if key in seen:
                continue
            seen.add(key)
            places = digits(str(row.metric)) if digits(str(row.metric)) < 3 else 4
            rows.append(
                Row(
                    [
                        Cell(name),
                        Cell(str(row.candidates).replace("_", " ")),
                        Cell(metric_name(str(row.metric))),
                        *(number(value, places) for value in (row.value, row.low, row.high)),
                        count(int(row.num_tfs)),
                        count(int(row.num_pairs)),
                        number(row.seconds, 2),
                    ]
                )
            )
    headings = ("scorer", "candidates", "metric", "value", "low", "high", "TFs", "pairs", "seconds")
    return Table(
        name=f"metrics-{group[0].table.headline_split}",
        caption="All metrics of all scorers with 95 % intervals; seconds are those of fitting and scoring.",
        columns=[Column(heading, numeric=index > 2) for index, heading in enumerate(headings)],
        rows=rows,
        filter="Show rows that contain",
    )


def _controls_explained(groups: Sequence[Sequence[Source]]) -> Block:
    from grn_cotrain.controls import CONTROLS

    used: set[str] = set()
    for group in groups:
        for source in group:
            frame = source.table.frame
            used |= set(frame.loc[frame["kind"] == "control", "scorer"])
    known = {component.name: component for component in CONTROLS.components()}
    rows = [
        Row([Cell(name), Cell(_plain(known[name].summary)), Cell(known[name].paper)])
        for name in sorted(used & known.keys())
    ]
    columns = [Column(heading, numeric=False) for heading in ("control", "what it does", "source")]
    return Details("What the controls are", (Table("controls-explained", "Controls of this report.", columns, rows),))


def _plain(summary: str) -> str:
    """Docstring markup is for docstrings."""
    return summary.replace("``", "").replace(":math:", "").replace("`", "")
