"""States of a cell's genes -> one state of the cell.

Dimension letters: T packed tokens, N pooled tokens, B cells, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import CLS_ID, PAD_ID

__all__ = ["Pooling", "pool_cells"]

Pooling = Literal["cls", "mean", "max"]


def pool_cells(batch: PackedTokens, states_TD: Tensor, pooling: Pooling) -> Tensor:
    """State of every cell ``[B, D]``: that of CLS, or the mean or largest entries over its genes.

    Genes whose zero is visible are left out: where every gene is a token they are nine in ten, and the mean would
    mostly show that. Genes with a hidden value count, since whether it is zero must not be read. A cell without genes
    takes the state of its CLS.
    """
    if pooling == "cls":
        return states_TD[batch.cls_positions_B]
    is_gene_T = (batch.feature_ids_T != CLS_ID) & (batch.feature_ids_T != PAD_ID)
    pooled_T = is_gene_T & (batch.hidden_T | (batch.values_T != 0))
    cell_T = batch.cell_of_token_T
    empty_B = torch.bincount(cell_T[pooled_T], minlength=batch.num_cells) == 0
    pooled_T = pooled_T | ((batch.feature_ids_T == CLS_ID) & empty_B[cell_T])
    lengths_B = torch.bincount(cell_T[pooled_T], minlength=batch.num_cells)
    return torch.segment_reduce(states_TD[pooled_T], pooling, lengths=lengths_B, axis=0)
