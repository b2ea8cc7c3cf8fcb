"""Transformer over packed tokens: no padding, so no token is computed that nobody reads.

Dimension letters: T packed tokens, L tokens of a segment, D width, H heads, K head width, R rank of the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.errors import UserError
from grn_cotrain.nn.ragged_attention import ragged_attention

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "PackedBlocks",
    "PackedTransformer",
    "TransformerBlock",
    "attention_weights",
    "chosen_layers",
    "default_num_heads",
    "widened",
]

_HEAD_WIDTH = 64


def default_num_heads(width: int) -> int:
    """One head per 64 columns, at least one: narrower heads cost more for the same products."""
    num_heads = max(1, width // _HEAD_WIDTH)
    while width % num_heads:
        num_heads -= 1
    return num_heads


Activation = Literal["gelu", "relu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + ffn(norm(x))`` (pre-norm: Xiong et al. 2020).

    With ``post_norm``, as in BERT: ``norm(x + attention(x))``, then ``norm(x + ffn(x))``, with weights of the same
    names. Subclasses attend otherwise by overriding :meth:`attend` and :meth:`read_and_weights`.

    Parameters
    ----------
    width, num_heads, ffn_width
        Sizes.
    dropout
        After each sub-layer.
    head_width
        K; default ``width / num_heads``, which must then be a whole number.
    post_norm
        Norms follow each sub-layer instead of preceding it.
    activation
        Activation of the feed-forward part.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        ffn_width: int,
        dropout: float,
        *,
        head_width: int | None = None,
        post_norm: bool = False,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.activation = ACTIVATIONS[activation]
        if head_width is None:
            if width % num_heads:
                raise UserError(f"num_heads: {num_heads} does not divide width {width}; choose a divisor")
            head_width = width // num_heads
        self.num_heads, self.head_width = num_heads, head_width
        self.scale = head_width**-0.5
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * num_heads * head_width)
        self.attention_out = nn.Linear(num_heads * head_width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn_up = nn.Linear(width, ffn_width)
        self.ffn_down = nn.Linear(ffn_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        max_len: int,
        bias_TR: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """One block; ``bias_TR`` holds query and key factors of logits to add in every head."""
        q_THK, k_THK, v_THK = self.heads(tokens_TD, bias_TR)
        return self.after_attention(tokens_TD, self.attend(q_THK, k_THK, v_THK, cu_lens, max_len))

    def attend(self, q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, cu_lens: Tensor, max_len: int) -> Tensor:
        """Values that every token reads from the tokens of its segment: ``[T, H, K]``."""
        return ragged_attention(q_THK, k_THK, v_THK, cu_lens, cu_lens, max_len, max_len, scale=self.scale)

    def read_and_weights(self, q_LHK: Tensor, k_LHK: Tensor, v_LHK: Tensor) -> tuple[Tensor, Tensor]:
        """Values read in one segment ``[L, H, K]``, and their weights, mean over heads ``[L, L]``."""
        share_HLL = attention_weights(q_LHK, k_LHK, scale=self.scale)
        return (share_HLL @ v_LHK.transpose(0, 1)).transpose(0, 1), share_HLL.mean(0)

    def heads(self, tokens_TD: Tensor, bias_TR: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[T, H, K]`` of the (normed) tokens; with a bias, queries and keys are R wider."""
        read_TD = tokens_TD if self.post_norm else self.attention_norm(tokens_TD)
        qkv_T3HK = self.qkv(read_TD).view(len(tokens_TD), 3, self.num_heads, self.head_width)
        q_THK, k_THK, v_THK = qkv_T3HK.unbind(1)
        if bias_TR is not None:
            q_THK, k_THK = widened(q_THK, k_THK, bias_TR, self.scale)
        return q_THK, k_THK, v_THK

    def after_attention(self, tokens_TD: Tensor, read_THK: Tensor) -> Tensor:
        """Apply what follows attention: its output map, then the feed-forward part, each added to the tokens."""
        tokens_TD = tokens_TD + self.dropout(self.attention_out(read_THK.flatten(1)))
        if self.post_norm:
            tokens_TD = self.attention_norm(tokens_TD)
            return self.ffn_norm(tokens_TD + self.dropout(self._feed_forward(tokens_TD)))
        return tokens_TD + self.dropout(self._feed_forward(self.ffn_norm(tokens_TD)))

    def _feed_forward(self, tokens_TD: Tensor) -> Tensor:
        return self.ffn_down(self.activation(self.ffn_up(tokens_TD)))


class PackedBlocks(nn.Module):
    """A stack of blocks of any kind of attention, and a final norm (none after post-norm blocks, which end in one).

    Parameters
    ----------
    blocks
        Applied one after another.
    width
        D.
    """

    def __init__(self, blocks: Iterable[TransformerBlock], width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        post_norm = any(getattr(block, "post_norm", False) for block in self.blocks)
        self.final_norm: nn.Module = nn.Identity() if post_norm else nn.LayerNorm(width)

    def forward(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        max_len: int,
        bias_TR: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Encode packed tokens ``[T, D]``; segments do not see each other."""
        return self.two_last(tokens_TD, cu_lens, max_len, bias_TR)[1]

    def two_last(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        max_len: int,
        bias_TR: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Input of the last block (not yet normed), and output of the whole stack, ``[T, D]`` each."""
        before_TD = tokens_TD
        for block in self.blocks:
            before_TD = tokens_TD
            tokens_TD = block(tokens_TD, cu_lens, max_len, bias_TR)
        return before_TD, self.final_norm(tokens_TD)

    def attention(
        self,
        tokens_TD: Tensor,
        cu_lens: Tensor,
        bias_TR: tuple[Tensor, Tensor] | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """Yield each segment's attention weights ``[L, L]``, the mean over heads and over ``layers`` (default: all)."""

        def read(block: TransformerBlock, segment: slice, *heads: Tensor) -> tuple[Tensor, Tensor]:
            del segment
            return block.read_and_weights(*heads)

        return self.weights_by(read, tokens_TD, cu_lens, bias_TR, layers)

    @torch.no_grad()
    def weights_by(
        self,
        read: Callable[..., tuple[Tensor, Tensor]],
        tokens_TD: Tensor,
        cu_lens: Tensor,
        bias_TR: tuple[Tensor, Tensor] | None,
        layers: Sequence[int] | None,
    ) -> Iterator[Tensor]:
        """:meth:`attention` by any way to read: ``read(block, segment, q, k, v)`` gives what was read, and weights."""
        wanted = chosen_layers(layers, len(self.blocks))
        for start, end in pairwise(cu_lens.tolist()):
            segment = slice(start, end)
            state_LD = tokens_TD[segment]
            factors = None if bias_TR is None else (bias_TR[0][segment], bias_TR[1][segment])
            total_LL = state_LD.new_zeros(end - start, end - start, dtype=torch.float32)
            for index, block in enumerate(self.blocks[: max(wanted) + 1]):
                assert isinstance(block, TransformerBlock)
                read_LHK, share_LL = read(block, segment, *block.heads(state_LD, factors))
                if index in wanted:
                    total_LL += share_LL.float()
                state_LD = block.after_attention(state_LD, read_LHK)
            yield total_LL / len(wanted)


class PackedTransformer(PackedBlocks):
    """A stack of blocks of full attention (subclasses: of another ``block``), and a final norm.

    Parameters
    ----------
    width, num_layers, num_heads, ffn_width
        Sizes.
    dropout
        After each sub-layer.
    post_norm, activation
        See :class:`TransformerBlock`.
    """

    block: ClassVar[type[TransformerBlock]] = TransformerBlock

    def __init__(
        self,
        width: int,
        num_layers: int,
        num_heads: int,
        ffn_width: int,
        dropout: float = 0.0,
        *,
        post_norm: bool = False,
        activation: Activation = "gelu",
    ) -> None:
        blocks = (
            self.block(width, num_heads, ffn_width, dropout, post_norm=post_norm, activation=activation)
            for _ in range(num_layers)
        )
        super().__init__(blocks, width)


def attention_weights(q_LHK: Tensor, k_SHK: Tensor, *, scale: float) -> Tensor:
    """``softmax(scale * q k^T)`` of one segment: ``[H, L, S]``."""
    return torch.softmax(scale * q_LHK.transpose(0, 1) @ k_SHK.permute(1, 2, 0), dim=-1)


def widened(q_THK: Tensor, k_SHK: Tensor, bias: tuple[Tensor, Tensor], scale: float) -> tuple[Tensor, Tensor]:
    """Queries and keys R wider, so that every head's logits have ``bias[0] . bias[1]`` (``[T, R]``, ``[S, R]``) added.

    ``scale * [q, b / scale] . [k, c] = scale * q . k + b . c``.
    """
    query_THR, key_SHR = (x_TR.unsqueeze(1).expand(-1, q_THK.shape[1], -1).to(q_THK.dtype) for x_TR in bias)
    return torch.cat([q_THK, query_THR / scale], dim=-1), torch.cat([k_SHK, key_SHR], dim=-1)


def chosen_layers(layers: Sequence[int] | None, num_layers: int) -> frozenset[int]:
    """Indices of layers, from 0; negative ones count from the last. None: all."""
    if layers is None:
        return frozenset(range(num_layers))
    if not layers or any(not -num_layers <= layer < num_layers for layer in layers):
        given = ", ".join(map(str, layers)) or "none"
        raise UserError(f"layers: got {given}; choose from 0 to {num_layers - 1}, or -1 for the last")
    return frozenset(layer % num_layers for layer in layers)
