"""The best edges of a network, drawn with their TFs.

Dimension letters: N nodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.pl._arrows import BEND, box_size, draw_edges, edge_legend
from grn_cotrain.pl._edges import edge_frame
from grn_cotrain.pl._labels import place_labels
from grn_cotrain.pl.theme import FAINT, INK, PAPER, new_axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["network"]

_MOST = 300
_OF_A_HUB = 4
_GAP = 0.95  # between components, in units of an edge's length
_PAD = 0.25  # of a TF's box, in units of its font's size
_WIDER = 1.2  # width of the figure's inner part over its height
_PUSHES = 80


def network(
    source: Any, *, top: int = 40, top_per_tf: int | None = None, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the ``top`` edges of a network: TFs as named boxes, targets as dots, edges as :func:`pl.regulon` does.

    Components are laid out one by one (Kamada and Kawai 1989) and packed, the largest first, so that the picture is the
    same every time.

    Parameters
    ----------
    source
        Run folder, PredictedEdges, GRN or frame, as for :func:`~grn_cotrain.pl.regulon`.
    top
        Number of edges, up to 300.
    top_per_tf
        Largest number of edges of a TF. Default: 4 for a run folder, since its best edges may all be one
        hub's; no limit for edges that are given.
    seed
        Seed of the layout's start.
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
    if top_per_tf is not None and top_per_tf < 1:
        raise UserError(f"top_per_tf '{top_per_tf}': give 1 or more, or None")
    if top_per_tf is None and isinstance(source, (str, Path)):
        top_per_tf = _OF_A_HUB
    every = edge_frame(source, top=top, top_per_tf=top_per_tf)
    every = every[every["source"] != every["target"]].drop_duplicates(["source", "target"])
    if top_per_tf is not None:
        every = every.groupby("source", sort=False).head(top_per_tf)
    if every.empty:
        raise UserError("edges: there is none to draw")
    edges = every.head(top).reset_index(drop=True)
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_edges_from(zip(edges["source"], edges["target"], strict=True))
    places = _layout(graph, seed)
    tfs = set(edges["source"])
    with style():
        if ax is None:
            ax = new_axes(7.2, 6.4)
        ax.set_axis_off()
        ax.set_aspect("equal")
        number = f"{len(edges)} best of {len(every):,}" if len(every) > len(edges) else f"{len(edges)}"
        ax.set_title(
            f"{_count(number, 'edge')}: {_count(len(tfs), 'TF')}, {_count(len(graph) - len(tfs), 'other target')}"
        )
        # Before anything is placed: the legend takes room, and places are compared at the final size.
        edge_legend(ax, edges, extra=_node_handles(len(graph) > len(tfs)))
        xy_N2 = np.array(list(places.values()))
        _limits(ax, xy_N2)
        size = 7.5 if len(graph) > 60 else 8.5
        places = _apart(ax, places, _sizes(graph, tfs, size))
        _limits(ax, np.array(list(places.values())))
        _nodes(ax, edges, graph, places, tfs, size)
    return ax


def _count(number: int | str, what: str) -> str:
    return f"{number} {what}{'' if str(number) == '1' else 's'}"


def _limits(ax: Axes, xy_N2: np.ndarray) -> None:
    low, high = xy_N2.min(axis=0), xy_N2.max(axis=0)
    margin = 0.07 * float(max(high - low)) + 0.1
    ax.set_xlim(low[0] - margin, high[0] + margin)
    ax.set_ylim(low[1] - margin, high[1] + margin)


def _apart(
    ax: Axes, places: dict[str, tuple[float, float]], sizes: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Push nodes apart until no boxes overlap, each pair along the shorter way."""
    figure = ax.figure.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    unit = float(np.diff(ax.transData.transform([(0, 0), (1, 0)])[:, 0])[0]) * 72 / figure.dpi  # points per unit
    names = list(places)
    xy_N2 = np.array([places[name] for name in names]) * unit
    half_N2 = np.array([sizes[name] for name in names]) + 2.0
    for _ in range(_PUSHES):
        between_NN2 = xy_N2[:, None] - xy_N2[None]
        over_NN2 = half_N2[:, None] + half_N2[None] - np.abs(between_NN2)
        over_NN2[np.arange(len(names)), np.arange(len(names))] = -1
        lies_NN = (over_NN2 > 0).all(axis=2)
        if not lies_NN.any():
            break
        axis_NN = over_NN2.argmin(axis=2)
        side_NN2 = np.where(between_NN2 >= 0, 1.0, -1.0)
        lower = np.tri(len(names), k=-1, dtype=bool)
        side_NN2[(between_NN2 == 0) & lower[:, :, None].repeat(2, axis=2)] = -1.0
        for axis in (0, 1):
            moved_NN = np.where(lies_NN & (axis_NN == axis), over_NN2[:, :, axis] * side_NN2[:, :, axis] / 2, 0.0)
            xy_N2[:, axis] += 0.6 * moved_NN.sum(axis=1)
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, xy_N2 / unit, strict=True)}


def _nodes(
    ax: Axes, edges: pd.DataFrame, graph: nx.DiGraph, places: dict[str, tuple[float, float]], tfs: set[str], size: float
) -> None:
    sizes = _sizes(graph, tfs, size)
    for name in graph:
        x, y = places[name]
        if name in tfs:
            ax.text(
                x, y, name, ha="center", va="center", fontsize=size, fontweight="bold", color=PAPER, zorder=6,
                bbox={"boxstyle": f"round,pad={_PAD}", "facecolor": INK, "edgecolor": PAPER, "linewidth": 0.8},
            )  # fmt: skip
        else:
            ax.plot(
                x, y, marker="o", markersize=6, markerfacecolor=FAINT, markeredgecolor=INK, markeredgewidth=0.8,
                linestyle="none", zorder=4,
            )  # fmt: skip
    draw_edges(ax, edges, places, sizes=sizes, curved=True)
    others = sorted((name for name in graph if name not in tfs), key=lambda name: (-graph.degree(name), name))
    if others:
        place_labels(
            ax, np.array([places[name] for name in others]), others, obstacles_N2=_obstacles(graph, places),
            fontsize=size - 1, reach=[2.0] * len(others), penalty=0.8,
            boxes_B4=np.array([(*places[name], *sizes[name]) for name in sorted(tfs)]),
        )  # fmt: skip


def _sizes(graph: nx.DiGraph, tfs: set[str], size: float) -> dict[str, tuple[float, float]]:
    """Half width and height of each node in points."""
    boxes = {name: box_size(name, size, _PAD) for name in graph if name in tfs}
    return {name: (boxes[name][0] + 2, boxes[name][1] + 2) if name in boxes else (5.0, 5.0) for name in graph}


def _obstacles(graph: nx.DiGraph, places: dict[str, tuple[float, float]]) -> np.ndarray:
    """Points along the edges, in data coordinates: labels should be next to them."""
    share = np.linspace(0.12, 0.94, 14)[:, None]
    points = []
    for source, target in graph.edges:
        start, stop = np.asarray(places[source]), np.asarray(places[target])
        bend = np.array([stop[1] - start[1], start[0] - stop[0]]) * BEND
        points.append(start * (1 - share) + stop * share + 2 * share * (1 - share) * bend)
    return np.concatenate(points)


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
        ordered: nx.Graph = nx.Graph()
        ordered.add_nodes_from(part)
        ordered.add_edges_from(sorted((min(a, b), max(a, b)) for a, b in graph.subgraph(part).edges))
        start = nx.circular_layout(ordered)
        if len(part) > 3:
            start = nx.spring_layout(ordered, pos=start, seed=seed, iterations=60)
        found = nx.kamada_kawai_layout(ordered, pos=start)
        xy_N2 = np.array([found[name] for name in part], dtype=float)
        # One edge has length one, whatever the component's size.
        lengths = [np.linalg.norm(np.asarray(found[a]) - np.asarray(found[b])) for a, b in ordered.edges]
        xy_N2 = _level(xy_N2) / max(float(np.mean(lengths)), 1e-9)
        boxes.append((part, xy_N2 - xy_N2.min(axis=0)))
    widest = max(float(xy_N2[:, 0].max()) for _, xy_N2 in boxes)
    candidates = [_pack(boxes, widest * factor) for factor in np.linspace(1.0, 3.0, 21)]
    return max(candidates, key=_scale)


def _level(xy_N2: np.ndarray) -> np.ndarray:
    """Turn a layout so that it is longest from left to right: figures and names are wider than high."""
    centred_N2 = xy_N2 - xy_N2.mean(axis=0)
    axes_22 = np.linalg.svd(centred_N2, full_matrices=False)[2]
    axes_22 *= np.where(axes_22[np.arange(2), np.abs(axes_22).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    return centred_N2 @ axes_22.T


def _scale(places: dict[str, tuple[float, float]]) -> float:
    """How large a layout can be drawn in a figure of the usual shape."""
    wide, high = np.ptp(np.array(list(places.values())), axis=0) + _GAP
    return float(min(_WIDER / wide, 1 / high))


def _pack(boxes: list[tuple[list[str], np.ndarray]], width: float) -> dict[str, tuple[float, float]]:
    """Components side by side in rows of at most ``width``."""
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
