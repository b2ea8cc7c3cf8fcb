"""Shared part of encoders that embed their tokens, then let all of a cell's tokens attend to each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grn_cotrain.config import require, require_number
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.nn.cell_encoders.base import AttentionBias, CellEncoder, CellStates, token_bias
from grn_cotrain.nn.packed_transformer import PackedBlocks, PackedTransformer, default_num_heads
from grn_cotrain.nn.token_subset import only_tokens

__all__ = ["TrunkConfig", "TrunkEncoder", "prompted"]


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Sizes of the transformer.

    Attributes
    ----------
    num_layers
        Transformer blocks.
    num_heads
        Attention heads; null: one per 64 columns.
    ffn_multiplier
        Hidden width of the feed-forward part over the model's width.
    dropout
        Share of units dropped after each sub-layer in training.
    """

    num_layers: int = 2
    num_heads: int | None = None
    ffn_multiplier: float = 4.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self.num_layers >= 1, f"num_layers: got {self.num_layers}; give at least 1")
        require_number(self, "num_heads", "at least 1, or leave it out", lambda value: value >= 1)
        require(self.ffn_multiplier > 0, f"ffn_multiplier: got {self.ffn_multiplier}; give a positive number")
        require(0 <= self.dropout < 1, f"dropout: got {self.dropout}; give a share in [0, 1)")

    def sizes(self, width: int) -> tuple[int, int, int, int, float]:
        """Width, layers, heads, width of the feed-forward part and dropout of the stack."""
        num_heads = self.num_heads or default_num_heads(width)
        return width, self.num_layers, num_heads, max(1, round(self.ffn_multiplier * width)), self.dropout

    def build(self, width: int) -> PackedBlocks:
        """The stack of blocks of these sizes."""
        return PackedTransformer(*self.sizes(width))


class TrunkEncoder(CellEncoder):
    """Embedding, then blocks over packed tokens; the state of a cell is the final state of its CLS token.

    Subclasses set ``trunk`` and define :meth:`inputs`; they may override :meth:`cells`.
    """

    reads_prompt = True

    trunk: PackedBlocks

    @abstractmethod
    def inputs(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Input of the first block, without a prompt: ``[T, D]``."""

    def forward(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """See :class:`CellEncoder`."""
        inputs_TD = prompted(batch, self.gained(batch, features_VD))
        tokens_TD = self.trunk(inputs_TD, batch.cu_lens, batch.max_len, token_bias(batch, bias))
        return CellStates(tokens_TD, self.cells(batch, tokens_TD), partial(self._cells_without, batch, tokens_TD))

    def gained(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """:meth:`inputs`, moved by ``batch.gain_T`` between those of hidden values (0) and the batch's own (1)."""
        inputs_TD = self.inputs(batch, features_VD)
        if batch.gain_T is None:
            return inputs_TD
        every_T = torch.ones_like(batch.feature_ids_T, dtype=torch.bool)
        unknown_TD = self.inputs(batch.with_mask(every_T), features_VD)
        return unknown_TD + batch.gain_T[:, None] * (inputs_TD - unknown_TD)

    def cells(self, batch: PackedTokens, tokens_TD: Tensor) -> Tensor:
        """State of every cell from the final states of its tokens: ``[B, D]``."""
        return tokens_TD[batch.cls_positions_B]

    def _cells_without(self, batch: PackedTokens, tokens_TD: Tensor, left_out_T: Tensor) -> Tensor:
        """See :meth:`~grn_cotrain.nn.cell_encoders.CellStates.cells_without`."""
        return self.cells(only_tokens(batch, ~left_out_T), tokens_TD[~left_out_T])

    @torch.no_grad()
    def attention(
        self,
        batch: PackedTokens,
        features_VD: Tensor,
        bias: AttentionBias | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """See :class:`CellEncoder`."""
        inputs_TD = prompted(batch, self.inputs(batch, features_VD))
        yield from self.trunk.attention(inputs_TD, batch.cu_lens, token_bias(batch, bias), layers=layers)


def prompted(batch: PackedTokens, inputs_TD: Tensor) -> Tensor:
    """The inputs ``[T, D]`` with the cells' prompts, where there are any, in the place of CLS."""
    if batch.prompt_BD is None:
        return inputs_TD
    return inputs_TD.index_copy(0, batch.cls_positions_B, batch.prompt_BD.to(inputs_TD.dtype))
