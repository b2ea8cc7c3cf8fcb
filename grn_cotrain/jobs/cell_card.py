"""Options of the card of a cell embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.options import option, seed_option

__all__ = ["CellCardOptions"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True, kw_only=True)
class CellCardOptions(ReadOptions):
    """Contents of a cell card."""

    labels: Sequence[str] | None = option(
        None, "Columns of obs that are labels; default: all with 2 to 50 different values.", parse=_names
    )
    against: Sequence[str] | None = option(
        None, "Keys of obsm of the file of cells to compare with, such as X_scVI.", parse=_names
    )
    prep: str | Path | None = option(
        None, "New place of the run's prepared folder; default: search for it.", metavar="DIR"
    )
    max_cells: int = option(3000, "Maximum number of cells; of more, a sample is drawn.", low=50)
    neighbours: int = option(15, "Number of nearest cells that are compared.", low=1)
    seed: int = seed_option()
    replicates: int = option(200, "Number of bootstrap replicates.", low=2)
