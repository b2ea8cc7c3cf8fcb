"""Options of reading gradients and perturbations of predicted values."""

from __future__ import annotations

from dataclasses import dataclass

from grn_cotrain.options import Options, option, seed_option

__all__ = ["ValueReadOutConfig"]


@dataclass(frozen=True, kw_only=True)
class ValueReadOutConfig(Options):
    """How predicted values become scores of TF and target.

    The cost is one pass of the encoder for each asked gene and two for each TF of a cell, so it rises with the square
    of the number of values of a cell. All cells of a batch share a pass.
    """

    max_cells: int = option(64, "Maximum number of cells to read, drawn at random.", low=1)
    asked: float = option(
        0.3, "Share of hidden values among the tokens of a cell; training hides 0.3 by default.", low=0.01, high=0.9
    )
    seed: int = seed_option()
