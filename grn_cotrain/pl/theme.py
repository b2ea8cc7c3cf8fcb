"""How every figure looks: colours, sizes, and the axes they are drawn on.

Figures are readable without colour vision: hues are Okabe and Ito's (2008), and nothing is shown by hue alone. The
neutral colours are hexes that occur nowhere else, so that a page may replace them by those of its own theme
(:data:`THEME`). Backgrounds are transparent.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ACCENT",
    "BLUE",
    "DASHES",
    "FAINT",
    "GREEN",
    "GRID",
    "INK",
    "MARKERS",
    "MUTED",
    "OTHERS",
    "PAPER",
    "THEME",
    "VERMILION",
    "new_axes",
    "style",
    "tidy",
    "to_svg",
]

INK = "#1b1f26"
"""Text, axes, and marks that lead."""
MUTED = "#6a7280"
"""Text and marks that stand back."""
FAINT = "#8d95a1"
"""Marks of the background, drawn half transparent: pictures of many points keep their colours on any page."""
GRID = "#dde1e7"
"""Grid lines."""
PAPER = "#fdfefd"
"""Halos round text and edges of markers: the colour of the page."""
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
PURPLE = "#cc79a7"
ORANGE = "#e69f00"
SKY = "#56b4e9"
ACCENT = BLUE
"""The model."""
OTHERS = (VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Hues of further series, in this order."""
THEME = {"ink": INK, "muted": MUTED, "faint": FAINT, "grid": GRID, "paper": PAPER}
"""Names of the colours that a page replaces."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (9, 2)), (0, (3, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")

_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "axes.unicode_minus": True,
    "figure.dpi": 110,
    "savefig.dpi": 200,
    # Text stays text: it can be searched, read by a screen reader, and takes the page's colour.
    "svg.fonttype": "none",
    "svg.hashsalt": "grn_cotrain",
}
# Backends that only write files: with them a figure of pyplot would stay open for nobody.
_FILE_BACKENDS = {"agg", "svg", "pdf", "ps", "cairo", "template", "pgf"}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the project's style; the caller's settings are as they were afterwards."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def new_axes(width: float, height: float) -> Axes:
    """Axes of a new figure of ``width`` x ``height`` inches.

    In a notebook or with a window the figure is one of pyplot's, so that it is shown; with a backend that only writes
    files it is not, so that nothing has to be closed: save it with ``ax.figure.savefig``.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure: Any
    if matplotlib.get_backend().lower() in _FILE_BACKENDS:
        figure = Figure(figsize=(width, height), layout="constrained")
    else:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(width, height), layout="constrained")
    axes: Axes = figure.add_subplot()
    return axes


def tidy(ax: Axes, *, grid: str = "", frame: bool = True) -> None:
    """Left and bottom axis only, in ink; ``grid`` is "", "x", "y" or "both"."""
    for name, spine in ax.spines.items():
        spine.set_visible(frame and name in ("left", "bottom"))
        spine.set_color(INK)
    ax.tick_params(colors=INK, which="both")
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, axis=grid, color=GRID, linewidth=0.7)  # type: ignore[arg-type]


def to_svg(ax: Axes) -> str:
    """The figure of ``ax`` as one ``<svg>`` element: text as text, transparent, the same bytes every time.

    Without XML header, for a page that takes it in as it is.
    """
    from matplotlib.figure import Figure

    figure = ax.figure.get_figure(root=True) if hasattr(ax.figure, "get_figure") else ax.figure
    assert isinstance(figure, Figure)
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", stream.getvalue(), count=1, flags=re.DOTALL)
