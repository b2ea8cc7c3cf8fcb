"""From bins back to values.

Dimension letters: T packed tokens, B cells, K value bins, C classes, R rows of a table, M places in it, N values.

A bin's value is the mean of the values in it. Ties share the lower bin, so counts of molecules leave most bins of a
cell empty: "one" fills bin 1, and "two" may stand in bin 37 next. An empty bin takes a value *between* its occupied
neighbours, in proportion to its distance from them. A predicted bin of 19 then reads as half way between one and two,
which is what a regression means that puts it there.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import quantile_bins, rounded_bins
from grn_cotrain.data.cell_blocks import Block, Layout
from grn_cotrain.data.statistics import Accumulator, Need

__all__ = [
    "BinSums",
    "QuantileBins",
    "RoundedClasses",
    "fill_empty_bins",
    "pooled_bin_values",
    "read_table",
    "slope_around",
    "visible_bin_values",
    "visible_class_values",
]


def visible_bin_values(batch: PackedTokens, num_bins: int) -> Tensor:
    """Mean visible value of each cell's bins, float32 ``[B, K]``; empty bins are filled by :func:`fill_empty_bins`."""
    sums_BK, counts_BK = _visible(batch, batch.bins_T - 1, num_bins)
    return fill_empty_bins((sums_BK / counts_BK.clamp_min(1)).float(), counts_BK > 0)


def visible_class_values(batch: PackedTokens, class_T: Tensor, empty_C: Tensor) -> Tensor:
    """Mean visible non-zero value of each class in each cell, float32 ``[B, C]``; of an empty class its ``empty_C``.

    ``class_T`` (int64, in 0..C-1) is read at visible non-zero tokens alone.
    """
    sums_BC, counts_BC = _visible(batch, class_T, len(empty_C))
    return torch.where(counts_BC > 0, (sums_BC / counts_BC.clamp_min(1)).float(), empty_C)


def fill_empty_bins(value_RK: Tensor, occupied_RK: Tensor) -> Tensor:
    """Values of empty bins, by linear interpolation between the occupied ones of the same row.

    Parameters
    ----------
    value_RK
        Value of each bin; read where ``occupied_RK`` (bool) is True alone.

    Returns
    -------
    Tensor
        ``[R, K]``: occupied bins as they were. Bins below the lowest occupied one take its value, and bins above the
        highest one take that one's. A row without any is 0. Where the occupied values rise, so does the row.
    """
    place_K = torch.arange(value_RK.shape[1], device=value_RK.device)
    last = value_RK.shape[1] - 1
    below_RK = torch.where(occupied_RK, place_K, -1).cummax(dim=1).values
    above_RK = torch.where(occupied_RK, place_K, last + 1).flip(1).cummin(dim=1).values.flip(1)
    low_RK = torch.where(below_RK < 0, above_RK, below_RK).clamp_max(last)
    high_RK = torch.where(above_RK > last, below_RK, above_RK).clamp_min(0)
    share_RK = (place_K - low_RK).clamp_min(0) / (high_RK - low_RK).clamp_min(1)
    filled_RK = torch.lerp(value_RK.gather(1, low_RK), value_RK.gather(1, high_RK), share_RK.to(value_RK.dtype))
    return filled_RK.masked_fill(~occupied_RK.any(dim=1, keepdim=True), 0.0)


@dataclass(frozen=True)
class BinSums:
    """Values of token features in bins or classes: int64 ``count_K`` of them, and float64 ``sum_K``."""

    count_K: np.ndarray
    sum_K: np.ndarray


@dataclass(frozen=True)
class QuantileBins(Need[BinSums]):
    """Values in the bins 1..K of their cells: see :func:`~grn_cotrain.data.binning.quantile_bins`."""

    num_bins: int

    def start(self, layout: Layout) -> Accumulator[BinSums]:
        """See :class:`Need`."""
        return _Quantiles(layout, self.num_bins, first=1)


@dataclass(frozen=True)
class RoundedClasses(Need[BinSums]):
    """Values in the classes 0..K: see :func:`~grn_cotrain.data.binning.rounded_bins`."""

    num_bins: int

    def start(self, layout: Layout) -> Accumulator[BinSums]:
        """See :class:`Need`."""
        return _Rounded(layout, self.num_bins, first=0)


class _Binning(Accumulator[BinSums]):
    def __init__(self, layout: Layout, num_bins: int, *, first: int) -> None:
        self._layout, self._num_bins, self._first = layout, num_bins, first
        self._count_K = np.zeros(num_bins + 1, dtype=np.int64)
        self._sum_K = np.zeros(num_bins + 1)

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        shown_N = self._layout.is_token_G[block.values_BG.indices]
        value_N = block.values_BG.data[shown_N]
        assay_N = self._layout.assay_G[block.values_BG.indices[shown_N]]
        group_N = block.cell_N[shown_N] * len(self._layout.assays) + assay_N  # bins are among the values of one assay
        bin_N = self._bins(torch.from_numpy(value_N), torch.from_numpy(group_N)).numpy()
        self._count_K += np.bincount(bin_N, minlength=self._num_bins + 1)
        self._sum_K += np.bincount(bin_N, value_N.astype(np.float64), minlength=self._num_bins + 1)

    @abstractmethod
    def _bins(self, value_N: Tensor, group_N: Tensor) -> Tensor:
        """Bin of each value, int64 ``[N]``, among the values of its group."""

    def result(self) -> BinSums:
        """See :class:`Accumulator`."""
        return BinSums(self._count_K[self._first :], self._sum_K[self._first :])


class _Quantiles(_Binning):
    def _bins(self, value_N: Tensor, group_N: Tensor) -> Tensor:
        return quantile_bins(value_N, group_N, self._num_bins)


class _Rounded(_Binning):
    def _bins(self, value_N: Tensor, group_N: Tensor) -> Tensor:
        del group_N
        return rounded_bins(value_N, self._num_bins)


def pooled_bin_values(sums: BinSums) -> np.ndarray:
    """Mean value of each bin over many cells, never falling: float32 ``[K]``.

    Cells of few counts fill few bins and with larger values, so plain means may fall from one bin to the next. The
    nearest rising sequence is taken (isotonic regression, weighted by the number of values; where means rise, it is
    the means). Empty bins are on the line between their occupied neighbours. Without any value: zeros.
    """
    from sklearn.isotonic import IsotonicRegression

    count_K, sum_K, num_bins = sums.count_K, sums.sum_K, len(sums.count_K)
    there_N = np.flatnonzero(count_K)
    if len(there_N) == 0:
        return np.zeros(num_bins, dtype=np.float32)
    rising = IsotonicRegression(out_of_bounds="clip")
    rising.fit(there_N.astype(np.float64), sum_K[there_N] / count_K[there_N], sample_weight=count_K[there_N])
    return np.asarray(rising.predict(np.arange(num_bins, dtype=np.float64)), dtype=np.float32)


def slope_around(table_RK: Tensor, row_M: Tensor, place_M: Tensor, reach_M: Tensor) -> Tensor:
    """Rise of a row of ``table_RK`` a bin, over the bins from ``place_M - reach_M`` to ``place_M + reach_M``: ``[M]``.

    Places count from 0 and need not be whole. Places outside the rising part of the row (below its first bin, above
    the bin in which it is highest) are left out; a row of one value has slope 0.
    """
    top_M = (table_RK < table_RK[:, -1:]).sum(dim=1)[row_M].to(place_M.dtype)
    zero_M = torch.zeros_like(top_M)
    inside_M = place_M.clamp(zero_M, top_M)
    low_M, high_M = (inside_M - reach_M).clamp(zero_M, top_M), (inside_M + reach_M).clamp(zero_M, top_M)
    rise_M = read_table(table_RK, row_M, high_M) - read_table(table_RK, row_M, low_M)
    return rise_M / (high_M - low_M).clamp_min(torch.finfo(rise_M.dtype).eps)


def read_table(table_RK: Tensor, row_M: Tensor, place_M: Tensor) -> Tensor:
    """Value at ``place_M`` (from 0 to K - 1, need not be whole) of row ``row_M``: ``[M]``."""
    below_M = place_M.floor().long()
    above_M = (below_M + 1).clamp_max(table_RK.shape[1] - 1)
    return torch.lerp(table_RK[row_M, below_M], table_RK[row_M, above_M], place_M - below_M)


def _visible(batch: PackedTokens, class_T: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Sum and number of the visible non-zero values of each class: float64 and int64 ``[B, C]``."""
    seen_T = torch.nonzero(~batch.hidden_T & (batch.values_T != 0)).squeeze(1)
    slot_T = batch.cell_of_token_T[seen_T] * num_classes + class_T[seen_T]
    shape = (batch.num_cells, num_classes)
    sums_BC = torch.bincount(slot_T, batch.values_T[seen_T].double(), minlength=shape[0] * shape[1]).view(shape)
    return sums_BC, torch.bincount(slot_T, minlength=shape[0] * shape[1]).view(shape)
