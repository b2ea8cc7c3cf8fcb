"""Masked values at levels of sparsity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.run import SPARSITY_FILE
from grn_cotrain.evaluate.sparsity import METRICS
from grn_cotrain.pl._legend import legend_below
from grn_cotrain.pl._sources import choose
from grn_cotrain.pl.theme import ACCENT, DASHES, MARKERS, OTHERS, PAPER, new_axes, style, tidy
from grn_cotrain.present import CELL_METRICS
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["sparsity"]

_BASELINES = {
    "factor_analysis": "factor analysis",
    "gene_and_cell": "gene and cell mean",
    "gene_mean": "gene mean",
}
_WHAT = {
    "dropout": "values dropped from the same cells",
    "own": "groups of cells by their own sparsity",
}
_NEEDED = ("assay", "by", "group", "sparsity", "scorer", "metric", "value", "low", "high")
_MIN_RANGE = 0.1  # range of the y axis: below it, noise would look like a trend


def sparsity(
    run_or_frame: Any, *, metric: str = "r2", by: str = "dropout", assay: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how well hidden values are predicted where more of a cell is zero, for the model and its baselines.

    Bands and bars are 95 % intervals over cells. Groups of a column of obs stand side by side, the sparsest last; they,
    and groups by ``own`` sparsity, differ in more than sparsity.

    Parameters
    ----------
    run_or_frame
        Run folder after ``grn-cotrain evaluate cells RUN --by-sparsity``, or the frame of
        :func:`~grn_cotrain.evaluate.sparsity.masked_value_by_sparsity`.
    metric
        One of :data:`~grn_cotrain.evaluate.sparsity.METRICS`: ``r2``, ``mse``, ``pearson``, ``pearson_cell``.
    by
        ``dropout``, ``own``, or the column of obs that was evaluated.
    assay
        Assay to draw; needed where the frame holds several.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        The run is not evaluated so; no such metric, grouping or assay; several assays and none named; a frame of
        another form.
    """
    choose("metric", metric, METRICS)
    frame = _frame(run_or_frame)
    choose("by", by, frame["by"].unique())
    assays = list(dict.fromkeys(frame["assay"]))
    if assay is None and len(assays) > 1:
        raise UserError(f"assay: not given, and the frame holds {', '.join(assays)}; name one")
    if assay is not None:
        choose("assay", assay, assays)
        frame = frame[frame["assay"] == assay]
    rows = frame[(frame["by"] == by) & (frame["metric"] == metric)].dropna(subset="value")
    if rows.empty:
        raise UserError(f"metric '{metric}': no scorer has a value by {by}; choose another metric")
    with style():
        if ax is None:
            ax = new_axes(5.6, 3.5)
        _draw(ax, rows, joined=by in _WHAT)
        ax.set_xlabel(f"share of zeros: {_WHAT[by]}" if by in _WHAT else f"{by} (share of zeros), sparsest last")
        ax.set_ylabel(CELL_METRICS[metric].words)
        ax.set_title("Hidden values by sparsity" + (f": {assay}" if len(assays) > 1 else ""))
    return ax


def _frame(source: Any) -> pd.DataFrame:
    if isinstance(source, (str, Path)):
        run = RunFolder.open(source)
        folder = run.folder
        if not (folder / SPARSITY_FILE).is_file():
            raise UserError(
                f"run '{source}': has no {SPARSITY_FILE}; run `grn-cotrain evaluate cells {source} --by-sparsity`"
            )
        run.check_tables([SPARSITY_FILE])
        return pd.read_parquet(folder / SPARSITY_FILE)
    if not isinstance(source, pd.DataFrame):
        raise UserError(f"run_or_frame: got {type(source).__name__}; give a run folder or a frame")
    missing = [name for name in _NEEDED if name not in source]
    if missing:
        raise UserError(
            f"run_or_frame: the frame has no column {', '.join(missing)}; give that of masked_value_by_sparsity"
        )
    return source


def _draw(ax: Axes, rows: pd.DataFrame, *, joined: bool) -> None:
    tidy(ax, grid="y")
    groups = list(rows.sort_values(["sparsity", "group"], kind="stable")["group"].unique())
    models = [name for name in dict.fromkeys(rows["scorer"]) if name not in _BASELINES]
    # Baselines look the same with and without a model; several models share its colour and differ by their marks.
    marks = dict(zip(models, [0, *range(len(_BASELINES) + 1, len(MARKERS))], strict=False))
    marks |= {name: place for place, name in enumerate(_BASELINES, 1) if name in set(rows["scorer"])}
    if len(marks) < rows["scorer"].nunique():
        raise UserError(f"run_or_frame: it holds {len(models)} models; draw three at a time")
    handles: list[Any] = []
    for name, place in marks.items():
        is_model = name in models
        colour = ACCENT if is_model else OTHERS[place - 1]
        mine = rows[rows["scorer"] == name].sort_values(["sparsity", "group"], kind="stable")
        x = mine["sparsity"].to_numpy() if joined else mine["group"].map(groups.index).to_numpy()
        look = {
            "color": colour, "marker": MARKERS[place], "markersize": 5.5, "markeredgewidth": 1.4,
            "markerfacecolor": colour if is_model else PAPER, "label": _BASELINES.get(name, name.replace("_", " ")),
            "zorder": 3.5 if is_model else 3,
        }  # fmt: skip
        if joined:
            ax.fill_between(x, mine["low"], mine["high"], color=colour, alpha=0.13, linewidth=0, zorder=2)
        else:
            ax.vlines(x, mine["low"], mine["high"], color=colour, linewidth=1.0, alpha=0.6, zorder=2)
        handles += ax.plot(x, mine["value"], linestyle=DASHES[place] if joined else "none", **look)
    low, high = ax.get_ylim()
    if high - low < _MIN_RANGE:
        middle = (low + high) / 2
        ax.set_ylim(middle - _MIN_RANGE / 2, middle + _MIN_RANGE / 2)
    ax.margins(x=0.04)
    if joined:
        _share_axis(ax)
        # Below the axes: a legend inside would cover some run's curves.
        legend_below(ax, handles=handles, offset=-0.18, handlelength=2.6)
    else:
        shares = rows.groupby("group")["sparsity"].first()
        names = [f"{name} ({100 * shares[name]:.1f} %)" for name in groups]
        ax.set_xticks(range(len(groups)), names, rotation=35, ha="right")
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _share_axis(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
