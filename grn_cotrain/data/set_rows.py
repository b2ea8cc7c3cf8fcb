"""Rows of a data set that other data sets can read: see :mod:`grn_cotrain.data.gene_features`.

Dimension letters: G genes, R rank.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.data.gene_features import SetRows
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments

__all__ = ["set_rows"]


def set_rows(cells: CellStore, *, rank: int) -> SetRows:
    """Rows of every gene of a data set, from all of its cells that have RNA."""
    genes = cells.genes()
    statistics = Statistics(genes)
    rank = max(1, min(rank, genes.num_cells - 1, genes.num_features - 1))
    loadings_GR = gene_loadings(statistics, rank=rank)
    moments = statistics[Moments()]
    summary = [moments.mean_of_cells_G, moments.std_of_cells_G, moments.detected_G]
    return SetRows(
        np.stack(summary, axis=1).astype(np.float32), loadings_GR, np.ones(genes.vocab.num_genes, dtype=bool)
    )
