"""Training and validation losses of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.pl._legend import legend_below
from grn_cotrain.pl.theme import ACCENT, DASHES, GREEN, INK, MARKERS, MUTED, PAPER, VERMILION, new_axes, style, tidy
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.records import RunRecords

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["losses"]

_TRAIN, _VALIDATION = "loss/", "validation/cells/"
_LINKS = "validation/links/selection"
_COLOURS = (ACCENT, VERMILION, "#cc79a7", "#e69f00")
_MANY = 60  # records beyond which single steps are drawn faint, under their mean
_DECADE = 8.0  # ratio of losses from which a logarithmic axis is needed


def losses(run: str | Path, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of each objective against the step, in training and in validation, and the step that was kept.

    Links have no validation loss: their validation AUROC, by which checkpoints are chosen, has the axis on the right
    (``ax.right_ax``, as in pandas).

    Parameters
    ----------
    run
        Run folder, finished or not.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes

    Raises
    ------
    UserError
        No run folder, or nothing is recorded yet.
    """
    folder = RunFolder.open(run)
    records = pd.DataFrame(RunRecords(folder.folder).read())
    names = [name for name in records.columns if name.startswith(_TRAIN)] if len(records) else []
    if not names or "kind" not in records:
        raise UserError(f"run '{run}': metrics.jsonl holds no loss yet; train it first, or wait for the first steps")
    training, validation = (records[records["kind"] == kind].set_index("step") for kind in ("train", "validation"))
    with style():
        if ax is None:
            ax = new_axes(6.4, 3.6)
        _draw(ax, training, validation, [name.removeprefix(_TRAIN) for name in names])
        ax.set_title(folder.recipe().name)
    return ax


def _draw(ax: Axes, training: pd.DataFrame, validation: pd.DataFrame, objectives: list[str]) -> None:
    tidy(ax, grid="y")
    handles: list[Any] = []
    drawn = []
    for index, name in enumerate(objectives):
        colour, dash, marker = _COLOURS[index % len(_COLOURS)], DASHES[index], MARKERS[index]
        title = name.replace("_", " ")
        loss = training[_TRAIN + name].dropna()
        if len(loss) > _MANY:
            ax.plot(loss.index, loss, color=colour, linewidth=0.7, alpha=0.35)
            smooth = loss.rolling(max(3, len(loss) // 30), center=True, min_periods=1).mean()
        else:
            smooth = loss
        handles += ax.plot(smooth.index, smooth, color=colour, linestyle=dash, label=f"{title}, training")
        drawn.append(loss)
        key = _VALIDATION + name
        if key in validation and validation[key].notna().any():
            seen = validation[key].dropna()
            handles += ax.plot(
                seen.index, seen, color=colour, linestyle="none", marker=marker, markersize=6,
                markerfacecolor=PAPER, markeredgewidth=1.5, label=f"{title}, validation",
            )  # fmt: skip
            drawn.append(seen)
    values = pd.concat(drawn)
    if (values > 0).all() and values.max() > _DECADE * values.min():
        ax.set_yscale("log")
        _plain_log_ticks(ax)
    else:
        low, high = float(values.min()), float(values.max())
        ax.set_ylim(min(0.0, low), high + 0.08 * (high - min(0.0, low)))
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss of each objective")
    ax.margins(x=0.02)
    if _LINKS in validation and validation[_LINKS].notna().any():
        handles += _links(ax, validation[_LINKS].dropna())
    if "best_step" in validation and validation["best_step"].notna().any():
        handles.append(_kept(ax, validation))
    # Below the axes: a legend inside would cover some run's curves.
    legend_below(ax, handles=handles, offset=-0.2, handlelength=2.6, columnspacing=1.6)


def _kept(ax: Axes, validation: pd.DataFrame) -> Any:
    """A line at the step whose model was kept, with a mark where it crosses what the step was chosen by."""
    best = int(validation["best_step"].dropna().iloc[-1])
    line = ax.axvline(best, color=INK, linewidth=1.0, linestyle=(0, (1, 1.6)), zorder=1)
    line.set_label(f"kept: step {best:,}")
    right: Any = getattr(ax, "right_ax", None)
    score = float(dict(zip(validation.index, validation[_LINKS], strict=True)).get(best, np.nan)) if right else np.nan
    if np.isfinite(score):
        right.plot(
            [best], [score], linestyle="none", marker="D", markersize=10, markerfacecolor="none",
            markeredgecolor=INK, markeredgewidth=1.4, zorder=5, label="_kept",
        )  # fmt: skip
    return line


def _links(ax: Axes, scores: pd.Series) -> list[Any]:
    right: Any = ax.twinx()
    ax.right_ax = right  # type: ignore[attr-defined]
    right.set_zorder(ax.get_zorder() + 1)
    handles = right.plot(
        scores.index, scores, color=GREEN, linewidth=1.2, linestyle=(0, (2, 1)), marker="^", markersize=6,
        markerfacecolor=GREEN, markeredgecolor=PAPER, label="links, validation AUROC (right)",
    )  # fmt: skip
    for name, spine in right.spines.items():
        spine.set_visible(name == "right")
        spine.set_color(GREEN)
    right.tick_params(colors=GREEN)
    right.set_ylabel("validation AUROC of links", color=GREEN)
    low, high = float(scores.min()), float(scores.max())
    right.set_ylim(min(0.5, low - 0.02), min(1.0, max(high + 0.05, 0.75)) if high <= 1 else None)
    if low < 0.5:
        right.axhline(0.5, color=MUTED, linewidth=0.8)
    return list(handles)


def _plain_log_ticks(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    ax.set_ylim(10 ** (np.log10(low) - 0.02), 10 ** (np.log10(high) + 0.02))
