"""Absolute Spearman correlation of TF and target over cells.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.pearson import Pearson
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.store import CellStore

__all__ = ["Spearman"]


@CONTROLS.register("spearman", paper="-")
class Spearman(Pearson):
    """``|Spearman|`` of normalised expression over all cells: Pearson of ranks, ties (mostly zeros) sharing theirs.

    Ranks compare all cells of a gene, so the values that are not zero are held in memory, also where the cells are on
    disk.
    """

    name = "spearman"

    def _values(self, cells: CellStore) -> CellStore:
        """The ranks, less the rank of a zero: correlations do not depend on it, and zeros stay zeros."""
        columns_CG = cells.normalised().tocsc(copy=True)
        for gene in range(columns_CG.shape[1]):
            low, high = columns_CG.indptr[gene], columns_CG.indptr[gene + 1]
            zeros = columns_CG.shape[0] - (high - low)
            ranks_N = rankdata(columns_CG.data[low:high])  # zeros come first, and share the rank (zeros + 1) / 2
            columns_CG.data[low:high] = ranks_N + (zeros - 1) / 2 if zeros else ranks_N
        assays = {
            name: replace(assay, kind="log", size_factor_C=np.ones(cells.num_cells))
            for name, assay in cells.assays.items()
        }
        return MemoryStore(cells.vocab, columns_CG.tocsr(), cells.obs, assays)
