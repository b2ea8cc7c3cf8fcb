"""Pearson correlation of some features with others, summed block by block: no array has a row for each cell.

Dimension letters: A assays, B cells of a block, G features, S and K some of them.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.value_statistics import Moments

__all__ = ["correlations"]


def correlations(statistics: Statistics, index_S: np.ndarray, columns_K: np.ndarray | None = None) -> np.ndarray:
    """Correlate features over cells, from their normalised values, zeros included, in one pass over the cells.

    Parameters
    ----------
    statistics
        Statistics of the cells to use.
    index_S
        Features of the rows, in any order.
    columns_K
        Features of the columns, in any order; default: all.

    Returns
    -------
    numpy.ndarray
        float64 ``[S, K]``. A constant feature correlates with nothing: its entries are 0. Two features of different
        assays are correlated over the cells that have both, each less its mean over all cells that have it.
    """
    moments, layout = statistics[Moments()], statistics.layout
    columns_K = np.arange(layout.num_features) if columns_K is None else columns_K
    used_U, place = np.unique(np.concatenate([index_S, columns_K]), return_inverse=True)
    row_S, column_K = place[: len(index_S)], place[len(index_S) :]
    std_U, assay_U = moments.std_of_cells_G[used_U], layout.assay_G[used_U]
    scale_U = np.divide(1.0, std_U, out=np.zeros_like(std_U), where=std_U > 0).astype(np.float32)
    mean_U = moments.mean_of_cells_G[used_U].astype(np.float32)
    everything = len(used_U) == layout.num_features
    column = slice(None) if np.array_equal(column_K, np.arange(len(used_U))) else column_K  # a view is not a copy
    total_SK = np.zeros((len(index_S), len(columns_K)))
    shared_AA = np.zeros((len(layout.assays), len(layout.assays)))
    for block in statistics.blocks():
        present_BA = block.present_BA.astype(np.float32)
        z_BU = (block.values_BG if everything else block.values_BG[:, used_U]).toarray()
        z_BU -= mean_U * present_BA[:, assay_U]
        z_BU *= scale_U
        total_SK += z_BU[:, row_S].T @ z_BU[:, column]
        shared_AA += present_BA.T @ present_BA
    total_SK /= np.maximum(shared_AA[np.ix_(assay_U[row_S], assay_U[column_K])], 1.0)
    return total_SK
