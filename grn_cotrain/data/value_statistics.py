"""Per-feature moments of training cells: what values are standardised with.

A statistic of a feature is over the cells that have the feature's assay, never over cells that lack it.

Dimension letters: C cells, B cells of a block, G features, A assays, N stored values of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.cell_blocks import Block, Layout
from grn_cotrain.data.statistics import Accumulator, Need

__all__ = ["FeatureMoments", "Moments", "ValueStatistics"]

_MIN_STD = 0.05  # in log units: a gene seen once or twice has no spread of its own


@dataclass(frozen=True)
class ValueStatistics:
    """Mean and deviation of each feature's non-zero normalised values.

    Attributes
    ----------
    mean_G, std_G
        float32, shrunk towards the mean over the features of the same assay by some pseudo-observations, so that
        features seen in few cells (or none) have sensible values; ``std_G`` is at least 0.05.
    detected_G
        float32 share of the cells with the assay in which the feature is not zero.
    """

    mean_G: np.ndarray
    std_G: np.ndarray
    detected_G: np.ndarray


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Counts, means and deviations of each feature.

    Attributes
    ----------
    layout
        Features and their assays.
    num_cells_A
        int64: cells that have the assay.
    count_G
        int64: values that are not zero.
    mean_G
        float64 mean of these values; 0 without any.
    square_G
        float64 sum of their squared deviations from ``mean_G``.
    """

    layout: Layout
    num_cells_A: np.ndarray
    count_G: np.ndarray
    mean_G: np.ndarray
    square_G: np.ndarray

    @property
    def num_cells_G(self) -> np.ndarray:
        """int64: cells that have the feature's assay."""
        return self.num_cells_A[self.layout.assay_G]

    @property
    def detected_G(self) -> np.ndarray:
        """float64 share of the cells with the assay in which the feature is not zero."""
        return self.count_G / np.maximum(self.num_cells_G, 1)

    @property
    def mean_of_cells_G(self) -> np.ndarray:
        """float64 mean over the cells with the assay, zeros included."""
        return self.detected_G * self.mean_G

    @property
    def std_of_cells_G(self) -> np.ndarray:
        """float64 population deviation over the cells with the assay, zeros included; 0 for constant features."""
        num_G = np.maximum(self.num_cells_G, 1)
        mean_G = self.mean_of_cells_G
        second_G = (self.square_G + self.count_G * self.mean_G**2) / num_G
        zeros_G = (self.num_cells_G - self.count_G) * mean_G**2
        variance_G = (self.square_G + self.count_G * (self.mean_G - mean_G) ** 2 + zeros_G) / num_G
        # Means leave rounding where a feature is constant.
        return np.sqrt(np.where(variance_G > 1e-10 * np.maximum(second_G, 1e-30), variance_G, 0.0))

    def nonzero(self, *, prior: float = 3.0) -> ValueStatistics:
        """Statistics of the values that are not zero, with ``prior`` pseudo-observations."""
        count_G = self.count_G.astype(np.float64)
        overall_G = self.layout.mean_of_assay(self.mean_G, count_G)
        weight_G = np.maximum(count_G + prior, 1e-12)  # without a prior, a gene that is never seen has mean 0
        mean_G = (count_G * self.mean_G + prior * overall_G) / weight_G
        square_G = self.square_G + count_G * (self.mean_G - mean_G) ** 2
        spread_G = self.layout.mean_of_assay(square_G / np.maximum(count_G, 1.0), count_G)
        std_G = np.sqrt((square_G + prior * spread_G) / weight_G)
        return ValueStatistics(
            mean_G.astype(np.float32),
            np.maximum(std_G, _MIN_STD).astype(np.float32),
            self.detected_G.astype(np.float32),
        )


@dataclass(frozen=True)
class Moments(Need[FeatureMoments]):
    """Counts, means and deviations of each feature: :class:`FeatureMoments`."""

    def start(self, layout: Layout) -> Accumulator[FeatureMoments]:
        """See :class:`Need`."""
        return _Running(layout)


class _Running(Accumulator[FeatureMoments]):
    """Moments of blocks, merged as in Chan, Golub & LeVeque 1983: no difference of large squares."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._num_cells_A = np.zeros(len(layout.assays), dtype=np.int64)
        self._count_G = np.zeros(layout.num_features, dtype=np.int64)
        self._mean_G = np.zeros(layout.num_features)
        self._square_G = np.zeros(layout.num_features)

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        size = self._layout.num_features
        gene_N, value_N = block.values_BG.indices, block.values_BG.data.astype(np.float64)
        count_G = np.bincount(gene_N, minlength=size)
        mean_G = np.bincount(gene_N, value_N, minlength=size) / np.maximum(count_G, 1)
        value_N -= mean_G[gene_N]
        np.square(value_N, out=value_N)
        square_G = np.bincount(gene_N, value_N, minlength=size)
        total_G = np.maximum(self._count_G + count_G, 1)
        step_G = mean_G - self._mean_G
        self._square_G += square_G + step_G**2 * self._count_G * count_G / total_G
        self._mean_G += step_G * count_G / total_G
        self._count_G += count_G
        self._num_cells_A += block.present_BA.sum(axis=0)

    def result(self) -> FeatureMoments:
        """See :class:`Accumulator`."""
        return FeatureMoments(self._layout, self._num_cells_A, self._count_G, self._mean_G, self._square_G)
