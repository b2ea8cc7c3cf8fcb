"""The model compared with its controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.pl._sources import choose, headline, link_table
from grn_cotrain.pl.theme import ACCENT, INK, MUTED, PAPER, VERMILION, new_axes, style, tidy
from grn_cotrain.present import LINK_METRICS, Metric, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["controls"]

_SET_NAMES = {
    "all": "all candidates",
    "matched": "degree-matched candidates",
    "known_regulator": "genes with a known regulator",
}


def controls(
    run: str | Path | LinkTable,
    *,
    metric: str = "macro_auroc",
    candidates: str = "all",
    split: str | None = None,
    top: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one metric of the model and of every control, with 95 % intervals, the best on top.

    Models are filled diamonds with bold names, controls open circles; the best control is named, since it is what a
    model has to beat. The dashed line is what a random order scores.

    Parameters
    ----------
    run
        Evaluated run folder, folder of an evaluation, or its table.
    metric
        One of :data:`grn_cotrain.present.LINK_METRICS`.
    candidates
        ``all``, ``matched`` (degree-matched 1:1) or ``known_regulator``.
    split
        Default: the split that is printed, or all folds together.
    top
        Number of controls to draw, the best ones; default: all. The number of those left out is printed.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        The run is not evaluated; no such metric, candidates or split.
    """
    if top is not None and top < 1:
        raise UserError(f"top '{top}': give 1 or more")
    table = link_table(run)
    choose("metric", metric, LINK_METRICS)
    split = headline(table, split)
    frame = table.frame[table.frame["split"] == split]
    choose("candidates", candidates, frame["candidates"].unique())
    frame = frame[frame["candidates"] == candidates]
    choose("metric", metric, frame["metric"].unique())
    rows = frame[frame["metric"] == metric].dropna(subset="value")
    if rows.empty:
        raise UserError(f"metric '{metric}': no scorer has a value on {split}; choose another metric")
    about = LINK_METRICS[metric]
    rows = rows.sort_values("value", ascending=about.direction == "lower", kind="stable")
    is_control = rows["kind"] == "control"
    left_out = 0
    if top is not None:
        kept = rows.index.isin(rows.index[is_control][:top]) | ~is_control
        left_out = int((~kept).sum())
        rows = rows[kept]
    best = table.best_control(metric, split=split, candidates=candidates)
    with style():
        if ax is None:
            ax = new_axes(6.2, 1.35 + 0.235 * len(rows))
        _draw(ax, rows.reset_index(drop=True), about, best)
        omitted = f"; {left_out} lower controls left out" if left_out else ""
        ax.set_xlabel(f"{about.words}\n({about.direction} is better; bars: 95 % intervals{omitted})")
        ax.set_title(f"{split}, {_SET_NAMES.get(candidates, candidates)}")
    return ax


def _draw(ax: Axes, rows: pd.DataFrame, about: Metric, best: str | None) -> None:
    height = np.arange(len(rows))[::-1]
    values = rows["value"].to_numpy()
    low, high = (rows[side].fillna(rows["value"]).to_numpy() for side in ("low", "high"))
    # A random order has as much precision as there are positives.
    chance = float(rows["prevalence"].iloc[0]) if about.chance == "prevalence" else about.chance
    tidy(ax, grid="x")
    labels = []
    records: list[Any] = list(rows.itertuples())
    for y, record, start, stop in zip(height, records, low, high, strict=True):
        leads = record.kind != "control"
        colour = ACCENT if leads else VERMILION if record.scorer == best else INK
        ax.plot([start, stop], [y, y], color=colour, linewidth=2.4 if leads else 1.1, solid_capstyle="butt", zorder=2)
        ax.plot(
            record.value, y, marker="D" if leads else "o", markersize=7 if leads else 5.5, linestyle="none",
            markerfacecolor=colour if leads else PAPER, markeredgecolor=PAPER if leads else colour,
            markeredgewidth=0.8 if leads else 1.4, zorder=3,
        )  # fmt: skip
        labels.append(str(record.scorer))
    ax.set_yticks(height, labels)
    for tick, record in zip(ax.get_yticklabels(), records, strict=True):
        if record.kind != "control":
            tick.set_fontweight("bold")
            tick.set_color(ACCENT)
        elif record.scorer == best:
            tick.set_color(VERMILION)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    # Values stand in a column of their own, so that no text meets an interval.
    for y, record in zip(height, records, strict=True):
        said = number(record.value, about.digits) + ("  best control" if record.scorer == best else "")
        ax.annotate(
            said, (1.0, y), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=8, color=VERMILION if record.scorer == best else INK,
            fontweight="bold" if record.kind != "control" else "normal",
        )  # fmt: skip
    if chance is not None:
        ax.axvline(chance, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        ends = [float(min(low.min(), values.min(), chance)), float(max(high.max(), values.max(), chance))]
        digits = 4 if about.chance == "prevalence" else about.digits
        left_half = chance < np.mean(ends)
        ax.annotate(
            f"chance {number(chance, digits)}", (chance, 1.0), xycoords=("data", "axes fraction"),
            xytext=(3 if left_half else -3, -1), textcoords="offset points", va="top",
            ha="left" if left_half else "right", fontsize=7, color=MUTED,
        )  # fmt: skip
        ax.set_ylim(-0.7, len(rows) + 0.35)
