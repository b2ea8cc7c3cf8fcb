"""ROC, precision-recall and calibration curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.calibration import wilson
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.pl._sources import choose, curves_and_table, headline
from grn_cotrain.pl.theme import ACCENT, DASHES, MARKERS, MUTED, OTHERS, PAPER, new_axes, style, tidy
from grn_cotrain.present import metric, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["link_curves"]

_AREA = {"roc": "auroc", "pr": "auprc"}
_TITLES = {"roc": "ROC", "pr": "Precision and recall", "calibration": "Calibration"}
_DEGREE = ("degree_product", "target_degree", "additive_logistic")
_SPARSE = 0.02  # prevalence below which precision needs a logarithmic axis


def link_curves(
    run: str | Path | LinkTable,
    *,
    kind: str = "roc",
    scorers: Sequence[str] | None = None,
    split: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw ROC, precision-recall or calibration of the model, the best control, and the best that knows degree only.

    All candidates of the test, pooled over TFs. Several folds together: the mean of their curves at equal x.

    Parameters
    ----------
    run
        Evaluated run folder, folder of an evaluation, or its table.
    kind
        ``roc``, ``pr`` or ``calibration``. Precision has a logarithmic axis where positives are rare, calibration
        where probabilities span more than a decade; calibration is drawn for scorers with probabilities only, in bins
        that expect equally many positives, with Wilson intervals and the number of pairs.
    scorers
        Names; default as described above.
    split
        Default: the split that is printed, or all folds together.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        The run is not evaluated, or before curves were kept; no such kind, scorer or split.
    """
    choose("kind", kind, ("roc", "pr", "calibration"))
    curves, table = curves_and_table(run)
    split = headline(table, split)
    curves = curves[(curves["split"] == split) & (curves["curve"] == kind)]
    if curves.empty:
        raise UserError(f"kind '{kind}': no scorer on {split} gives probabilities (no validation links to fit them on)")
    if scorers is None:
        names = _default_scorers(table, curves, kind, split)
    else:
        names = [choose("scorers", name, curves["scorer"].unique()) for name in scorers]
    if not names:
        raise UserError("scorers: the list is empty; name at least one, or leave it out")
    parts = {name: curves[curves["scorer"] == name] for name in names}
    with style():
        if ax is None:
            ax = new_axes(4.6, 4.5)
        tidy(ax, grid="both")
        if kind == "calibration":
            _calibration(ax, parts)
        else:
            _ranked(ax, parts, table, kind, split)
        ax.set_title(f"{_TITLES[kind]}, {split}")
    return ax


def _default_scorers(table: LinkTable, curves: pd.DataFrame, kind: str, split: str) -> list[str]:
    present = curves.drop_duplicates("scorer")
    names = list(present.loc[present["kind"] != "control", "scorer"])
    if kind == "calibration":
        return names
    metric = _AREA[kind]
    best = table.best_control(metric, split=split)
    if best is not None:
        names.append(best)
    frame = table.frame
    rows = frame[(frame["split"] == split) & (frame["candidates"] == "all") & (frame["metric"] == metric)]
    degree = rows[rows["scorer"].isin(_DEGREE)].sort_values("value", ascending=False)["scorer"]
    return list(dict.fromkeys([*names, *degree[:1]]))


def _looks(parts: dict[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Colour, dashes, marker and width of each scorer; models lead."""
    looks, others, models = {}, 0, 0
    for index, (name, part) in enumerate(parts.items()):
        leads = part["kind"].iloc[0] != "control"
        if leads and models == 0:
            looks[name] = {"color": ACCENT, "linestyle": "-", "linewidth": 2.4, "marker": "o", "zorder": 4}
            models += 1
        else:
            looks[name] = {
                "color": OTHERS[others % len(OTHERS)],
                "linestyle": DASHES[1 + others % (len(DASHES) - 1)],
                "linewidth": 1.6,
                "marker": MARKERS[1 + index % (len(MARKERS) - 1)],
                "zorder": 3,
            }
            others += 1
    return looks


def _ranked(ax: Axes, parts: dict[str, pd.DataFrame], table: LinkTable, kind: str, split: str) -> None:
    rows = table.frame[(table.frame["split"] == split) & (table.frame["candidates"] == "all")]
    rows = rows[rows["metric"] == _AREA[kind]].set_index("scorer")
    prevalence = float(rows["prevalence"].iloc[0])
    best = table.best_control(_AREA[kind], split=split)
    for name, look in _looks(parts).items():
        said = f"{name}, {metric(_AREA[kind]).heading} {number(rows['value'][name])}"
        said += " (best control)" if name == best else ""
        look.pop("marker")
        ax.plot(parts[name]["x"], parts[name]["y"], label=said, solid_joinstyle="round", **look)
    ax.set_xlim(-0.01, 1.01)
    if kind == "roc":
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, label="chance")
        ax.set_ylim(-0.01, 1.01)
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlabel("false positive rate")
        ax.set_ylabel("true positive rate")
        ax.legend(loc="lower right", handlelength=2.8)
        return
    line = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1}
    ax.axhline(prevalence, label=f"chance: prevalence {number(prevalence, 4)}", **line)  # type: ignore[arg-type]
    if prevalence < _SPARSE:
        ax.set_yscale("log")
        ax.set_ylim(prevalence / 2, 1.15)
        _plain_log_ticks(ax.yaxis)
    else:
        ax.set_ylim(-0.01, 1.01)
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.legend(loc="upper right", handlelength=2.8)


def _calibration(ax: Axes, parts: dict[str, pd.DataFrame]) -> None:
    every = pd.concat(parts.values())
    looks = _looks(parts)
    spread = every["x"].max() / max(every["x"].min(), 1e-12)
    logarithmic = bool(every["x"].min() > 0 and spread > 10)
    low, high = {}, {}
    for name, part in parts.items():
        low[name], high[name] = wilson(part["y"].to_numpy(), part["n"].to_numpy())
    floor = _floor(every) if logarithmic else 0.0
    highest = max(float(every["x"].max()), max(float(bound.max()) for bound in high.values()))
    top = min(1.0, highest * (1.6 if logarithmic else 1.08))
    ax.plot([floor, top], [floor, top], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, label="calibrated")
    for name, part in parts.items():
        look = looks[name]
        x, y = part["x"].to_numpy(), np.maximum(part["y"].to_numpy(), floor)
        none = y <= floor if logarithmic else np.zeros(len(y), dtype=bool)
        ax.vlines(x, np.maximum(low[name], floor), high[name], color=look["color"], linewidth=1.1, zorder=2)
        ax.plot(
            x, np.where(none, np.nan, y), color=look["color"], linestyle=look["linestyle"], linewidth=1.2,
            marker=look["marker"], markersize=6, markerfacecolor=look["color"], markeredgecolor=PAPER,
            zorder=look["zorder"], label=name,
        )  # fmt: skip
        if none.any():  # no logarithm: an open triangle on the edge marks that it is below
            ax.plot(
                x[none], y[none], color=look["color"], linestyle="none", marker="v", markersize=6, clip_on=False,
                markerfacecolor=PAPER, zorder=look["zorder"], label="no true link in bin",
            )  # fmt: skip
    if logarithmic:
        ax.set_xscale("log")
        ax.set_yscale("log")
        _plain_log_ticks(ax.xaxis)
        _plain_log_ticks(ax.yaxis)
    ax.set_xlim(floor, top)
    ax.set_ylim(floor, top)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlabel("predicted probability (mean of bin)")
    ax.set_ylabel("share of true links in bin")
    if len(parts) == 1:
        _counts(ax, next(iter(parts.values())))
    ax.legend(loc="upper left", handlelength=2.8)


def _floor(every: pd.DataFrame) -> float:
    positive = every.loc[every["y"] > 0, "y"]
    smallest = min(float(every["x"].min()), float(positive.min()) if len(positive) else float(every["x"].min()))
    return smallest / 2


def _counts(ax: Axes, part: pd.DataFrame) -> None:
    """Pairs of each bin along an axis of their own on top, where no curve runs."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    above = ax.secondary_xaxis("top")
    above.spines["top"].set_visible(False)
    above.xaxis.set_major_locator(FixedLocator(part["x"].tolist()))
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_major_formatter(FixedFormatter([f"{n:,}" for n in part["n"]]))
    above.tick_params(axis="x", labelrotation=90, labelsize=6.5, colors=MUTED, length=0, pad=2)
    above.set_xlabel("pairs in bin", fontsize=7, color=MUTED)


def _plain_log_ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
