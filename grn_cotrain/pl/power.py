"""Gain from expression over links alone in simulated worlds, with the user's data marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.data.power import POWER, Power, cells_and_depth
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError
from grn_cotrain.pl._sources import choose
from grn_cotrain.pl.theme import ACCENT, INK, MARKERS, MUTED, PAPER, VERMILION, new_axes, style, tidy
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PANELS", "check_figure", "power", "power_panels"]

PANELS = {
    "share": "share of the network's edges that act in the cells",
    "cells": "cells",
    "depth": "median counts of a cell, per gene",
}
"""Quantities that were varied, with their axis labels."""


def power(source: Any = None, *, by: str = "cells", ax: Axes | None = None) -> Axes:
    """Draw the gain over links alone against one quantity, and mark where the user's data are.

    The gain is the macro AUROC of unseen targets by boosted trees with regulon factors, minus that of the same trees
    without. Small marks are single simulated worlds with their 95 % intervals over TFs; the line is their mean.

    Parameters
    ----------
    source
        Run folder, cells as a :class:`~grn_cotrain.data.store.CellStore`, or their number and median counts a gene;
        default: nothing is marked. No data show which share of the edges acts, so nothing is marked for it.
    by
        ``share`` of acting edges, ``cells`` or ``depth``.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        No such quantity; another kind of source; a run whose prepared folder is gone.
    """
    choose("by", by, PANELS)
    mark = _mark(source, by)
    with style():
        if ax is None:
            ax = new_axes(4.5, 3.2)
        _draw(ax, by, mark)
        ax.set_xlabel(PANELS[by])
        ax.set_ylabel("gain in macro AUROC")
        ax.set_title("Power: gain over links alone")
    return ax


def power_panels(source: Any, path: str | Path) -> None:
    """Write a figure of all three quantities; the suffix of ``path`` chooses its form.

    Raises
    ------
    UserError
        A suffix that matplotlib cannot write; else as :func:`power`.
    """
    from matplotlib.figure import Figure

    check_figure(path)
    with style():
        canvas = Figure(figsize=(10.5, 3.2), layout="constrained")
        axes = canvas.subplots(1, len(PANELS), sharey=True)
        for place, (by, ax) in enumerate(zip(PANELS, axes, strict=True)):
            power(source, by=by, ax=ax)
            ax.set_title("")
            if place:
                ax.set_ylabel("")
        canvas.savefig(path, facecolor=PAPER)


def check_figure(path: str | Path) -> None:
    """Refuse a file that matplotlib cannot write, or one in no folder."""
    from matplotlib.backend_bases import FigureCanvasBase

    if Path(path).suffix.lstrip(".").lower() not in FigureCanvasBase.get_supported_filetypes():
        raise UserError(f"--figure '{path}': no such form; end the name in .svg, .pdf or .png")
    if not Path(path).absolute().parent.is_dir():
        raise UserError(f"--figure '{path}': its folder does not exist; make it, or name another")


def _mark(source: Any, by: str) -> float | None:
    if source is None:
        return None
    if isinstance(source, (str, Path)):
        source = RunFolder.open(source).require_prep(None).cells
    if isinstance(source, CellStore):
        source = cells_and_depth(source)
        if source is None:
            return None
    if not isinstance(source, tuple) or len(source) != 2:
        raise UserError(f"source: got {type(source).__name__}; give a run folder or cells")
    number, per_gene = source
    return {"share": None, "cells": float(number), "depth": per_gene}[by]


def _at(one: Power, by: str) -> float:
    return {"share": one.share, "cells": float(one.cells), "depth": one.per_gene}[by]


def _draw(ax: Axes, by: str, mark: float | None) -> None:
    tidy(ax, grid="y")
    usual = POWER[0]
    shown = [usual, *(one for one in POWER[1:] if _at(one, by) != _at(usual, by))]
    shown.sort(key=lambda one: _at(one, by))
    if by != "share":
        ax.set_xscale("log")
    x = [_at(one, by) for one in shown]
    ax.axhline(0, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    ax.plot(x, [one.gain for one in shown], color=ACCENT, marker="D", markersize=6, markeredgecolor=PAPER, zorder=4)
    for one, at in zip(shown, x, strict=True):
        for place, (gain, low, high) in enumerate(one.worlds):
            side = at * (1.04 if place else 0.96) if by != "share" else at + (0.012 if place else -0.012)
            ax.plot([side, side], [low, high], color=INK, linewidth=0.9, alpha=0.6, zorder=2)
            ax.plot(
                side, gain, marker=MARKERS[place % len(MARKERS)], markersize=4, linestyle="none", markerfacecolor=PAPER,
                markeredgecolor=INK, markeredgewidth=1.0, zorder=3,
            )  # fmt: skip
    ticks = [f"{at:,.0f}" if by == "cells" else f"{at:.2g}" for at in x]
    ax.set_xticks(x, ticks)
    ax.minorticks_off()
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.12 * (high - low))  # room for the text of the user's data
    if mark is None or mark <= 0:
        return
    outside = not min(x) <= mark <= max(x)
    value = f"{mark:,.0f}" if by == "cells" else f"{mark:.2g}"
    text = f"your data: {value}" + (", outside the worlds" if outside else "")
    ax.axvline(mark, color=VERMILION, linewidth=1.6, linestyle=(0, (1.2, 1.2)), zorder=2)
    middle = (min(x) * max(x)) ** 0.5
    ax.annotate(
        text, (mark, 1.0), xycoords=("data", "axes fraction"), xytext=(4 if mark < middle else -4, -1),
        textcoords="offset points", va="top", ha="left" if mark < middle else "right", fontsize=8, color=VERMILION,
        fontweight="bold",
    )  # fmt: skip
