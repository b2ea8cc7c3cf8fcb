"""Genes that read a TF, by cell type.

Dimension letters: N targets, K cell types.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention_run import attention_of_tfs
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.pl._edges import of_tf
from grn_cotrain.pl._progress import reported
from grn_cotrain.pl.theme import BLUE, INK, MUTED, VERMILION, new_axes, style
from grn_cotrain.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["attention"]

_MOST = 80
_CELLS = 100  # cells of a type, by default
_MIDDLE = "#f3f3f0"  # as expected: no hue, and seen on a white page as on a dark one
_NEEDED = ("group", "source", "target", "weight", "expected", "score")
_WHO = {"target_reads_tf": "that read it", "tf_reads_target": "that it reads", "symmetric": "it is tied to"}
_LEAST_RANGE = 0.25  # log2: below it colours would turn noise into contrast


def attention(
    source: Any,
    tf: str,
    *,
    by: str | None = "cell_type",
    top: int = 30,
    min_cells: int = 10,
    config: AttentionConfig | None = None,
    progress: Progress | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which targets read a TF more than its popularity explains, by cell type.

    Colour is the mean attention weight over the weight expected from how much all genes of the same cells read the TF:
    1 is as expected. Each cell type gives its best targets in turn until ``top`` are found; targets stand by the type
    in which they are strongest. Bold names are edges of the network, a dot stands where too few cells show the pair.

    Parameters
    ----------
    source
        Run folder, or a frame as ``grn-cotrain evaluate attention`` writes (``attention_edges.parquet``; pairs that
        are not among its best have a dot).
    tf
        Name of the TF.
    by
        Column of obs; None: all cells together. For a run only.
    top
        Most targets to draw, up to 80.
    min_cells
        Fewest cells that show a pair.
    config
        How attention is read. For a run only. Default: that of
        :class:`~grn_cotrain.evaluate.attention.AttentionConfig`, but of 100 cells of each type: colours need no more,
        and ``grn-cotrain evaluate attention``, which reads 1,000, takes ten times as long.
    progress
        Function that receives the number of cells read and of all, for a run; default: a bar on a terminal or in a
        notebook, lines in the log elsewhere.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        No such TF or column, nothing to draw, a frame of another form.
    """
    if not 1 <= top <= _MOST:
        raise UserError(f"top '{top}': give 1 to {_MOST}; more targets cannot be read")
    mine = of_tf(_frame(source, tf, by, config, progress), tf)
    if "num_cells" in mine:
        mine = mine[mine["num_cells"] >= min_cells]
    if mine.empty:
        raise UserError(f"tf '{tf}': no pair is shown by {min_cells} cells of a type; lower min_cells")
    fold_NK, known_N = _matrix(mine, top)
    with style():
        if ax is None:
            ax = new_axes(2.6 + 0.34 * fold_NK.shape[1] + 0.9, 1.9 + 0.185 * len(fold_NK))
        _draw(ax, fold_NK, known_N)
        direction = "target_reads_tf" if config is None else config.direction
        ax.set_title(f"{tf}: {len(fold_NK)} genes {_WHO[direction]} most")
    return ax


def _frame(
    source: Any, tf: str, by: str | None, config: AttentionConfig | None, progress: Progress | None
) -> pd.DataFrame:
    if isinstance(source, (str, Path)):
        config = config or AttentionConfig(max_cells=_CELLS)
        with reported("reading attention", "cells", progress) as told:
            return attention_of_tfs(source, [tf], by=by, config=config, progress=told)
    if not isinstance(source, pd.DataFrame):
        raise UserError(f"source: got {type(source).__name__}; give a run folder or a frame of attention edges")
    missing = [name for name in _NEEDED if name not in source]
    if missing:
        raise UserError(
            f"source: the frame has no column {', '.join(missing)}; give attention_edges.parquet of"
            " `grn-cotrain evaluate attention`"
        )
    return source


def _matrix(mine: pd.DataFrame, top: int) -> tuple[pd.DataFrame, pd.Series]:
    """log2 of weight over expectation, targets x types, and which targets are known."""
    mine = mine[mine["expected"] > 0]
    ranked = mine.sort_values(["score", "target"], ascending=[False, True], kind="stable")
    place = ranked.groupby("group").cumcount()
    # The first of each type, then the second of each, ...: no type fills the figure alone.
    turn = ranked.assign(place=place).sort_values(["place", "group"], kind="stable")
    targets = list(dict.fromkeys(turn["target"]))[:top]
    mine = mine[mine["target"].isin(targets)]
    ratio = mine["weight"].clip(lower=1e-12) / mine["expected"]
    fold_NK = mine.assign(fold=np.log2(ratio)).pivot_table(index="target", columns="group", values="fold")
    filled = fold_NK.fillna(-np.inf).to_numpy()
    order = np.lexsort((-filled.max(axis=1), filled.argmax(axis=1)))
    fold_NK = fold_NK.iloc[order]
    known = mine["known"].fillna("").ne("") if "known" in mine else pd.Series(False, index=mine.index)
    return fold_NK, known.groupby(mine["target"]).any().reindex(fold_NK.index)


def _draw(ax: Axes, fold_NK: pd.DataFrame, known_N: pd.Series) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = fold_NK.to_numpy()
    reach = max(_LEAST_RANGE, float(np.nanquantile(np.abs(values), 0.98)))
    colours = LinearSegmentedColormap.from_list("reads", [BLUE, _MIDDLE, VERMILION])
    image = ax.imshow(values, cmap=colours, vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
        ax.text(column, row, "·", ha="center", va="center", color=MUTED, fontsize=11)
    ax.set_xticks(range(values.shape[1]), [str(name) for name in fold_NK.columns], rotation=40, ha="right")
    ax.set_yticks(range(values.shape[0]), [str(name) for name in fold_NK.index])
    for tick, known in zip(ax.get_yticklabels(), known_N, strict=True):
        tick.set_fontsize(7.5)
        if known:
            tick.set_fontweight("bold")
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0, colors=INK)
    bar = ax.figure.colorbar(image, ax=ax, shrink=min(1.0, 14 / len(values)), aspect=14, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label("attention over expectation", color=INK)
    marks = np.linspace(-reach, reach, 5)
    bar.set_ticks([float(mark) for mark in marks], labels=[f"{2**mark:.2g}" for mark in marks])
    bar.ax.tick_params(colors=INK, length=2)
    shown = ["bold: edge of the network"] if known_N.any() else []
    if np.isnan(values).any():
        shown.append("dot: too few cells")
    if shown:
        ax.set_xlabel("; ".join(shown), fontsize=7, color=MUTED)
