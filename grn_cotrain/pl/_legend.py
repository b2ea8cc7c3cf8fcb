"""Legends below the axes that are not wider than these, so that no figure cuts them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

__all__ = ["legend_below"]

_LONGEST = (44, 32, 24, 16)  # characters of a line, tried in turn where one column is still too wide


def legend_below(
    ax: Axes, *, handles: Sequence[Any] | None = None, ncols: int = 2, offset: float, **options: Any
) -> Legend:
    """Put the legend of ``ax`` below it, in as many columns up to ``ncols`` as the width of the axes has room for.

    The layout of a figure makes room for the height of a legend, but one that is wider than the figure is cut.

    Parameters
    ----------
    ax
        Axes with labelled artists.
    handles
        Artists to list; default: the labelled artists of ``ax``.
    ncols
        Most columns; one column is taken where no more fit.
    offset
        Top of the legend in heights of the axes, below 0.
    options
        Further options of :meth:`matplotlib.axes.Axes.legend`.
    """
    figure: Any = ax.figure.get_figure(root=True)
    shown = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    figure.draw_without_rendering()  # the layout decides how wide the axes are
    room = ax.get_window_extent().width
    most = max(1, min(ncols, len(shown)))
    for columns, longest in [
        *((number, _LONGEST[0]) for number in range(most, 0, -1)),
        *((1, n) for n in _LONGEST[1:]),
    ]:
        labels = [textwrap.fill(str(handle.get_label()), longest) for handle in shown]
        legend = ax.legend(
            handles=shown, labels=labels, loc="upper center", bbox_to_anchor=(0.5, offset), ncols=columns, **options
        )
        if legend.get_window_extent(figure._get_renderer()).width <= room:
            break
    return legend
