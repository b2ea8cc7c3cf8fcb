"""Some of a batch's tokens as packed segments of their own.

Dimension letters: T packed tokens, M chosen tokens, B cells, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.data.batch import CellBatch

__all__ = ["TokenSubset"]


@dataclass(frozen=True)
class TokenSubset:
    """Chosen tokens in the batch's order, one segment a cell; a segment may be empty.

    Attributes
    ----------
    where_M
        int64 positions among the batch's tokens, ascending.
    cu_lens
        int32 ``[B + 1]`` cumulative counts.
    max_len
        The longest segment.
    """

    where_M: Tensor
    cu_lens: Tensor
    max_len: int

    @classmethod
    def of(cls, batch: CellBatch, chosen_T: Tensor) -> TokenSubset:
        """The tokens where ``chosen_T`` is True; nothing is padded and no token is looped over."""
        before_T = F.pad(chosen_T.cumsum(0), (1, 0))
        cu_lens = before_T[batch.cu_lens.long()].int()
        return cls(torch.nonzero(chosen_T).squeeze(1), cu_lens, int(cu_lens.diff().max()) if batch.num_cells else 0)

    def __len__(self) -> int:
        return len(self.where_M)

    def places(self, batch: CellBatch) -> tuple[Tensor, ...]:
        """For each cell, the positions of its chosen tokens among its own tokens."""
        first_M = batch.cu_lens[:-1].long().repeat_interleave(self.cu_lens.diff().long())
        return (self.where_M - first_M).split(self.cu_lens.diff().tolist())
