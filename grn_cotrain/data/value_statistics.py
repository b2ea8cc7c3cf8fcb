"""Per-gene statistics of the non-zero values of training cells: what values are standardised with.

Dimension letters: C cells, G genes, K bins (with bin 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = ["ValueStatistics"]

_MIN_STD = 0.05  # in log units: a gene seen once or twice has no spread of its own


@dataclass(frozen=True)
class ValueStatistics:
    """Mean and deviation of each gene's non-zero normalised values.

    Attributes
    ----------
    mean_G, std_G
        float32, shrunk towards the mean over genes by ``prior`` pseudo-observations, so that genes seen in few cells
        (or none) have sensible values; ``std_G`` is at least 0.05.
    detected_G
        float32 share of cells in which the gene is not zero.
    """

    mean_G: np.ndarray
    std_G: np.ndarray
    detected_G: np.ndarray

    @classmethod
    def of(cls, values_CG: sparse.csr_matrix, *, prior: float = 3.0) -> ValueStatistics:
        """Statistics over the rows of a normalised matrix: training cells only, or held-out ones leak."""
        num_cells, num_genes = values_CG.shape
        gene_N, value_N = values_CG.indices, values_CG.data.astype(np.float64)
        count_G = np.bincount(gene_N, minlength=num_genes)
        sum_G = np.bincount(gene_N, value_N, minlength=num_genes)
        overall = value_N.mean() if len(value_N) else 0.0
        weight_G = np.maximum(count_G + prior, 1e-12)  # without a prior, a gene that is never seen has mean 0
        mean_G = (sum_G + prior * overall) / weight_G
        square_G = np.bincount(gene_N, (value_N - mean_G[gene_N]) ** 2, minlength=num_genes)
        spread = square_G.sum() / max(len(value_N), 1)
        std_G = np.sqrt((square_G + prior * spread) / weight_G)
        return cls(
            mean_G.astype(np.float32),
            np.maximum(std_G, _MIN_STD).astype(np.float32),
            (count_G / max(num_cells, 1)).astype(np.float32),
        )
