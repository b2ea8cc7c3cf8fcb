"""The best edges of a network, drawn with their TFs.

Dimension letters: N nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.pl._arrows import draw_edges, edge_legend
from grn_cotrain.pl._edges import edge_frame
from grn_cotrain.pl._labels import place_labels
from grn_cotrain.pl._style import FAINT, INK, PAPER, new_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["network"]

_MOST = 300
_GAP = 0.55  # between components, in units of an edge's length


def network(source: Any, *, top: int = 40, seed: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the ``top`` edges of a network: TFs as named boxes, targets as dots, edges as :func:`pl.regulon` has them.

    Components are laid out one by one (Kamada and Kawai 1989) and packed, the largest first, so that the picture is the
    same every time.

    Parameters
    ----------
    source
        Run folder, PredictedEdges, GRN or frame, as for :func:`~grn_cotrain.pl.regulon`. A few hubs fill a short list
        of a run's best edges: give ``predict_edges(run, top_per_tf=3)`` to see more TFs.
    top
        Number of edges, up to 300.
    seed
        Of the layout's start.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        Edges of another form, or none.
    """
    if not 1 <= top <= _MOST:
        raise UserError(f"top '{top}': give 1 to {_MOST}; more edges cannot be read")
    every = edge_frame(source, top=top)
    every = every[every["source"] != every["target"]].drop_duplicates(["source", "target"])
    if every.empty:
        raise UserError("edges: there is none to draw")
    edges = every.head(top).reset_index(drop=True)
    graph = nx.DiGraph()
    graph.add_edges_from(zip(edges["source"], edges["target"], strict=True))
    places = _layout(graph, seed)
    tfs = set(edges["source"])
    with style():
        if ax is None:
            ax = new_axes(7.2, 6.4)
        ax.set_axis_off()
        ax.set_aspect("equal")
        xy_N2 = np.array(list(places.values()))
        low, high = xy_N2.min(axis=0), xy_N2.max(axis=0)
        margin = 0.07 * float(max(high - low)) + 0.1
        ax.set_xlim(low[0] - margin, high[0] + margin)
        ax.set_ylim(low[1] - margin, high[1] + margin)
        _nodes(ax, edges, graph, places, tfs)
        number = f"{len(edges)} best of {len(every):,}" if len(every) > len(edges) else f"{len(edges)}"
        ax.set_title(f"{number} edges: {len(tfs)} TFs, {len(graph) - len(tfs)} other targets")
        edge_legend(ax, edges, extra=_node_handles(len(graph) > len(tfs)))
    return ax


def _nodes(
    ax: Axes, edges: pd.DataFrame, graph: nx.DiGraph, places: dict[str, tuple[float, float]], tfs: set[str]
) -> None:
    size = 7.5 if len(graph) > 60 else 8.5
    radius = {name: 4.0 + 2.9 * len(name) * size / 8.5 if name in tfs else 4.5 for name in graph}
    for name in graph:
        x, y = places[name]
        if name in tfs:
            ax.text(
                x, y, name, ha="center", va="center", fontsize=size, fontweight="bold", color=PAPER, zorder=6,
                bbox={"boxstyle": "round,pad=0.25", "facecolor": INK, "edgecolor": PAPER, "linewidth": 0.8},
            )  # fmt: skip
        else:
            ax.plot(
                x, y, marker="o", markersize=6, markerfacecolor=FAINT, markeredgecolor=INK, markeredgewidth=0.8,
                linestyle="none", zorder=4,
            )  # fmt: skip
    draw_edges(ax, edges, places, radius_from=radius, radius_to=radius, curved=True)
    others = sorted((name for name in graph if name not in tfs), key=lambda name: (-graph.degree(name), name))
    if others:
        middles = np.array([np.mean([places[a], places[b]], axis=0) for a, b in graph.edges])
        boxes = np.array([places[name] for name in graph])
        place_labels(
            ax, np.array([places[name] for name in others]), others, obstacles_N2=np.concatenate([middles, boxes]),
            fontsize=size - 1, reach=[2.0] * len(others),
        )  # fmt: skip


def _node_handles(has_targets: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="s", markersize=7, color=INK, linestyle="none", label="TF")]
    if has_targets:
        handles.append(
            Line2D([], [], marker="o", markersize=6, markerfacecolor=FAINT, markeredgecolor=INK, linestyle="none",
                   label="target")
        )  # fmt: skip
    return handles


def _layout(graph: nx.DiGraph, seed: int) -> dict[str, tuple[float, float]]:
    """Places of nodes: each component by itself, then components side by side in rows."""
    parts = [sorted(part) for part in nx.connected_components(graph.to_undirected(as_view=True))]
    parts.sort(key=lambda part: (-len(part), part[0]))
    boxes = []
    for part in parts:
        ordered = nx.Graph()
        ordered.add_nodes_from(part)
        ordered.add_edges_from(sorted((min(a, b), max(a, b)) for a, b in graph.subgraph(part).edges))
        start = nx.circular_layout(ordered)
        if len(part) > 3:
            start = nx.spring_layout(ordered, pos=start, seed=seed, iterations=60)
        found = nx.kamada_kawai_layout(ordered, pos=start)
        xy_N2 = np.array([found[name] for name in part], dtype=float)
        # One edge has length one, whatever the component's size.
        lengths = [np.linalg.norm(np.asarray(found[a]) - np.asarray(found[b])) for a, b in ordered.edges]
        xy_N2 = (xy_N2 - xy_N2.min(axis=0)) / max(float(np.mean(lengths)), 1e-9)
        if np.ptp(xy_N2[:, 1]) > np.ptp(xy_N2[:, 0]):  # figures are wider than high
            xy_N2 = xy_N2[:, ::-1] - xy_N2[:, ::-1].min(axis=0)
        boxes.append((part, xy_N2))
    area = sum(float(np.prod(xy_N2.max(axis=0) + _GAP)) for _, xy_N2 in boxes)
    width = max(float(boxes[0][1][:, 0].max()), np.sqrt(area) * 1.15)
    places: dict[str, tuple[float, float]] = {}
    x = y = row_height = 0.0
    for part, xy_N2 in boxes:
        wide, high = xy_N2.max(axis=0)
        if x and x + wide > width:
            x, y, row_height = 0.0, y - row_height - _GAP, 0.0
        for name, (dx, dy) in zip(part, xy_N2, strict=True):
            places[name] = (float(x + dx), float(y - high + dy))
        x, row_height = x + wide + _GAP, max(row_height, float(high))
    return places
