"""Labels that do not overlap: each takes the first free place round its point.

Dimension letters: N points, L labels, B boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from grn_cotrain.options import Options, keywords, option
from grn_cotrain.pl.theme import INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LabelStyle", "place_labels"]

# Distances from the point in points, and directions: right and left first, as one reads.
_REACHES = (5.0, 9.0, 15.0, 23.0, 33.0, 45.0)
_ANGLES = (0, 180, 35, 145, -35, -145, 90, -90, 65, 115, -65, -115)
_LINE_FROM = 12.0
_PAD = 1.0  # pixels between two labels


@dataclass(frozen=True, kw_only=True)
class LabelStyle(Options):
    """How labels look, and what they give way to."""

    fontsize: float | Sequence[float] = option(7.5, "Font size of all labels or of each.")
    bold: Sequence[bool] | None = option(None, "Whether each label is bold.")
    reach: Sequence[float] | None = option(None, "Radius in points of the mark at each point; default: 0.")
    penalty: float = option(0.02, "Cost of each obstacle that a label covers; a place is free below 1.")
    crowded: Literal["draw", "leave out"] = option(
        "draw",
        "Treatment of a label whose places are all on another label, on a labelled point or beyond the axes: draw it"
        " at the place that hides least, or leave it out.",
    )


@keywords(LabelStyle)
def place_labels(
    ax: Axes,
    xy_L2: np.ndarray,
    texts: Sequence[str],
    options: LabelStyle,
    *,
    obstacles_N2: np.ndarray | None = None,
    boxes_B4: np.ndarray | None = None,
) -> list[Any]:
    """Write ``texts`` next to their points, with a thin line where there is room only further away.

    Places are compared in pixels at the figure's present size. The first texts choose first: give the most important
    ones first.

    Parameters
    ----------
    xy_L2
        Points in data coordinates.
    obstacles_N2
        Points that labels should not cover where they can help it.
    {options}
    boxes_B4
        Boxes that no label may cover: x and y in data coordinates, half width and half height in points.

    Returns
    -------
    list of Annotation
    """
    fontsize, bold, reach = options.fontsize, options.bold, options.reach
    penalty, crowded = options.penalty, options.crowded
    figure: Any = ax.figure.get_figure(root=True)
    figure.draw_without_rendering()  # the layout decides the places of data in pixels
    renderer = figure._get_renderer()
    scale = figure.dpi / 72
    at_L2 = ax.transData.transform(np.asarray(xy_L2, dtype=float).reshape(-1, 2))
    blocks_N2 = np.zeros((0, 2)) if obstacles_N2 is None else ax.transData.transform(obstacles_N2)
    frame = ax.get_window_extent(renderer)
    taken = np.zeros((0, 4))
    if boxes_B4 is not None and len(boxes_B4):
        middle_B2, half_B2 = ax.transData.transform(boxes_B4[:, :2]), boxes_B4[:, 2:] * scale
        taken = np.concatenate([middle_B2 - half_B2, middle_B2 + half_B2], axis=1)
    sizes = [fontsize] * len(texts) if isinstance(fontsize, (int, float)) else list(fontsize)
    made = []
    for index, text in enumerate(texts):
        heavy = bold is not None and bold[index]
        label = ax.annotate(
            text, xy_L2[index], xytext=(0, 0), textcoords="offset points", ha="left", va="bottom",
            fontsize=sizes[index], fontweight="bold" if heavy else "normal", color=INK, zorder=10,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip
        extent = label.get_window_extent(renderer)
        width, height = extent.width, extent.height
        own = 0.0 if reach is None else float(reach[index])
        best: tuple[float, float, float, np.ndarray] | None = None
        for distance in _REACHES:
            for angle in np.radians(_ANGLES):
                box = _box(at_L2[index], (distance + own) * scale, angle, width, height)
                hidden = _cost(box, taken, at_L2, frame)
                cost = hidden + penalty * _inside(box, blocks_N2)
                if best is None or cost < best[0]:
                    best = (cost, hidden, distance, box)
            if best is not None and best[0] < 1:
                break
        assert best is not None
        _, hidden, distance, box = best
        if hidden >= 1 and crowded == "leave out":
            label.remove()
            continue
        taken = np.concatenate([taken, box[None]])
        offset = (box[:2] - at_L2[index]) / scale
        label.set_position((float(offset[0]), float(offset[1])))
        if distance >= _LINE_FROM:
            middle = (np.clip(at_L2[index], box[:2], box[2:]) - at_L2[index]) / scale
            made.append(
                ax.annotate(
                    "",
                    xy_L2[index],
                    xytext=tuple(middle),
                    textcoords="offset points",
                    zorder=9,
                    arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": own + 1},
                )
            )
        made.append(label)
    return made


def _box(at: np.ndarray, distance: float, angle: float, width: float, height: float) -> np.ndarray:
    """Left, bottom, right and top of a label whose nearest side or corner is ``distance`` away in that direction."""
    direction = np.array([np.cos(angle), np.sin(angle)])
    centre = at + direction * distance + direction * np.array([width / 2, height / 2])
    if abs(direction[0]) > 0.3:  # next to the point: flush with it
        centre[0] = at[0] + direction[0] * distance + np.sign(direction[0]) * width / 2
    return np.array([centre[0] - width / 2, centre[1] - height / 2, centre[0] + width / 2, centre[1] + height / 2])


def _cost(box: np.ndarray, taken: np.ndarray, at_L2: np.ndarray, frame: Any) -> float:
    """Below 1: free. Other labels, the edge of the axes and labelled points are all to be kept clear."""
    over = _overlap(box, taken)
    outside = max(frame.x0 - box[0], 0) + max(frame.y0 - box[1], 0) + max(box[2] - frame.x1, 0)
    outside += max(box[3] - frame.y1, 0)
    return 10.0 * over + 10.0 * outside + 30.0 * _inside(box, at_L2)


def _overlap(box: np.ndarray, taken: np.ndarray) -> float:
    if not len(taken):
        return 0.0
    width = np.minimum(box[2] + _PAD, taken[:, 2]) - np.maximum(box[0] - _PAD, taken[:, 0])
    height = np.minimum(box[3] + _PAD, taken[:, 3]) - np.maximum(box[1] - _PAD, taken[:, 1])
    return float((np.clip(width, 0, None) * np.clip(height, 0, None)).sum())


def _inside(box: np.ndarray, points_N2: np.ndarray) -> int:
    if not len(points_N2):
        return 0
    within = (points_N2 > box[:2]) & (points_N2 < box[2:])
    return int(within.all(axis=1).sum())
