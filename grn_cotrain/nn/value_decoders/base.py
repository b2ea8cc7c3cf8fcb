"""Contract of value decoders.

Dimension letters: T packed tokens, M tokens that the encoder read, Q asked tokens, V vocabulary, D width, R rank of
the attention bias, P rows that stand for cells, B cells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.nn.cell_encoders.base import AttentionBias
from grn_cotrain.nn.token_subset import TokenSubset

__all__ = ["Decoded", "Encoded", "Readout", "ValueDecoder", "bias_factors", "joined"]

Readout = tuple[Tensor, Tensor, Tensor]
"""Attention of one cell: places of the tokens that read, places of those they read, and weights (rows sum to 1)."""


@dataclass(frozen=True)
class Encoded:
    """Input of a decoder.

    Attributes
    ----------
    batch, bias
        As the encoder was given them.
    rows_TD
        The gene row (or CLS's, or MASK's) of every token: gathered once, since each gather from the table costs
        a gradient of the table's size.
    read
        The tokens that the encoder read: CLS and visible values that are not zero.
    states_MD
        Their final states.
    zero_D, mask_D
        Value vectors of a zero and of a hidden value.
    """

    batch: PackedTokens
    bias: AttentionBias | None
    rows_TD: Tensor
    read: TokenSubset
    states_MD: Tensor
    zero_D: Tensor
    mask_D: Tensor

    @property
    def read_T(self) -> Tensor:
        """bool, True where the encoder read."""
        return torch.zeros_like(self.batch.hidden_T).index_fill_(0, self.read.where_M, True)

    def rows(self, where_Q: Tensor) -> Tensor:
        """Gene rows of these tokens: ``[Q, D]``."""
        return self.rows_TD.index_select(0, where_Q)

    def value_rows(self, where_Q: Tensor) -> Tensor:
        """The hidden value's vector or the zero's, whichever these tokens show: ``[Q, D]``."""
        return torch.where(self.batch.hidden_T[where_Q, None], self.mask_D, self.zero_D)

    def zero_states(self) -> tuple[Tensor, Tensor]:
        """Visible zeros that nobody decodes: positions, and gene row plus the zero's vector."""
        where_Q = torch.nonzero(~(self.read_T | self.batch.hidden_T)).squeeze(1)
        return where_Q, self.rows(where_Q) + self.zero_D


@dataclass(frozen=True)
class Decoded:
    """Output of a decoder.

    Attributes
    ----------
    tokens_TD
        A state for every token of the batch.
    summary_PD, summary_cu
        The rows that stand for each cell where its state is pooled, and their int32 cumulative counts ``[B + 1]``.
    summary_P
        int64 token that each of these rows is the state of; None if they are states of latents.
    """

    tokens_TD: Tensor
    summary_PD: Tensor
    summary_cu: Tensor
    summary_P: Tensor | None = None

    def without(self, left_out_T: Tensor) -> Decoded:
        """The same, but these tokens (bool ``[T]``) do not stand for their cells; CLS must stay."""
        if self.summary_P is None:
            return self
        kept_P = ~left_out_T[self.summary_P]
        cu_lens = F.pad(kept_P.cumsum(0), (1, 0))[self.summary_cu.long()].int()
        return replace(self, summary_PD=self.summary_PD[kept_P], summary_cu=cu_lens, summary_P=self.summary_P[kept_P])


class ValueDecoder(nn.Module, ABC):
    """Gives a state to every token, given the states of those that the encoder read.

    Contract: what a decoded token gets depends on its own name and on the encoder's states of its cell; in all forms
    but the full-length one it does not depend on which other tokens are asked. Values of hidden tokens are not read.

    Attributes
    ----------
    num_layers
        Number of layers that :meth:`attention` can return.
    """

    num_layers: int

    @abstractmethod
    def forward(self, encoded: Encoded) -> Decoded:
        """States of all tokens."""

    @abstractmethod
    def attention(self, encoded: Encoded, layers: frozenset[int]) -> Iterator[Readout]:
        """Who reads whom in each cell, as the mean over heads and ``layers`` (from 0; not empty)."""


def bias_factors(encoded: Encoded, asked_Q: Tensor, keys_S: Tensor) -> tuple[Tensor, Tensor] | None:
    """Factors ``[Q, R]`` and ``[S, R]`` of the bias between two sets of tokens; None if there is no bias."""
    if encoded.bias is None:
        return None
    ids_T = encoded.batch.feature_ids_T
    return F.embedding(ids_T[asked_Q], encoded.bias.query_VR), F.embedding(ids_T[keys_S], encoded.bias.key_VR)


def joined(encoded: Encoded, *parts: tuple[Tensor, Tensor]) -> Tensor:
    """States of all tokens ``[T, D]`` from parts (positions, rows); a later part replaces an earlier one."""
    tokens_TD = torch.zeros_like(encoded.rows_TD)
    for where_Q, rows_QD in parts:
        tokens_TD.index_copy_(0, where_Q, rows_QD.to(tokens_TD.dtype))
    return tokens_TD
