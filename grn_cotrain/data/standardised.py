"""Gene-standardised expression as something to multiply with: never a dense copy, and for large stores no copy at all.

The standardised matrix is ``Z = (X - mean) / sd`` where a feature's assay was measured and 0 where it was not: missing
values count as average. With every assay measured it is ``X / sd - 1 (mean / sd)^T``, a sparse matrix minus a rank-one
term, so every product with a thin matrix costs one pass over the non-zeros.

Stores in memory are multiplied from one scaled copy of their rows. Other stores are read block by block for each
product with ``Z^T Z``; up to :data:`GRAM_FEATURES` features that matrix itself is summed in the one pass of the
statistics.

Dimension letters: C cells, B cells of a block, G and H features, R columns, A assays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from grn_cotrain.data.cell_blocks import Block, Layout, is_in_memory
from grn_cotrain.data.statistics import Accumulator, Need, Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import FeatureMoments, Moments

__all__ = ["GRAM_FEATURES", "Gram", "Standardised", "StandardisedMatrix", "standardised"]

GRAM_FEATURES = 2048
"""Features up to which a store on disk is read once for all products: ``Z^T Z`` takes 32 MB then."""


class Standardised(ABC):
    """``Z`` of some cells. Constant features are 0.

    Parameters
    ----------
    moments
        Means and deviations of the cells.
    num_cells
        C.

    Attributes
    ----------
    std_G
        Population deviation; 0 for constant features.
    inverse_G, offset_G
        ``1 / std`` (0 for constant features) and ``mean / std``.
    """

    def __init__(self, moments: FeatureMoments, num_cells: int) -> None:
        self.moments, self.num_cells = moments, num_cells
        self.std_G = moments.std_of_cells_G
        self.inverse_G = np.divide(1.0, self.std_G, out=np.zeros_like(self.std_G), where=self.std_G > 0)
        self.offset_G = moments.mean_of_cells_G * self.inverse_G

    @property
    def num_features(self) -> int:
        """G."""
        return len(self.std_G)

    @property
    def variance_G(self) -> np.ndarray:
        """float64 mean of the squares of ``Z``: 1; less where an assay is missing in cells, 0 for constant features."""
        return np.where(self.std_G > 0, self.moments.num_cells_G / max(self.num_cells, 1), 0.0)

    @abstractmethod
    def gram_times(self, right_GR: np.ndarray) -> np.ndarray:
        """``Z^T Z @ right``."""

    def _offset_AG(self) -> np.ndarray:
        layout = self.moments.layout
        return np.where(layout.assay_G == np.arange(len(layout.assays))[:, None], self.offset_G, 0.0)


class StandardisedMatrix(Standardised):
    """``Z`` of cells in memory.

    Attributes
    ----------
    scaled_CG
        CSR float64, ``X / std``.
    present_CA
        float64 1 where a cell has an assay.
    """

    def __init__(self, statistics: Statistics) -> None:
        super().__init__(statistics[Moments()], statistics.num_cells)
        num_values, num_assays = int(self.moments.count_G.sum()), len(statistics.layout.assays)
        index_type = np.int32 if num_values <= np.iinfo(np.int32).max else np.int64
        data_N, column_N = np.empty(num_values), np.empty(num_values, dtype=index_type)
        end_C = np.zeros(self.num_cells + 1, dtype=index_type)
        self.present_CA = np.zeros((self.num_cells, num_assays))
        first = 0
        for block in statistics.blocks():  # filled in place: two copies of the values would be too many
            values, last = block.values_BG, first + len(block.rows_B)
            start, end = int(end_C[first]), int(end_C[first]) + values.nnz
            end_C[first + 1 : last + 1] = start + values.indptr[1:]
            column_N[start:end] = values.indices
            np.multiply(values.data, self.inverse_G[values.indices], out=data_N[start:end])
            self.present_CA[first:last] = block.present_BA
            first = last
        self.scaled_CG = sparse.csr_matrix(
            (data_N, column_N, end_C), shape=(self.num_cells, self.num_features), copy=False
        )
        self._complete = bool(self.present_CA.all())

    def times(self, right_GR: np.ndarray) -> np.ndarray:
        """``Z @ right``."""
        product = np.asarray(self.scaled_CG @ right_GR)
        if self._complete:
            return product - self.offset_G @ right_GR
        return product - self.present_CA @ (self._offset_AG() @ right_GR)

    def transpose_times(self, right_CR: np.ndarray) -> np.ndarray:
        """``Z^T @ right``."""
        product = np.asarray(self.scaled_CG.T @ right_CR)
        if self._complete:
            return product - np.multiply.outer(self.offset_G, right_CR.sum(axis=0))
        return product - self._offset_AG().T @ (self.present_CA.T @ right_CR)

    def gram_times(self, right_GR: np.ndarray) -> np.ndarray:
        """See :class:`Standardised`."""
        return self.transpose_times(self.times(right_GR))

    def dense(self) -> np.ndarray:
        """float64 ``[C, G]``; for few cells or features."""
        layout = self.moments.layout
        return self.scaled_CG.toarray() - self.present_CA[:, layout.assay_G] * self.offset_G


class _Streamed(Standardised):
    """``Z`` of cells on disk: each product is one pass over them."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__(statistics[Moments()], statistics.num_cells)
        self._statistics = statistics

    def gram_times(self, right_GR: np.ndarray) -> np.ndarray:
        """See :class:`Standardised`."""
        scaled_GR, shift_AR = self.inverse_G[:, None] * right_GR, self._offset_AG() @ right_GR
        product_GR, left_AR = np.zeros_like(scaled_GR), np.zeros_like(shift_AR)
        for block in self._statistics.blocks():
            values_BG, present_BA = block.values_BG.astype(np.float64), block.present_BA.astype(np.float64)
            times_BR = values_BG @ scaled_GR - present_BA @ shift_AR
            product_GR += values_BG.T @ times_BR
            left_AR += present_BA.T @ times_BR
        return self.inverse_G[:, None] * product_GR - self._offset_AG().T @ left_AR


class _Summed(Standardised):
    """``Z^T Z`` of few features, from sums that were taken in the one pass."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__(statistics[Moments()], statistics.num_cells)
        self._gram_GG = statistics[Gram()].standardised(self.moments, self.inverse_G)

    def gram_times(self, right_GR: np.ndarray) -> np.ndarray:
        """See :class:`Standardised`."""
        return self._gram_GG @ right_GR


def standardised(statistics: Statistics) -> Standardised:
    """The form of ``Z`` that the store allows."""
    if is_in_memory(statistics.cells):
        return StandardisedMatrix(statistics)
    return _Summed(statistics) if statistics.num_features <= GRAM_FEATURES else _Streamed(statistics)


@dataclass(frozen=True, eq=False)
class GramSums:
    """Sums over cells of products of values.

    Attributes
    ----------
    product_GH
        float64 sum of ``x_g x_h``.
    sum_GA
        float64 sum of ``x_g`` over the cells that have assay ``a``.
    shared_AA
        float64 cells that have both assays.
    """

    product_GH: np.ndarray
    sum_GA: np.ndarray
    shared_AA: np.ndarray

    def standardised(self, moments: FeatureMoments, inverse_G: np.ndarray) -> np.ndarray:
        """``Z^T Z``: sums over the cells that have both features' assays."""
        assay_G, mean_G = moments.layout.assay_G, moments.mean_of_cells_G
        crossed_GH = self.sum_GA[:, assay_G] * mean_G  # x_g times the mean of h
        shared_GH = self.shared_AA[np.ix_(assay_G, assay_G)]
        centred_GH = self.product_GH - crossed_GH - crossed_GH.T + shared_GH * np.multiply.outer(mean_G, mean_G)
        return centred_GH * np.multiply.outer(inverse_G, inverse_G)


@dataclass(frozen=True)
class Gram(Need[GramSums]):
    """Sums of products of all pairs of features: for stores on disk with at most :data:`GRAM_FEATURES` features."""

    def wanted(self, cells: CellStore) -> bool:
        """See :class:`Need`."""
        return not is_in_memory(cells) and cells.num_features <= GRAM_FEATURES

    def start(self, layout: Layout) -> Accumulator[GramSums]:
        """See :class:`Need`."""
        return _GramSum(layout)


class _GramSum(Accumulator[GramSums]):
    def __init__(self, layout: Layout) -> None:
        size, num_assays = layout.num_features, len(layout.assays)
        self._product_GH = np.zeros((size, size))
        self._sum_GA = np.zeros((size, num_assays))
        self._shared_AA = np.zeros((num_assays, num_assays))

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        dense_BG = block.values_BG.toarray().astype(np.float64)
        present_BA = block.present_BA.astype(np.float64)
        self._product_GH += dense_BG.T @ dense_BG
        self._sum_GA += dense_BG.T @ present_BA
        self._shared_AA += present_BA.T @ present_BA

    def result(self) -> GramSums:
        """See :class:`Accumulator`."""
        return GramSums(self._product_GH, self._sum_GA, self._shared_AA)
