"""Drawing of a regulatory edge, and its legend.

Sign: colour *and* head (activation a triangle, repression a bar, unknown an open head). Known edges are solid,
predicted ones dashed. Width grows with the edge's weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.pl._legend import legend_below
from grn_cotrain.pl.theme import BLUE, INK, MUTED, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BEND", "DASHED", "box_size", "draw_edges", "edge_legend"]

DASHED = (0, (2.4, 1.4))
_NARROW, _WIDE = 0.8, 2.6
_SIGNS: dict[int, tuple[str, str, str]] = {
    1: ("activation", BLUE, "-|>,head_length=0.5,head_width=0.24"),
    -1: ("repression", VERMILION, "-[,widthB=0.34,lengthB=0"),
    0: ("sign unknown", MUTED, "->,head_length=0.4,head_width=0.2"),
}
BEND = 0.12
"""How far a curved edge swings out, in units of its length (twice this at its control point's side)."""
_CURVED = f"arc3,rad={BEND}"


def widths(weight_E: np.ndarray) -> np.ndarray:
    """Line widths, linear between the smallest and the largest weight that is drawn."""
    low, high = float(weight_E.min()), float(weight_E.max())
    if high <= low:
        return np.full(len(weight_E), (_NARROW + _WIDE) / 2)
    return _NARROW + (_WIDE - _NARROW) * (weight_E - low) / (high - low)


def draw_edges(
    ax: Axes,
    edges: pd.DataFrame,
    places: Mapping[str, tuple[float, float]],
    *,
    sizes: Mapping[str, tuple[float, float]],
    curved: bool = False,
) -> None:
    """Draw arrows between nodes.

    ``sizes``: half width and half height of each node in points, with the gap that an arrow should leave.
    """
    from matplotlib.patches import FancyArrowPatch

    rows: Any = edges.itertuples()
    for edge, width in zip(rows, widths(edges["weight"].to_numpy()), strict=True):
        _, colour, head = _SIGNS[int(edge.sign)]
        source, target = str(edge.source), str(edge.target)
        start, stop = np.array(places[source]), np.array(places[target])
        way = (stop - start) / max(float(np.hypot(*(stop - start))), 1e-12)
        ax.add_patch(
            FancyArrowPatch(
                places[source],
                places[target],
                arrowstyle=head,
                mutation_scale=8 + 1.7 * width,
                linewidth=width,
                color=colour,
                linestyle="-" if edge.known else DASHED,
                shrinkA=_to_rim(sizes[source], way),
                shrinkB=_to_rim(sizes[target], way),
                connectionstyle=_CURVED if curved else "arc3",
                zorder=2,
                capstyle="butt",
                joinstyle="miter",
            )
        )


def box_size(text: str, fontsize: float, pad: float) -> tuple[float, float]:
    """Half width and half height in points of a box round bold text; ``pad`` in units of the font's size."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    extent = TextPath((0, 0), text, size=fontsize, prop=FontProperties(weight="bold")).get_extents()
    return extent.width / 2 + pad * fontsize, 0.5 * fontsize + pad * fontsize


def _to_rim(size: tuple[float, float], way: np.ndarray) -> float:
    """Points from the middle of a node to its rim in a direction: a circle, or a box that is wider than high."""
    across, along = size
    if across == along:
        return across
    return float(min(across / max(abs(way[0]), 1e-9), along / max(abs(way[1]), 1e-9)))


def edge_legend(ax: Axes, edges: pd.DataFrame, *, extra: list[Any] | None = None) -> None:
    """Draw a legend, below the axes, of the signs, lines and widths that occur in ``edges``."""
    from matplotlib.legend_handler import HandlerPatch
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyArrowPatch

    def arrow(
        legend: Any, orig_handle: Any, xdescent: float, ydescent: float, width: float, height: float, **_: Any
    ) -> Any:
        drawn = FancyArrowPatch((-xdescent, height / 2), (width - xdescent, height / 2), mutation_scale=11)
        drawn.set_arrowstyle(orig_handle.get_arrowstyle())
        return drawn

    handles: list[Any] = list(extra or [])
    for sign in (1, -1, 0):
        if (edges["sign"] == sign).any():
            name, colour, head = _SIGNS[sign]
            handles.append(FancyArrowPatch((0, 0), (1, 0), arrowstyle=head, color=colour, linewidth=1.6, label=name))
    known = edges["known"] != ""
    if known.any():
        handles.append(Line2D([], [], color=INK, linewidth=1.6, label="known edge"))
    if not known.all():
        handles.append(Line2D([], [], color=INK, linewidth=1.6, linestyle=DASHED, label="predicted edge"))
    low, high = float(edges["weight"].min()), float(edges["weight"].max())
    named = str(edges["weight_name"].iloc[0])
    if named and high > low:
        for value, width in ((low, _NARROW), (high, _WIDE)):
            said = (
                f"{named} {value:.2g}"
                if named == "probability"
                else f"{'lowest' if value == low else 'highest'} {named.removeprefix('rank of ')}"
            )
            handles.append(Line2D([], [], color=INK, linewidth=width, label=said))
    legend_below(
        ax, handles=handles, ncols=3, offset=0.0, handlelength=2.8, columnspacing=1.6,
        handler_map={FancyArrowPatch: HandlerPatch(patch_func=arrow)},
    )  # fmt: skip
