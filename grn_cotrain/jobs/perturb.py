"""Options of perturbing genes in silico."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grn_cotrain.errors import UserError
from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.options import Options, option, pair, seed_option

__all__ = ["Level", "Mode", "PerturbOptions", "PerturbSettings"]

Mode = Literal["delete", "overexpress"]
Level = float | Literal["cell_max"]


def _level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text  # cell_max, or what is refused with its name


@dataclass(frozen=True, kw_only=True)
class PerturbSettings(Options):
    """Perturbation of genes, number of cells, number of controls."""

    mode: Mode = option(
        "delete",
        "Perturbation: delete (tokens of the genes are removed from the cells that express one of them) or overexpress"
        " (values are raised to the level in every cell; for encoders that read ranks the genes come first).",
    )
    level: Level = option(
        0.99,
        "Level of over-expression: a quantile of the gene's own non-zero values in these cells, or cell_max, the"
        " highest value of each cell. A gene without a value in these cells is raised to the cell's highest.",
        metavar="Q|cell_max",
        parse=_level,
    )
    max_cells: int | None = option(
        None, "Maximum number of cells of each perturbation, drawn at random; 0: all.", low=0
    )
    num_controls: int = option(20, "Number of random matched sets of genes to compare with.", low=0)
    seed: int = seed_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.level != "cell_max" and (isinstance(self.level, str) or not 0 <= self.level <= 1):
            raise UserError(f"--level '{self.level}': give a quantile between 0 and 1, or cell_max")


@dataclass(frozen=True, kw_only=True)
class PerturbOptions(PerturbSettings, ReadOptions):
    """Options of perturbing genes."""

    max_cells: int | None = option(256, "Maximum number of cells of each perturbation, drawn at random; 0: all.", low=0)
    only: tuple[str, str] | None = option(
        None, "Cells to use: those with this value in this column of obs.", metavar="COLUMN=VALUE", parse=pair
    )
    prep: str | Path | None = option(
        None,
        "New place of the run's prepared folder, if no cells are given; default: search for it.",
        metavar="DIR",
    )
