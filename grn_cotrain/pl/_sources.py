"""Sources of figures: run folders, tables in memory, and messages where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.link_files import links_folder, read_curves
from grn_cotrain.evaluate.link_table import LinkTable

__all__ = ["choose", "curves_and_table", "headline", "link_table"]


def choose(argument: str, value: str, choices: Any) -> str:
    """``value`` if it is one of ``choices``, else an error that lists them."""
    names = [str(name) for name in choices]
    if value not in names:
        raise UserError(f"{argument} '{value}': choose from {', '.join(names)}{did_you_mean(value, names)}")
    return value


def link_table(source: LinkTable | str | Path) -> LinkTable:
    """A link table, or the one in a folder."""
    if isinstance(source, LinkTable):
        return source
    if not isinstance(source, (str, Path)):
        raise UserError(f"run: got {type(source).__name__}; give a run folder or a LinkTable")
    return LinkTable.read(links_folder(source))


def curves_and_table(source: LinkTable | str | Path) -> tuple[pd.DataFrame, LinkTable]:
    """Curves and table of one evaluation."""
    table = link_table(source)
    if table.curves is not None:
        return table.curves, table
    if isinstance(source, LinkTable):
        raise UserError("table: it holds no curves; give one of evaluate_links, or the folder of an evaluation")
    return read_curves(source), table  # raises: names the missing file and the command that makes it


def headline(table: LinkTable, split: str | None) -> str:
    """The split to draw: the one that is printed, unless another is named."""
    return table.headline_split if split is None else choose("split", split, table.frame["split"].unique())
