"""One TF and its targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grn_cotrain.errors import UserError
from grn_cotrain.pl._arrows import box_size, draw_edges, edge_legend
from grn_cotrain.pl._edges import edge_frame, of_tf
from grn_cotrain.pl.theme import ACCENT, INK, PAPER, new_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["regulon"]

_UPRIGHT = 26  # targets up to which names can stay level
_MOST = 80


def regulon(source: Any, tf: str, *, top: int = 20, ax: Axes | None = None) -> Axes:
    """Draw a TF with its best targets round it, clockwise from the top by falling probability.

    Arrow head and colour show activation or repression, a solid line and a full mark known edges, a dashed line and an
    open mark predicted ones, and width the probability.

    Parameters
    ----------
    source
        Run folder (its edges are predicted), :class:`~grn_cotrain.export.predicted_edges.PredictedEdges`, a
        :class:`~grn_cotrain.data.grn.GRN`, or a frame of ``source, target`` with, where known, ``probability`` (or
        ``score``, ``weight``), ``sign`` (-1, 0, 1) and ``known`` (empty: predicted).
    tf
        Name of the TF.
    top
        Most targets to draw, up to 80.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        No such TF, or one without edges; edges of another form.
    """
    if not 1 <= top <= _MOST:
        raise UserError(f"top '{top}': give 1 to {_MOST}; more targets cannot be read")
    every = of_tf(edge_frame(source, tfs=[tf], top=top), tf)
    every = every[every["target"] != tf]
    edges = every.drop_duplicates("target").head(top).reset_index(drop=True)
    if edges.empty:
        raise UserError(f"tf '{tf}': it has no target but itself")
    angle_E = np.pi / 2 - 2 * np.pi * np.arange(len(edges)) / len(edges)
    places = {tf: (0.0, 0.0)}
    places |= {
        str(name): (float(np.cos(a)), float(np.sin(a))) for name, a in zip(edges["target"], angle_E, strict=True)
    }
    with style():
        if ax is None:
            ax = new_axes(5.2, 5.6)
        ax.set_aspect("equal")
        ax.set_axis_off()
        reach = 1.42 if len(edges) <= _UPRIGHT else 1.36
        ax.set_xlim(-reach, reach)
        ax.set_ylim(-1.22 if len(edges) <= _UPRIGHT else -reach, 1.18 if len(edges) <= _UPRIGHT else reach)
        ax.text(
            0, 0, tf, ha="center", va="center", fontsize=11, fontweight="bold", color=PAPER, zorder=6,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": INK, "edgecolor": "none"},
        )  # fmt: skip
        across, along = box_size(tf, 11, 0.4)
        sizes = {str(name): (5.5, 5.5) for name in edges["target"]} | {tf: (across + 3, along + 3)}
        draw_edges(ax, edges, places, sizes=sizes)
        for edge, angle in zip(edges.itertuples(), angle_E, strict=True):
            _target(ax, str(edge.target), angle, known=bool(edge.known), upright=len(edges) <= _UPRIGHT)
        number = f"{len(edges)} best of {len(every)}" if len(every) > len(edges) else f"{len(edges)}"
        ax.set_title(f"{tf}: {number} target{'' if number == '1' else 's'}")
        edge_legend(ax, edges)
    return ax


def _target(ax: Axes, name: str, angle: float, *, known: bool, upright: bool) -> None:
    x, y = float(np.cos(angle)), float(np.sin(angle))
    ax.plot(
        x, y, marker="o", markersize=6.5, markerfacecolor=ACCENT if known else PAPER, markeredgecolor=ACCENT,
        markeredgewidth=1.4, linestyle="none", zorder=4,
    )  # fmt: skip
    placing: dict[str, Any]
    if upright:
        across = "center" if abs(x) < 0.12 else "left" if x > 0 else "right"
        along = "center" if abs(x) >= 0.12 else "bottom" if y > 0 else "top"
        placing = {"ha": across, "va": along}
    else:  # along the ray, never upside down
        turned = np.degrees(angle) % 360
        flipped = 90 < turned < 270
        placing = {
            "ha": "right" if flipped else "left",
            "va": "center",
            "rotation": turned - 180 if flipped else turned,
            "rotation_mode": "anchor",
        }
    ax.annotate(
        name,
        (x, y),
        xytext=(8 * x, 8 * y),
        textcoords="offset points",
        fontsize=8 if upright else 7,
        color=INK,
        **placing,
    )
