"""Maps of a cell embedding, from the components that its card holds: coloured by label and by depth.

Dimension letters: C cells, P components.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.card import Card
from grn_cotrain.report.blocks import Block, Columns
from grn_cotrain.report.figures import Figure, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["cell_maps"]

_MOST_LABELS = 8
_SIZE = (3.9, 4.2)


def cell_maps(card: Card, *, basis: str = "pca", slug: Callable[[str], str] = str) -> list[Block]:
    """One map for each of the first two labels, then one coloured by depth, side by side.

    Parameters
    ----------
    card
        Card of a cell embedding.
    basis
        ``umap`` lays the components out again; ``pca`` shows the first two.
    slug
        Keeps the ids of several cards on one page apart.
    """
    content = card.content["map"]
    xy_C2, name = _layout(np.asarray(content["scores"], dtype=np.float64), basis)
    figures: list[Figure] = []
    for column, labels in list(content["labels"].items())[:2]:
        figures.append(
            _figure(
                lambda ax, labels=labels: _by_label(ax, xy_C2, labels, name),  # type: ignore[misc]
                slug(f"cell-map-{column}"),
                f"the label {column}",
                f"{name} of the cell embedding, one point a cell, coloured by {column}.",
            )
        )
    for number, values in list(content["numbers"].items())[:1]:
        figures.append(
            _figure(
                lambda ax, values=values, number=number: _by_number(ax, xy_C2, values, number, name),  # type: ignore[misc]
                slug(f"cell-map-{number.replace(' ', '-')}"),
                f"log {number}",
                f"{name} of the cell embedding, coloured by log {number}. A map of depth alone has learned depth.",
            )
        )
    return [Columns([("", (figure,)) for figure in figures], narrow=True)]


def _figure(plot: Callable[[Axes], Any], name: str, what: str, caption: str) -> Figure:
    return draw(
        plot,
        size=_SIZE,
        name=name,
        title=f"Map of the cell embedding, coloured by {what}",
        description="One point a cell. The card states in numbers what explains the embedding, and how well labels can"
        " be read from it.",
        caption=caption,
    )


def _layout(score_CP: np.ndarray, basis: str) -> tuple[np.ndarray, str]:
    """Two coordinates a cell, and the name of the layout."""
    if basis == "umap":
        from grn_cotrain import pl

        frame = pd.DataFrame(score_CP, index=[str(cell) for cell in range(len(score_CP))])
        return pl.embedding_coordinates(frame, basis="umap").to_numpy(), "UMAP"
    if score_CP.shape[1] < 2:
        return np.column_stack([score_CP[:, 0], np.zeros(len(score_CP))]), "PCA"
    return score_CP[:, :2], "PCA"


def _by_label(ax: Axes, xy_C2: np.ndarray, labels: list[str], name: str) -> None:
    """Points in the colour and shape of their label; rare labels together."""
    from grn_cotrain.pl import theme

    labels_C = np.asarray(labels, dtype=str)
    known, count = np.unique(labels_C[labels_C != ""], return_counts=True)
    shown = list(known[np.argsort(-count, kind="stable")][:_MOST_LABELS])
    colours = (theme.BLUE, *theme.OTHERS)
    others_C = ~np.isin(labels_C, shown)
    if others_C.any():
        ax.scatter(
            xy_C2[others_C, 0], xy_C2[others_C, 1], s=5, c=theme.FAINT, linewidths=0, label="others", rasterized=False
        )
    for place, label in enumerate(shown):
        own_C = labels_C == label
        marker = theme.MARKERS[(place // len(colours)) % len(theme.MARKERS)]
        ax.scatter(
            xy_C2[own_C, 0],
            xy_C2[own_C, 1],
            s=6,
            c=colours[place % len(colours)],
            marker=marker,
            linewidths=0,
            label=label,
        )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, markerscale=2, fontsize=7)
    _bare(ax, name)


def _by_number(ax: Axes, xy_C2: np.ndarray, values: list[float], number: str, name: str) -> None:
    """Points from light to dark in four equal groups, which a page can show in its own colours."""
    from grn_cotrain.pl import theme

    values_C = np.asarray(values, dtype=np.float64)
    cuts = np.quantile(values_C, [0.25, 0.5, 0.75])
    group_C = np.searchsorted(cuts, values_C)
    colours = (theme.ORANGE, theme.GREEN, theme.SKY, theme.BLUE)
    for group, words in enumerate(("lowest quarter", "second", "third", "highest quarter")):
        own_C = group_C == group
        ax.scatter(
            xy_C2[own_C, 0],
            xy_C2[own_C, 1],
            s=6,
            c=colours[group],
            marker=theme.MARKERS[group],
            linewidths=0,
            label=words,
        )
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, markerscale=2, fontsize=7,
        title=f"log {number}", title_fontsize=7,
    )  # fmt: skip
    _bare(ax, name)


def _bare(ax: Axes, name: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"{name} 1")
    ax.set_ylabel(f"{name} 2")
