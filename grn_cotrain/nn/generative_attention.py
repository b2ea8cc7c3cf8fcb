"""Attention where known tokens read known ones, and unknown tokens read known ones and themselves. No mask matrix.

Dimension letters: T packed tokens, S packed keys, L tokens of a cell, H heads, K width of queries and keys, W width of
values, B cells, D width, R rank of the attention bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.nn.packed_transformer import PackedTransformer, TransformerBlock
from grn_cotrain.nn.ragged_attention import ragged_attention

__all__ = ["GenerativeBlock", "GenerativeTransformer", "KnownKeys", "generative_attention"]

_NEVER = -3e4  # a logit whose weight is exactly 0 in every precision, and that float16 can hold


@dataclass(frozen=True)
class KnownKeys:
    """Which tokens may be read: those whose value is not hidden, and for each cell one slot more, "myself".

    Attributes
    ----------
    known_T
        bool, True where the value is known (CLS always).
    source_S
        int64: for each key its token; T where it is the slot.
    cu_lens
        int32 ``[B + 1]`` cumulative keys, slots included.
    max_len
        Most keys of a cell.
    """

    known_T: Tensor
    source_S: Tensor
    cu_lens: Tensor
    max_len: int

    @classmethod
    def of(cls, batch: PackedTokens) -> KnownKeys | None:
        """Known keys of the batch's hidden values; None if nothing is hidden, when every token reads every other."""
        if batch.masked_T is None or not bool(batch.masked_T.any()):
            return None
        known_T = ~batch.masked_T
        before_B = F.pad(known_T.cumsum(0), (1, 0))[batch.cu_lens.long()]
        slots_B = torch.arange(batch.num_cells + 1, device=before_B.device)
        cu_lens = before_B + slots_B
        # A known token stands after all slots of earlier cells; a cell's slot is its last key.
        source_S = torch.full((int(cu_lens[-1]),), batch.num_tokens, device=before_B.device)
        token_M = torch.nonzero(known_T).squeeze(1)
        at_M = torch.arange(len(token_M), device=token_M.device) + batch.cell_of_token_T[token_M]
        source_S[at_M] = token_M
        return cls(known_T, source_S, cu_lens.int(), int(cu_lens.diff().max()))


def generative_attention(
    q_THK: Tensor,
    k_THK: Tensor,
    v_THW: Tensor,
    cu_lens: Tensor,
    max_len: int,
    keys: KnownKeys,
    *,
    scale: float,
) -> Tensor:
    r"""Attention of every token over the known tokens of its cell, and of unknown ones over themselves too.

    .. math:: o_u = \frac{\sum_{k \in \mathrm{known}} e^{s q_u \cdot k_k} v_k + e^{s q_u \cdot k_u} v_u}
        {\sum_{k \in \mathrm{known}} e^{s q_u \cdot k_k} + e^{s q_u \cdot k_u}}

    One call over packed segments, T queries by known keys: queries are one column wider, and hold there their own
    logit :math:`q_u \cdot k_u` (known tokens: a logit of weight 0). One more key a cell, the slot, is 1 in that column
    and 0 in all others; the known keys are 0 in it. So the slot's logit is each query's own, and its weight, read from
    one more column of the values, is the share that the query's own value gets. This is exact, and no log-sum-exp has
    to leave the kernel.

    Parameters
    ----------
    q_THK, k_THK, v_THW
        Packed heads of all tokens.
    cu_lens, max_len
        Segments of the tokens.
    keys
        Keys that may be read.
    scale
        Scale of the logits.

    Returns
    -------
    Tensor
        ``[T, H, W]``, dtype of the values.
    """
    own_TH = (q_THK.float() * k_THK.float()).sum(-1) if q_THK.dtype.itemsize < 4 else (q_THK * k_THK).sum(-1)
    own_TH = own_TH.masked_fill(keys.known_T[:, None], _NEVER).to(q_THK.dtype)
    query_THE = torch.cat([q_THK, own_TH.unsqueeze(-1)], dim=-1)
    key_SHE = _with_slot(k_THK).index_select(0, keys.source_S)
    value_SHE = _with_slot(v_THW).index_select(0, keys.source_S)
    read_THE = ragged_attention(
        query_THE, key_SHE, value_SHE, cu_lens, keys.cu_lens, max_len, keys.max_len, scale=scale
    )
    return read_THE[..., :-1] + read_THE[..., -1:] * v_THW


def _with_slot(x_THK: Tensor) -> Tensor:
    """A column of zeros for all tokens, and the slot after them: zeros, and 1 in that column."""
    slot_1HE = x_THK.new_zeros(1, x_THK.shape[1], x_THK.shape[2] + 1)
    slot_1HE[..., -1] = 1
    return torch.cat([F.pad(x_THK, (0, 1)), slot_1HE])


class GenerativeBlock(TransformerBlock):
    """A transformer block whose tokens read :class:`KnownKeys`; without any, all tokens read each other."""

    def generate(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        max_len: int,
        keys: KnownKeys | None,
        bias_TR: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """One block; ``bias_TR`` holds query and key factors of logits to add in every head."""
        if keys is None:
            return self(tokens_TD, cu_lens, max_len, bias_TR)
        q_THK, k_THK, v_THK = self.heads(tokens_TD, bias_TR)
        read_THK = generative_attention(q_THK, k_THK, v_THK, cu_lens, max_len, keys, scale=self.scale)
        return self.after_attention(tokens_TD, read_THK)

    def read_allowed(self, q_LHK: Tensor, k_LHK: Tensor, v_LHK: Tensor, allowed_LL: Tensor) -> tuple[Tensor, Tensor]:
        """Values read in one cell ``[L, H, K]``, and their weights, mean over heads ``[L, L]``."""
        logits_HLL = self.scale * q_LHK.transpose(0, 1) @ k_LHK.permute(1, 2, 0)
        share_HLL = logits_HLL.masked_fill(~allowed_LL, float("-inf")).softmax(dim=-1)
        return (share_HLL @ v_LHK.transpose(0, 1)).transpose(0, 1), share_HLL.mean(0)


class GenerativeTransformer(PackedTransformer):
    """A stack of :class:`GenerativeBlock`, and a final norm."""

    block = GenerativeBlock

    def generate(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        max_len: int,
        keys: KnownKeys | None,
        bias_TR: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Encode packed tokens ``[T, D]``; cells do not see each other, nor unknown tokens."""
        for block in self.blocks:
            assert isinstance(block, GenerativeBlock)
            tokens_TD = block.generate(tokens_TD, cu_lens, max_len, keys, bias_TR)
        return self.final_norm(tokens_TD)

    def generative_weights(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        known_T: Tensor,
        bias_TR: tuple[Tensor, Tensor] | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """Yield each cell's weights ``[L, L]``, the mean over heads and layers; what may not be read has 0."""

        def read(
            block: GenerativeBlock, segment: slice, q_LHK: Tensor, k_LHK: Tensor, v_LHK: Tensor
        ) -> tuple[Tensor, Tensor]:
            known_L = known_T[segment]
            own_LL = torch.eye(len(known_L), dtype=torch.bool, device=known_L.device)
            return block.read_allowed(q_LHK, k_LHK, v_LHK, known_L | own_LL)

        return self.weights_by(read, tokens_TD, cu_lens, bias_TR, layers)
