"""Some of a batch's tokens as packed segments of their own.

Dimension letters: T packed tokens, M chosen tokens, B cells, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens

__all__ = ["TokenSubset", "only_tokens"]


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
    def of(cls, batch: PackedTokens, chosen_T: Tensor) -> TokenSubset:
        """The tokens where ``chosen_T`` is True; nothing is padded and no token is looped over."""
        before_T = F.pad(chosen_T.cumsum(0), (1, 0))
        cu_lens = before_T[batch.cu_lens.long()].int()
        return cls(torch.nonzero(chosen_T).squeeze(1), cu_lens, int(cu_lens.diff().max()) if batch.num_cells else 0)

    def __len__(self) -> int:
        return len(self.where_M)

    def places(self, batch: PackedTokens) -> tuple[Tensor, ...]:
        """For each cell, the positions of its chosen tokens among its own tokens."""
        first_M = batch.cu_lens[:-1].long().repeat_interleave(self.cu_lens.diff().long())
        return (self.where_M - first_M).split(self.cu_lens.diff().tolist())


def only_tokens(batch: PackedTokens, kept_T: Tensor) -> PackedTokens:
    """The same cells with those of their tokens alone; CLS must be among them."""
    subset = TokenSubset.of(batch, kept_T)
    where_M = subset.where_M
    optional = {
        name: value[where_M]
        for name in ("masked_T", "modality_hidden_T", "ranks_T", "gain_T")
        if (value := getattr(batch, name)) is not None
    }
    return replace(
        batch,
        feature_ids_T=batch.feature_ids_T[where_M],
        values_T=batch.values_T[where_M],
        bins_T=batch.bins_T[where_M],
        modality_T=batch.modality_T[where_M],
        cu_lens=subset.cu_lens,
        max_len=subset.max_len,
        **optional,
    )
