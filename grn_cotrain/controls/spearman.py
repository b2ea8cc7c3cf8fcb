"""Absolute Spearman correlation of TF and target over cells.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.pearson import Pearson, unit_profiles
from grn_cotrain.data.store import CellStore

__all__ = ["Spearman"]

_GENES = 1024


@CONTROLS.register("spearman", paper="-")
class Spearman(Pearson):
    """``|Spearman|`` of normalised expression over all cells: Pearson of ranks, ties (mostly zeros) sharing theirs."""

    name = "spearman"

    def _profiles(self, cells: CellStore) -> np.ndarray:
        columns = cells.normalised().tocsc()
        ranks_CG = np.empty(columns.shape, dtype=np.float32)
        for start in range(0, columns.shape[1], _GENES):  # ranks are float64: rank some genes at a time
            piece = slice(start, start + _GENES)
            ranks_CG[:, piece] = rankdata(columns[:, piece].toarray(), axis=0)
        return unit_profiles(ranks_CG)
