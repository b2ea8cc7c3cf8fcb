"""Errors of hidden values: standardised per gene over training cells, assay by assay.

Dimension letters: C cells, G genes, N hidden entries, B bootstrap replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from grn_cotrain.data.cells import CellSplit
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments, ValueStatistics
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.hidden import HiddenCells

__all__ = ["MIN_DETECTED", "AssayPart", "EntryErrors", "Scale", "assay_parts", "weighted_r2"]

MIN_DETECTED = 0.05
"""Features that fewer of the training cells with the assay show do not count."""


@dataclass(frozen=True)
class Scale:
    """Per-gene standardisation over non-zero values of training cells, and which genes count."""

    statistics: ValueStatistics
    counted_G: np.ndarray
    varies_G: np.ndarray
    """Which features have non-zero values that differ among training cells."""

    @classmethod
    def of(cls, cells: CellStore, split: CellSplit) -> Scale:
        """Scale of the training cells; raises UserError where no gene is detected in 5 % of them."""
        moments = Statistics(cells, split.train_C)[Moments()]
        statistics = moments.nonzero(prior=0.0)
        counted_G = (statistics.detected_G >= MIN_DETECTED) & np.asarray(cells.vocab.is_token)
        if not counted_G.any():
            raise UserError(
                "cells: no gene is detected in 5 % of the training cells, so there is no R2; give more cells"
            )
        return cls(statistics, counted_G, moments.square_G > 1e-10 * np.maximum(moments.count_G, 1))

    def deviations(self, value_N: np.ndarray, gene_N: np.ndarray) -> np.ndarray:
        """``(value - mean) / std`` in float64."""
        return (value_N - self.statistics.mean_G[gene_N].astype(np.float64)) / self.statistics.std_G[gene_N]

    def matrix(self, values_CG: sparse.csr_matrix) -> sparse.csr_matrix:
        """Deviations of the stored entries of counted genes; the other genes become missing."""
        rows_C = np.repeat(np.arange(values_CG.shape[0]), np.diff(values_CG.indptr))
        kept_N = self.counted_G[values_CG.indices]
        gene_N = values_CG.indices[kept_N]
        deviation_N = self.deviations(values_CG.data[kept_N], gene_N)
        # Built by row pointers: a constructor from triples would be free to drop deviations that are exactly 0.
        indptr = np.zeros(values_CG.shape[0] + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows_C[kept_N], minlength=values_CG.shape[0]), out=indptr[1:])
        return sparse.csr_matrix((deviation_N, gene_N, indptr), shape=values_CG.shape)


@dataclass(frozen=True)
class AssayPart:
    """Features and held-out cells of one assay that are scored.

    Attributes
    ----------
    columns_G
        bool: its features that count.
    rows_C
        Places among the held-out cells of those that have it.
    alike
        Whether the non-zero values of its counted features are all alike, so that there is no R2.
    """

    assay: str
    columns_G: np.ndarray
    rows_C: np.ndarray
    alike: bool


def assay_parts(cells: CellStore, split: CellSplit, scale: Scale) -> list[AssayPart]:
    """The assays that have a counted feature and a held-out cell."""
    parts = []
    for name, assay in cells.assays.items():
        columns_G = np.zeros(cells.num_features, dtype=bool)
        columns_G[assay.space.columns] = scale.counted_G[assay.space.columns]
        rows_C = np.flatnonzero(assay.present_C[split.test_C])
        if columns_G.any() and rows_C.size:
            parts.append(AssayPart(name, columns_G, rows_C, bool((~scale.varies_G[columns_G]).all())))
    return parts


@dataclass(frozen=True)
class EntryErrors:
    """Squared errors, squared deviations and counts of hidden entries, per held-out cell and counted gene.

    With a part, of its cells and its features alone.
    """

    residual_CG: sparse.csr_matrix
    total_CG: sparse.csr_matrix
    count_CG: sparse.csr_matrix

    @classmethod
    def of(cls, found_N: np.ndarray, hidden: HiddenCells, scale: Scale, part: AssayPart | None = None) -> EntryErrors:
        columns_G = scale.counted_G if part is None else part.columns_G
        num_cells = hidden.visible_CG.shape[0]
        rows_C = np.arange(num_cells) if part is None else part.rows_C
        place_C = np.full(num_cells, -1)
        place_C[rows_C] = np.arange(len(rows_C))
        kept_N = columns_G[hidden.gene_N]
        gene_N = (np.cumsum(columns_G) - 1)[hidden.gene_N[kept_N]]
        truth_N = scale.deviations(hidden.value_N, hidden.gene_N)[kept_N]
        shape = (len(rows_C), int(columns_G.sum()))
        where = (place_C[hidden.cell_N[kept_N]], gene_N)
        return cls(
            sparse.csr_matrix(((found_N[kept_N] - truth_N) ** 2, where), shape=shape),
            sparse.csr_matrix((truth_N**2, where), shape=shape),
            sparse.csr_matrix((np.ones(len(gene_N)), where), shape=shape),
        )


def weighted_r2(errors: EntryErrors, weights_BC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``r2`` and ``r2_pooled`` ``[B]`` with each cell counted as often as its weight."""
    residual_BG = np.asarray((errors.residual_CG.T @ weights_BC.T).T)
    total_BG = np.asarray((errors.total_CG.T @ weights_BC.T).T)
    count_BG = np.asarray((errors.count_CG.T @ weights_BC.T).T)
    share_BG = np.divide(1.0, count_BG, out=np.zeros_like(count_BG), where=count_BG > 0)
    pairs = (
        ((residual_BG * share_BG).sum(axis=1), (total_BG * share_BG).sum(axis=1)),
        (residual_BG.sum(axis=1), total_BG.sum(axis=1)),
    )
    # A replicate of cells without a hidden entry, or with values that do not vary, has no R2.
    macro_B, pooled_B = (1 - np.divide(a_B, b_B, out=np.full_like(a_B, np.nan), where=b_B > 0) for a_B, b_B in pairs)
    return macro_B, pooled_B
