"""From bins back to values. Dimension letters: T packed tokens, B cells, K value bins."""

from __future__ import annotations

import torch
from torch import Tensor

from grn_cotrain.data.batch import CellBatch

__all__ = ["visible_bin_values"]


def visible_bin_values(batch: CellBatch, num_bins: int) -> Tensor:
    """Mean visible value of each cell's bins, float32 ``[B, K]``; an empty bin takes the value of the bin below it."""
    seen_T = torch.nonzero(~batch.hidden_T & (batch.values_T != 0)).squeeze(1)
    slot_T = batch.cell_of_token_T[seen_T] * num_bins + batch.bins_T[seen_T] - 1
    shape = (batch.num_cells, num_bins)
    sums = torch.bincount(slot_T, batch.values_T[seen_T].double(), minlength=shape[0] * shape[1]).view(shape)
    counts = torch.bincount(slot_T, minlength=shape[0] * shape[1]).view(shape)
    columns: list[Tensor] = []
    for index in range(num_bins):
        mean_B = sums[:, index] / counts[:, index].clamp_min(1)
        below_B = columns[-1] if columns else mean_B
        columns.append(torch.where(counts[:, index] > 0, mean_B, below_B))
    return torch.stack(columns, dim=1).float()
