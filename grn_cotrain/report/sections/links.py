"""The model compared with its controls on the held-out links, every metric with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grn_cotrain.evaluate.bootstrap import interval as paired_interval
from grn_cotrain.evaluate.link_rows import HEADLINE, TITLES, facts, links_table, records
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.present import Cell, Table, bounds, figure, metric, number, table, whole
from grn_cotrain.report.blocks import Block, Columns, Details, Heading, Missing, Names, Section, Text
from grn_cotrain.report.figures import draw
from grn_cotrain.report.inputs import ReportInputs, RunInputs
from grn_cotrain.report.verdict import split_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Source", "section", "sources"]

_COMPARED = ("macro_auroc", "macro_ap", "auroc", "auprc")
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
    return Section("links", "The model compared with its controls", "Links", tuple(blocks))


def _missing(run: RunInputs) -> Missing:
    who = f"run {run.label}: " if run.label else ""
    if not run.has_model:
        command = f"grn-cotrain train RECIPE.yaml --out {run.place} --resume"
        return Missing(f"{who}links cannot be evaluated before a model is saved", command)
    return Missing(who + run.links.problem, f"grn-cotrain evaluate links {run.place}")


def _group(group: Sequence[Source], *, with_heading: bool) -> list[Block]:
    first = group[0].table
    split = first.headline_split
    blocks: list[Block] = [Heading(f"{split}: {split_in_words(split)}")] if with_heading else []
    present = set(first.frame.loc[first.frame["split"] == split, "candidates"])
    blocks += _figures(group)
    blocks.append(_main_table(group, "all"))
    units = "TFs and held-out genes" if first.two_way else "TFs"
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
    """The headline metric of every scorer, for each run, with what is left of it at equal in-degree."""
    from grn_cotrain import pl

    found: list[tuple[str, Sequence[Block]]] = []
    for source in group:
        for name in (HEADLINE, "degree_matched_auroc"):
            part = source.table.part()
            num_scorers = int(part.loc[part["metric"] == name, "value"].notna().sum())
            if not num_scorers:
                continue
            title = f"{f'Run {source.label}: ' if source.label else ''}{metric(name).words}"

            def plot(ax: Axes, source: Source = source, name: str = name) -> None:
                pl.controls(source.table, metric=name, ax=ax)
                ax.set_xlabel(f"{metric(name).words} (higher is better)")

            drawn = draw(
                plot,
                size=(4.1, 1.2 + 0.2 * num_scorers),
                name=f"controls-{source.label}-{name}",
                title=f"{title} of the model and of every control",
                description=_described(source, name),
                caption=f"{title[0].upper()}{title[1:]}. {metric(name).sentence} Diamonds are models, circles "
                "controls, bars 95 % intervals.",
            )
            found.append(("", (drawn,)))
    return [Columns(found)] if found else []


def _described(source: Source, name: str) -> str:
    part = source.table.part()
    part = part[(part["metric"] == name)].dropna(subset="value").sort_values("value", ascending=False)
    told = [f"{source.name(row.scorer, row.kind)} {number(row.value)}" for row in records(part)]
    return f"From best to worst: {', '.join(told)}."


def _main_table(group: Sequence[Source], candidates: str) -> Table:
    """The rows that the command line prints, for all runs of a split together."""
    first = group[0].table
    parts = [(source.label, source.table.part(candidates)) for source in group]
    return links_table(
        parts,
        candidates,
        best=lambda name: first.best_control(name, candidates=candidates),
        name=f"links-{first.headline_split}-{candidates}",
        caption=f"{facts(parts[0][1], first.headline_split, candidates)}. Models first, then controls from best to "
        "worst.",
        compact=True,
    )


def _differences(group: Sequence[Source]) -> list[Block]:
    """Paired differences: each model to the best control, and the runs to each other where their draws are equal."""
    rows = []
    for source in group:
        for name in _COMPARED:
            found = source.table.difference_to_best_control(name)
            for one in records(found[found["split"] == source.table.headline_split]):
                label = f"{source.name(str(one.scorer), 'model')} \N{MINUS SIGN} {one.control}"
                rows.append(_difference_row(label, name, one.value, one.low, one.high))
    for index, a in enumerate(group):
        for b in group[index + 1 :]:
            rows += _between(a, b)
    if not rows:
        return []
    header = ("difference", "metric", "value", "95 % interval", "reading")
    caption = "Paired differences: the same TFs are resampled for both, so what they share cancels."
    stem = f"differences-{group[0].table.headline_split}"
    return [table(header, rows, numeric=(2, 3), name=stem, caption=caption)]


def _between(a: Source, b: Source) -> list[Sequence[Cell]]:
    rows = []
    for name in _COMPARED:
        mine, theirs = (_model_of(source, name) for source in (a, b))
        if mine is None or theirs is None:
            continue
        one, other = a.table.result(mine, name), b.table.result(theirs, name)
        if one.key != other.key or one.replicates_B.shape != other.replicates_B.shape:
            continue
        value, low, high = paired_interval(one.value - other.value, one.replicates_B - other.replicates_B)
        label = f"{a.name(mine, 'model')} \N{MINUS SIGN} {b.name(theirs, 'model')}"
        rows.append(_difference_row(label, name, value, low, high))
    return rows


def _model_of(source: Source, name: str) -> str | None:
    part = source.table.part()
    names = part.loc[(part["kind"] != "control") & (part["metric"] == name), "scorer"]
    return str(names.iloc[0]) if len(names) else None


def _difference_row(label: str, name: str, value: float, low: float, high: float) -> Sequence[Cell]:
    interval = bounds(low, high, sign=True)
    reading = "above zero" if low > 0 else "below zero" if high < 0 else "holds zero: cannot be distinguished"
    return [
        *(Cell(label), Cell(metric(name).words), figure(value, sign=True)),
        *(Cell(interval or "-"), Cell(reading if interval else "no interval")),
    ]


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
            shown = metric(str(row.metric))
            digits = 4 if shown.digits == 3 else shown.digits
            rows.append(
                [
                    *(Cell(name), Cell(str(row.candidates).replace("_", " ")), Cell(shown.words)),
                    *(figure(value, digits=digits) for value in (row.value, row.low, row.high)),
                    *(whole(row.num_tfs), whole(row.num_pairs), figure(row.seconds, digits=2)),
                ]
            )
    return table(
        ("scorer", "candidates", "metric", "value", "low", "high", "TFs", "pairs", "seconds"),
        rows,
        numeric=range(3, 9),
        name=f"metrics-{group[0].table.headline_split}",
        caption="All metrics of all scorers with 95 % intervals; seconds are those of fitting and scoring.",
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
    rows = [(name, _plain(known[name].summary), known[name].paper) for name in sorted(used & known.keys())]
    header = ("control", "what it does", "source")
    explained = table(header, rows, numeric=(), name="controls-explained", caption="Controls of this report.")
    return Details("Description of the controls", (explained,))


def _plain(summary: str) -> str:
    """Docstring markup is for docstrings."""
    return summary.replace("``", "").replace(":math:", "").replace("`", "")
