"""Options of annotating cells."""

from __future__ import annotations

from dataclasses import dataclass

from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.options import option

__all__ = ["AnnotateOptions"]


@dataclass(frozen=True, kw_only=True)
class AnnotateOptions(ReadOptions):
    """Options of annotating cells."""

    min_probability: float = option(
        0.0, "Minimum probability of the best class; cells below it are `unassigned`.", low=0.0, high=1.0
    )
    key_added: str | None = option(
        None, "Column of obs; default: predicted_ and the name of the column that was learned.", metavar="KEY"
    )
    overwrite: bool = option(False, "Replace a column of that name in the result.")
