"""Packed cross-attention: queries of a cell read keys of the same cell, and queries do not see each other. No padding.

Dimension letters: T packed queries, S packed keys, D width, H heads, K head width, R rank of the attention bias,
N latents, B cells, Q queries and M keys of one cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.nn.packed_transformer import TransformerBlock, widened
from grn_cotrain.nn.ragged_attention import ragged_attention

__all__ = ["CrossAttentionBlock", "CrossAttentionStack", "Latents"]

_LATENT_STD = 0.02  # small compared with what they read: a latent is what it has read, not its own row


class CrossAttentionBlock(nn.Module):
    r"""A pre-norm transformer block whose queries ``x`` read a context ``c`` (Vaswani et al. 2017, section 3.2.3).

    .. math::
        x' = x + W_o\, \mathrm{softmax}(Q(\mathrm{norm}(x)) K(\mathrm{norm}(c))^\top / \sqrt{K} + b)\,
        V(\mathrm{norm}(c)), \qquad x'' = x' + \mathrm{ffn}(\mathrm{norm}(x'))

    Parameters
    ----------
    width, num_heads, ffn_width
        Sizes; queries and context are equally wide.
    dropout
        After each sub-layer.
    """

    def __init__(self, width: int, num_heads: int, ffn_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.block = TransformerBlock(width, num_heads, ffn_width, dropout)
        self.context_norm = nn.LayerNorm(width)

    def forward(
        self,
        queries_TD: Tensor,
        context_SD: Tensor,
        cu_q: Tensor,
        cu_k: Tensor,
        max_q: int,
        max_k: int,
        bias: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Read once: ``[T, D]``. ``bias`` holds factors ``[T, R]`` of queries and ``[S, R]`` of keys."""
        q_THK, k_SHK, v_SHK = self.heads(queries_TD, context_SD, bias)
        read_THK = ragged_attention(q_THK, k_SHK, v_SHK, cu_q, cu_k, max_q, max_k, scale=self.block.scale)
        return self.block.after_attention(queries_TD, read_THK)

    def heads(
        self, queries_TD: Tensor, context_SD: Tensor, bias: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``[T, H, K]``, keys and values ``[S, H, K]``; with a bias, queries and keys are R wider."""
        heads = (self.block.num_heads, self.block.head_width)
        sizes = [heads[0] * heads[1], 2 * heads[0] * heads[1]]
        # The block's one map of queries, keys and values, cut: each side needs but its own rows.
        query, key_value = zip(self.block.qkv.weight.split(sizes), self.block.qkv.bias.split(sizes), strict=True)
        q_THK = F.linear(self.block.attention_norm(queries_TD), *query).unflatten(1, heads)
        kv_S2HK = F.linear(self.context_norm(context_SD), *key_value).unflatten(1, (2, *heads))
        k_SHK, v_SHK = kv_S2HK.unbind(1)
        if bias is not None:
            q_THK, k_SHK = widened(q_THK, k_SHK, bias, self.block.scale)
        return q_THK, k_SHK, v_SHK

    def read_and_weights(self, q_QHK: Tensor, k_MHK: Tensor, v_MHK: Tensor) -> tuple[Tensor, Tensor]:
        """Values read in one cell ``[Q, H, K]``, and their weights, mean over heads ``[Q, M]``."""
        return self.block.read_and_weights(q_QHK, k_MHK, v_MHK)


class CrossAttentionStack(nn.Module):
    """Blocks that read the same context one after the other, and a final norm.

    Parameters
    ----------
    width, num_layers, num_heads, ffn_width
        Sizes.
    dropout
        After each sub-layer.
    """

    def __init__(self, width: int, num_layers: int, num_heads: int, ffn_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            CrossAttentionBlock(width, num_heads, ffn_width, dropout) for _ in range(num_layers)
        )
        self.final_norm = nn.LayerNorm(width)

    def forward(
        self,
        queries_TD: Tensor,
        context_SD: Tensor,
        cu_q: Tensor,
        cu_k: Tensor,
        max_q: int,
        max_k: int,
        bias: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Decode packed queries ``[T, D]``; what one query reads does not depend on which others are asked."""
        if len(queries_TD):
            for block in self.blocks:
                queries_TD = block(queries_TD, context_SD, cu_q, cu_k, max_q, max_k, bias)
        return self.final_norm(queries_TD)

    @torch.no_grad()
    def attention(
        self,
        queries_TD: Tensor,
        context_SD: Tensor,
        cu_q: Tensor,
        cu_k: Tensor,
        bias: tuple[Tensor, Tensor] | None = None,
        *,
        layers: frozenset[int],
    ) -> Iterator[Tensor]:
        """Yield each cell's weights, float32 ``[Q, M]``: the mean over heads and ``layers`` (from 0; not empty)."""
        for (q_start, q_end), (k_start, k_end) in zip(pairwise(cu_q.tolist()), pairwise(cu_k.tolist()), strict=True):
            state_QD, context_MD = queries_TD[q_start:q_end], context_SD[k_start:k_end]
            factors = None if bias is None else (bias[0][q_start:q_end], bias[1][k_start:k_end])
            total_QM = state_QD.new_zeros(q_end - q_start, k_end - k_start, dtype=torch.float32)
            for index, block in enumerate(self.blocks):
                assert isinstance(block, CrossAttentionBlock)
                q_QHK, k_MHK, v_MHK = block.heads(state_QD, context_MD, factors)
                read_QHK, share_QM = block.read_and_weights(q_QHK, k_MHK, v_MHK)
                if index in layers:
                    total_QM += share_QM.float()
                if index >= max(layers):
                    break
                state_QD = block.block.after_attention(state_QD, read_QHK)
            yield total_QM / len(layers)


class Latents(nn.Module):
    """Learned rows ``[N, D]`` that every cell starts from, packed as one segment of N a cell (Jaegle et al. 2021).

    Parameters
    ----------
    num_latents, width
        N and D.
    """

    def __init__(self, num_latents: int, width: int) -> None:
        super().__init__()
        self.rows_ND = nn.Parameter(_LATENT_STD * torch.randn(num_latents, width))

    def forward(self, num_cells: int) -> tuple[Tensor, Tensor]:
        """Rows ``[B * N, D]`` and their int32 cumulative lengths ``[B + 1]``; the longest segment is N."""
        num_latents = len(self.rows_ND)
        cu_lens = torch.arange(num_cells + 1, dtype=torch.int32, device=self.rows_ND.device) * num_latents
        return self.rows_ND.repeat(num_cells, 1), cu_lens
