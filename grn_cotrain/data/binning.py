"""Values -> bins: the quantile of a value among the non-zero values of its cell, or a class of the value alone.

Dimension letters: N values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["quantile_bins", "rounded_bins"]

_SLACK = 1e-5  # in classes: log2(1 + x) of 1, 3, 7 ... is a whole number, which rounding must not put one class lower


def quantile_bins(values_N: Tensor, cell_N: Tensor, num_bins: int) -> Tensor:
    """Bin every value by its rank among the non-zero values of its cell.

    With ``n`` non-zero values in the cell, of which ``r`` are smaller, the bin is ``1 + floor(r * num_bins / n)``: ties
    share the *lower* bin, so equal values of a cell get equal bins, and a cell of one repeated value is all bin 1.
    Zeros get bin 0. Depth does not matter: any increasing function of a cell's values has the same bins.

    Parameters
    ----------
    values_N
        Non-negative values.
    cell_N
        int64 cell of each value, in any order.
    num_bins
        K.

    Returns
    -------
    Tensor
        int64 ``[N]`` in 0..K.
    """
    bins_N = torch.zeros(values_N.shape, dtype=torch.int64, device=values_N.device)
    kept_M = torch.nonzero(values_N).squeeze(1)
    if kept_M.numel() == 0:
        return bins_N
    # Two stable sorts make one sort by (cell, value); both are linear-time radix-like passes on integers and floats.
    by_value_M = torch.argsort(values_N[kept_M], stable=True)
    order_M = kept_M[by_value_M[torch.argsort(cell_N[kept_M][by_value_M], stable=True)]]
    cell_M, value_M = cell_N[order_M], values_N[order_M]
    position_M = torch.arange(order_M.numel(), device=values_N.device)
    new_cell_M = torch.ones_like(cell_M, dtype=torch.bool)
    new_cell_M[1:] = cell_M[1:] != cell_M[:-1]
    new_value_M = new_cell_M.clone()
    new_value_M[1:] |= value_M[1:] != value_M[:-1]
    # Position at which the current cell, and the current run of equal values, began.
    cell_start_M = torch.cummax(position_M * new_cell_M, dim=0).values
    run_start_M = torch.cummax(position_M * new_value_M, dim=0).values
    segment_M = torch.cumsum(new_cell_M, dim=0) - 1
    size_M = torch.bincount(segment_M)[segment_M]
    bins_N[order_M] = 1 + (run_start_M - cell_start_M) * num_bins // size_M
    return bins_N


def rounded_bins(values_N: Tensor, num_bins: int) -> Tensor:
    r"""scBERT's classes of values: :math:`\min(\lfloor \log_2(1 + x) \rfloor, K)`, int64 ``[N]`` in 0..K.

    ``values_N`` are :math:`\ln(1 + x)` of counts per ten thousand x. Unlike quantile bins these depend on the value
    alone; x below 1 (one count in a cell of more than ten thousand) falls in class 0 with the zeros.
    """
    return (values_N / math.log(2) + _SLACK).long().clamp(0, num_bins)
