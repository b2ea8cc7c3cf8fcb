r"""Order statistics of training values: medians of features, quantiles of all values or of depths.

Distinct values and how often each occurs are held, up to :data:`EXACT_VALUES` of them: every order statistic is then
exact. Beyond, values are rounded to fewer and fewer binary digits, and never fewer than it takes: with ``s`` digits
less (at most 23: powers of two stay apart), an order statistic is wrong by at most :math:`2^{s - 24}` of itself. What
is held depends on the values alone, not on the blocks in which they came.

Dimension letters: G features, N values, K quantiles, M order statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.cell_blocks import Block, Layout
from grn_cotrain.data.statistics import Accumulator, Need

__all__ = ["EXACT_VALUES", "DepthValues", "FeatureValues", "PooledValues", "SketchedValues", "ValueSketch"]

EXACT_VALUES = 1 << 22
"""Distinct values (of all features together) up to which order statistics are exact; they take 64 MB."""

_PENDING = 1 << 20  # values that wait before they are sorted in
_MANTISSA = 23


@dataclass(frozen=True, eq=False)
class SketchedValues:
    """Distinct values in ascending order within each feature, and how many there are.

    Attributes
    ----------
    key_N
        int64: feature times 2^32, plus the value's bits in ascending order.
    end_N
        int64 number of values of this key or a lower one.
    start_G, count_G
        int64 number of values of lower features, and of each feature.
    digits_lost
        Binary digits that values were rounded by; 0: everything is exact.
    """

    key_N: np.ndarray
    end_N: np.ndarray
    start_G: np.ndarray
    count_G: np.ndarray
    digits_lost: int

    def at(self, feature_M: np.ndarray, rank_M: np.ndarray) -> np.ndarray:
        """float32 value of the given rank (from 0, the lowest) among the values of a feature."""
        place_M = np.searchsorted(self.end_N, self.start_G[feature_M] + rank_M, side="right")
        return _values(self.key_N[place_M], self.digits_lost)

    def quantiles(self, share_K: np.ndarray, feature: int = 0) -> np.ndarray:
        """float32 smallest value that at least this share of a feature's values does not exceed; there must be one."""
        rank_K = np.ceil(share_K * self.count_G[feature]).astype(np.int64) - 1
        return self.at(np.full(len(share_K), feature), rank_K.clip(0, self.count_G[feature] - 1))


class ValueSketch:
    """See the module.

    Parameters
    ----------
    num_features
        G.
    limit
        Distinct values to hold.
    """

    def __init__(self, num_features: int, limit: int | None = None) -> None:
        self._num_features = num_features
        self._limit = EXACT_VALUES if limit is None else limit
        self._lost = 0
        self._key_N = np.zeros(0, dtype=np.int64)
        self._count_N = np.zeros(0, dtype=np.int64)
        self._pending: list[np.ndarray] = []
        self._num_pending = 0

    def add(self, feature_N: np.ndarray, value_N: np.ndarray) -> None:
        """Take values, and the feature of each."""
        key_N = (feature_N.astype(np.int64) << 32) | _ordered_bits(value_N)
        self._pending.append(_rounded(key_N, self._lost))
        self._num_pending += len(key_N)
        if self._num_pending > max(_PENDING, len(self._key_N) // 2):
            self._settle()

    def result(self) -> SketchedValues:
        """Order statistics of the values so far; more values may follow."""
        self._settle()
        end_N = np.cumsum(self._count_N)
        first_G = np.searchsorted(self._key_N, np.arange(self._num_features + 1, dtype=np.int64) << 32)
        before_G = np.concatenate([[0], end_N])[first_G]
        return SketchedValues(self._key_N, end_N, before_G[:-1], np.diff(before_G), self._lost)

    def _settle(self) -> None:
        """Merge what waits, and round until there is room."""
        if self._pending:
            new_N, many_N = np.unique(np.concatenate(self._pending), return_counts=True)
            self._pending, self._num_pending = [], 0
            place_N = np.searchsorted(self._key_N, new_N)
            known_N = place_N < len(self._key_N)
            known_N[known_N] = self._key_N[place_N[known_N]] == new_N[known_N]
            self._count_N[place_N[known_N]] += many_N[known_N]
            place_N, new_N, many_N = place_N[~known_N], new_N[~known_N], many_N[~known_N]
            # Inserted, not sorted again: one copy of each array, where sorting takes four.
            self._key_N = np.insert(self._key_N, place_N, new_N)
            self._count_N = np.insert(self._count_N, place_N, many_N)
        while len(self._key_N) > self._limit and self._lost < _MANTISSA:
            self._lost += 1
            self._key_N, self._count_N = _merged(_rounded(self._key_N, self._lost), self._count_N)


def _ordered_bits(value_N: np.ndarray) -> np.ndarray:
    """int64 bits of float32 values, rearranged so that they ascend with the values, negative ones too."""
    bits_N = np.ascontiguousarray(value_N, dtype=np.float32).view(np.uint32)
    negative_N = bits_N >> 31 == 1
    return np.where(negative_N, ~bits_N, bits_N | np.uint32(0x80000000)).astype(np.int64)


def _values(key_N: np.ndarray, lost: int) -> np.ndarray:
    """float32 values of keys: the middle of what was rounded to each."""
    bits_N = ((key_N & 0xFFFFFFFF) + ((1 << lost) >> 1)).astype(np.uint32)
    positive_N = bits_N >> 31 == 1
    return np.where(positive_N, bits_N & np.uint32(0x7FFFFFFF), ~bits_N).view(np.float32)


def _rounded(key_N: np.ndarray, lost: int) -> np.ndarray:
    return (key_N >> lost) << lost


def _merged(key_N: np.ndarray, count_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys, each once, with their counts summed."""
    if not len(key_N):
        return key_N, count_N
    first_N = np.flatnonzero(np.concatenate([[True], key_N[1:] != key_N[:-1]]))
    return key_N[first_N], np.add.reduceat(count_N, first_N)


@dataclass(frozen=True)
class FeatureValues(Need[SketchedValues]):
    """Order statistics of the values of each feature that are not zero."""

    def start(self, layout: Layout) -> Accumulator[SketchedValues]:
        """See :class:`Need`."""
        return _Sketching(layout.num_features, by_feature=True)


@dataclass(frozen=True)
class PooledValues(Need[SketchedValues]):
    """Order statistics of the values of all features together that are not zero."""

    def start(self, layout: Layout) -> Accumulator[SketchedValues]:
        """See :class:`Need`."""
        del layout
        return _Sketching(1, by_feature=False)


class _Sketching(Accumulator[SketchedValues]):
    def __init__(self, num_features: int, *, by_feature: bool) -> None:
        self._sketch = ValueSketch(num_features)
        self._by_feature = by_feature

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        gene_N, value_N = block.values_BG.indices, block.values_BG.data
        self._sketch.add(gene_N if self._by_feature else np.zeros_like(gene_N), value_N)

    def result(self) -> SketchedValues:
        """See :class:`Accumulator`."""
        return self._sketch.result()


@dataclass(frozen=True)
class DepthValues(Need[SketchedValues]):
    """Order statistics of ``log(1 + depth)``: feature ``a`` stands for assay ``a`` of the layout, over its cells.

    Assays whose values are not reads have no depth, and so no values here.
    """

    def start(self, layout: Layout) -> Accumulator[SketchedValues]:
        """See :class:`Need`."""
        return _Depths(layout)


class _Depths(Accumulator[SketchedValues]):
    def __init__(self, layout: Layout) -> None:
        self._counted = layout.with_reads()
        self._sketch = ValueSketch(len(layout.assays))

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        for place, assay in self._counted:
            rows_B = block.rows_B[block.present_BA[:, place]]
            self._sketch.add(np.full(len(rows_B), place), np.log1p(assay.size_factor_C[rows_B]))

    def result(self) -> SketchedValues:
        """See :class:`Accumulator`."""
        return self._sketch.result()
