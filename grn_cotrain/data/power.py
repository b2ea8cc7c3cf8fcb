"""Power of data of some size: gains from regulon factors in simulated worlds, next to the user's cells and depth.

The numbers are those of the record ``experiments/records/power.json``; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.store import CellStore

__all__ = ["POWER", "POWER_TREES", "Power", "cells_and_depth", "power_note"]

_GENES = 500  # a simulated world has so many


@dataclass(frozen=True)
class Power:
    """Gain in the macro AUROC of unseen targets, by share of acting edges, cells, and median counts of a cell.

    ``worlds`` holds the gain of each simulated world with its 95 % interval over TFs; ``gain`` is their mean.
    """

    share: float
    cells: int
    depth: int
    gain: float
    worlds: tuple[tuple[float, float, float], ...] = ()

    @property
    def per_gene(self) -> float:
        """Median counts of a cell per gene."""
        return self.depth / _GENES


POWER = (
    Power(1.0, 2500, 300, 0.041, ((0.032, -0.001, 0.068), (0.050, 0.005, 0.107))),
    Power(0.5, 2500, 300, 0.011, ((0.015, -0.044, 0.075), (0.007, -0.035, 0.052))),
    Power(0.25, 2500, 300, -0.002, ((0.007, -0.042, 0.052), (-0.011, -0.043, 0.026))),
    Power(1.0, 500, 300, 0.033, ((0.012, -0.024, 0.050), (0.054, 0.005, 0.098))),
    Power(1.0, 150, 300, 0.030, ((0.030, -0.009, 0.069), (0.031, -0.006, 0.072))),
    Power(1.0, 2500, 1500, 0.067, ((0.068, 0.038, 0.107), (0.066, 0.027, 0.108))),
    Power(1.0, 2500, 75, 0.016, ((0.031, -0.008, 0.074), (0.001, -0.043, 0.039))),
)
"""The first is the usual world; each of the others differs from it in one number."""

POWER_TREES = "the gains were measured with an older version of the boosted trees (experiments/records/power.json)"
"""A caveat that belongs to every figure of these numbers."""


def cells_and_depth(cells: CellStore) -> tuple[int, float | None] | None:
    """Number of cells and median counts a gene, None for values that are not counts; None without RNA."""
    genes = cells.genes()
    if "rna" not in genes.assays or not genes.num_cells:
        return None
    assay = genes.assays["rna"]
    if assay.kind != "counts":
        return genes.num_cells, None
    return genes.num_cells, float(np.median(assay.size_factor_C)) / max(genes.num_features, 1)


def power_note(cells: CellStore) -> str | None:
    """The user's cells and depth next to the gains of simulated worlds, in a line; None without RNA."""
    found = cells_and_depth(cells)
    if found is None:
        return None
    (number, per_gene), usual = found, POWER[0]
    depth = "an unknown depth" if per_gene is None else f"a median of {per_gene:.2g} counts a gene"
    others = ", ".join(f"{_difference(power, usual)} {power.gain:+.3f}" for power in POWER[1:])
    return (
        f"power: {number:,} cells with {depth}; regulon factors change the macro AUROC of unseen targets in"
        f" simulated worlds ({usual.cells:,} cells, {usual.per_gene:.2g} counts a gene) by {usual.gain:+.3f}; {others}"
    )


def _difference(power: Power, usual: Power) -> str:
    if power.share != usual.share:
        return f"if {power.share:.0%} of the edges act in the cells"
    if power.cells != usual.cells:
        return f"with {power.cells:,} cells"
    return f"with {power.per_gene:.2g} counts a gene"
