"""Transformer blocks whose attention is FAVOR+, over packed tokens.

Dimension letters: T packed tokens, L tokens of one segment, D width, H heads, K head width, R rank of the bias.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grn_cotrain.nn.favor import FavorAttention
from grn_cotrain.nn.packed_transformer import PackedBlocks, TransformerBlock

__all__ = ["PackedPerformer", "PerformerBlock"]

_ROWS = 1024  # rows of a matrix of weights that are computed together


class PerformerBlock(TransformerBlock):
    """Pre-norm block with linear attention (Choromanski et al. 2021); all else is :class:`TransformerBlock`.

    Parameters
    ----------
    width, num_heads, ffn_width, dropout, head_width
        As in :class:`TransformerBlock`.
    num_features, redraw_every
        As in :class:`~grn_cotrain.nn.favor.FavorAttention`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        ffn_width: int,
        dropout: float,
        *,
        head_width: int | None = None,
        num_features: int | None = None,
        redraw_every: int | None = 1000,
    ) -> None:
        super().__init__(width, num_heads, ffn_width, dropout, head_width=head_width)
        self.favor = FavorAttention(self.head_width, num_features, redraw_every)

    def heads(self, tokens_TD: Tensor, bias_TR: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """As in :class:`TransformerBlock`, with the scale of the bias shared evenly by queries and keys.

        Only its product matters to full attention; the variance of random features grows with the lengths of both.
        """
        if bias_TR is not None:
            root = self.scale**0.5
            bias_TR = (bias_TR[0] * root, bias_TR[1] / root)
        return super().heads(tokens_TD, bias_TR)

    def attend(self, q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, cu_lens: Tensor, max_len: int) -> Tensor:
        """Values that every token reads from the tokens of its segment: ``[T, H, K]``."""
        del max_len
        read_THK: Tensor = self.favor(q_THK, k_THK, v_THK, cu_lens, cu_lens, scale=self.scale)
        return read_THK

    def read_and_weights(self, q_LHK: Tensor, k_LHK: Tensor, v_LHK: Tensor) -> tuple[Tensor, Tensor]:
        """Values read in one segment ``[L, H, K]``, and their weights, mean over heads ``[L, L]``.

        Apart from that one matrix nothing quadratic is held: weights come by heads and by tiles of rows. Never draws.
        """
        length, num_heads = q_LHK.shape[:2]
        cu_lens = torch.tensor([0, length], dtype=torch.int32, device=q_LHK.device)
        read_LHK = self.favor.read(q_LHK, k_LHK, v_LHK, cu_lens, cu_lens, scale=self.scale)
        mean_LL = q_LHK.new_zeros(length, length, dtype=torch.float32)
        for head in range(num_heads):
            one = slice(head, head + 1)
            for q_tile, rows_LL in zip(q_LHK.split(_ROWS), mean_LL.split(_ROWS), strict=True):
                rows_LL += self.favor.weights(q_tile[:, one], k_LHK[:, one], scale=self.scale)[0] / num_heads
        return read_LHK, mean_LL


class PackedPerformer(PackedBlocks):
    """A stack of blocks of linear attention, and a final norm; called like :class:`PackedTransformer`.

    Time and memory grow linearly with the tokens of a cell. Below about ``M`` tokens full attention does less work.

    Parameters
    ----------
    width, num_layers, num_heads, ffn_width
        Sizes.
    dropout
        After each sub-layer.
    num_features
        M, random features of each block; default ``K log K`` for heads of width K.
    redraw_every
        Training calls between two draws of the features; None: never. See
        :class:`~grn_cotrain.nn.favor.FavorAttention`.
    head_width
        K; default ``width / num_heads``.
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        num_heads: int,
        ffn_width: int,
        dropout: float = 0.0,
        num_features: int | None = None,
        redraw_every: int | None = 1000,
        *,
        head_width: int | None = None,
    ) -> None:
        super().__init__(
            (
                PerformerBlock(
                    width,
                    num_heads,
                    ffn_width,
                    dropout,
                    head_width=head_width,
                    num_features=num_features,
                    redraw_every=redraw_every,
                )
                for _ in range(num_layers)
            ),
            width,
        )
