"""From bins back to values. Dimension letters: T packed tokens, B cells, K value bins, C classes."""

from __future__ import annotations

import torch
from torch import Tensor

from grn_cotrain.data.batch import CellBatch

__all__ = ["visible_bin_values", "visible_class_values"]


def visible_bin_values(batch: CellBatch, num_bins: int) -> Tensor:
    """Mean visible value of each cell's bins, float32 ``[B, K]``; an empty bin takes the value of the bin below it."""
    return visible_class_values(batch, batch.bins_T - 1, num_bins)


def visible_class_values(batch: CellBatch, class_T: Tensor, num_classes: int, empty_C: Tensor | None = None) -> Tensor:
    """Mean visible non-zero value of each class in each cell, float32 ``[B, C]``.

    An empty class takes its value of ``empty_C``, or without that the value of the class below (the lowest: 0).
    ``class_T`` (int64, in 0..C-1) is read at visible non-zero tokens alone.
    """
    seen_T = torch.nonzero(~batch.hidden_T & (batch.values_T != 0)).squeeze(1)
    slot_T = batch.cell_of_token_T[seen_T] * num_classes + class_T[seen_T]
    shape = (batch.num_cells, num_classes)
    sums = torch.bincount(slot_T, batch.values_T[seen_T].double(), minlength=shape[0] * shape[1]).view(shape)
    counts = torch.bincount(slot_T, minlength=shape[0] * shape[1]).view(shape)
    columns: list[Tensor] = []
    for index in range(num_classes):
        mean_B = sums[:, index] / counts[:, index].clamp_min(1)
        if empty_C is not None:
            empty_B = empty_C[index].to(mean_B.dtype).expand_as(mean_B)
        else:
            empty_B = columns[-1] if columns else mean_B
        columns.append(torch.where(counts[:, index] > 0, mean_B, empty_B))
    return torch.stack(columns, dim=1).float()
