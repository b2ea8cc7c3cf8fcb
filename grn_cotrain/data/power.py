"""Power of data of some size: gains from regulon factors in simulated worlds, next to the user's cells and depth.

The numbers are those of the record ``experiments/records/power.json``; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.store import CellStore

__all__ = ["POWER", "Power", "power_note"]

_GENES = 500  # a simulated world has so many


@dataclass(frozen=True)
class Power:
    """Gain in the macro AUROC of unseen targets, by share of acting edges, cells, and median counts of a cell."""

    share: float
    cells: int
    depth: int
    gain: float

    @property
    def per_gene(self) -> float:
        """Median counts of a cell per gene."""
        return self.depth / _GENES


POWER = (
    Power(1.0, 2500, 300, 0.041),
    Power(0.5, 2500, 300, 0.011),
    Power(0.25, 2500, 300, -0.002),
    Power(1.0, 500, 300, 0.033),
    Power(1.0, 150, 300, 0.030),
    Power(1.0, 2500, 1500, 0.067),
    Power(1.0, 2500, 75, 0.016),
)
"""The first is the usual world; each of the others differs from it in one number."""


def power_note(cells: CellStore) -> str | None:
    """The user's cells and depth next to the gains of simulated worlds, in a line; None without RNA."""
    genes = cells.genes()
    if "rna" not in genes.assays or not genes.num_cells:
        return None
    assay, usual = genes.assays["rna"], POWER[0]
    depth = "an unknown depth"
    if assay.kind == "counts":
        depth = f"a median of {float(np.median(assay.size_factor_C)) / max(genes.num_features, 1):.2g} counts a gene"
    others = ", ".join(f"{_difference(power, usual)} {power.gain:+.3f}" for power in POWER[1:])
    return (
        f"power: {genes.num_cells:,} cells with {depth}; regulon factors change the macro AUROC of unseen targets in"
        f" simulated worlds ({usual.cells:,} cells, {usual.per_gene:.2g} counts a gene) by {usual.gain:+.3f}; {others}"
    )


def _difference(power: Power, usual: Power) -> str:
    if power.share != usual.share:
        return f"if {power.share:.0%} of the edges act in the cells"
    if power.cells != usual.cells:
        return f"with {power.cells:,} cells"
    return f"with {power.per_gene:.2g} counts a gene"
