"""ROC, precision-recall and calibration: the curves behind one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from grn_cotrain.evaluate.link_rows import records
from grn_cotrain.present import Table, figure, table, whole
from grn_cotrain.report.blocks import Block, Columns, Heading, Missing, Section, Text
from grn_cotrain.report.figures import draw
from grn_cotrain.report.inputs import ReportInputs
from grn_cotrain.report.sections.links import Source, sources

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["section"]

_KINDS = {
    "roc": (
        "ROC",
        "false positive rate",
        "true positive rate",
        "All candidate pairs in one list, with the most likely first. The left edge matters most, since only the "
        "first pairs of a list are followed up.",
    ),
    "pr": (
        "Precision and recall",
        "recall",
        "precision",
        "Share of true links among the pairs predicted, as more pairs are predicted. Links are rare, so precision is "
        "low where AUROC looks high.",
    ),
    "calibration": (
        "Calibration",
        "predicted probability",
        "share of true links",
        "A calibrated probability of 1 % means one link in a hundred. Bars are 95 % intervals. Probabilities come from "
        "isotonic calibration on validation pairs.",
    ),
}
_MAX_ROWS = 40


def section(report: ReportInputs) -> Section:
    """Three curves for each link table."""
    groups = sources(report)
    blocks: list[Block] = []
    for group in groups:
        for source in group:
            if len(groups) > 1 or len(group) > 1:
                blocks.append(Heading(source.name(source.table.headline_split, "model")))
            blocks += _of(source)
    if not groups:
        blocks.append(Missing("links were not evaluated yet", "grn-cotrain evaluate links RUN"))
    return Section("curves", "ROC, precision-recall and calibration", "Curves", tuple(blocks))


def _of(source: Source) -> list[Block]:
    from grn_cotrain import pl

    links = source.table
    if links.curves is None:
        return [Missing("curves were not kept by an older evaluation", "grn-cotrain evaluate links RUN")]
    curves = links.curves[links.curves["split"] == links.headline_split]
    found: list[tuple[str, Sequence[Block]]] = []
    without: list[Block] = []
    for kind, (title, x, y, caption) in _KINDS.items():
        part = curves[curves["curve"] == kind]
        if part.empty:
            without.append(Missing(f"no {title.lower()} curve: no scorer of this table gives probabilities"))
            continue

        def plot(ax: Axes, kind: str = kind) -> None:
            pl.link_curves(links, kind=kind, ax=ax)
            # Below the axes: at this size a legend inside would cover curves.
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), handlelength=2.8)

        drawn = draw(
            plot,
            size=(3.8, 4.6),
            name=f"{kind}-{source.label}-{links.headline_split}",
            title=f"{title} on {links.headline_split}",
            description=f"{y} against {x}; the numbers are in the table below.",
            caption=f"{title}. {caption}",
            data=_data(part, links.headline_split, kind, x, y),
        )
        sentences = links.calibration() if kind == "calibration" else []
        found.append(("", (drawn, *(Text(sentence) for sentence in sentences))))
    return [*([Columns(found, narrow=True)] if found else []), *without]


def _data(part: pd.DataFrame, split: str, kind: str, x: str, y: str) -> Table:
    """The model's curve, thinned to what a reader can take in."""
    models = part[part["kind"] != "control"]
    chosen = models if len(models) else part
    rows = []
    for scorer in dict.fromkeys(chosen["scorer"]):
        points = chosen[chosen["scorer"] == scorer]
        step = max(1, -(-len(points) // _MAX_ROWS))
        rows += [
            (str(scorer), figure(point.x, digits=4), figure(point.y, digits=4), whole(point.n))
            for point in records(points.iloc[::step])
        ]
    caption = f"Points of the model's curve on {split}."
    return table(("scorer", x, y, "pairs"), rows, numeric=(1, 2, 3), name=f"{kind}-{split}", caption=caption)
