"""Cell encoder ``transformer``: full attention among the non-zero genes of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.value_statistics import ValueStatistics
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders.base import (
    CELL_ENCODERS,
    NO_COVARIATES,
    AttentionBias,
    CellEncoder,
    CellStates,
    token_bias,
)
from grn_cotrain.nn.packed_transformer import PackedTransformer, default_num_heads
from grn_cotrain.nn.token_embedding import TokenEmbedding

__all__ = ["TransformerEncoder"]


@CELL_ENCODERS.register("transformer", paper="Vaswani et al. 2017; tokens as in scMBERT and scGPT (Cui et al. 2024)")
class TransformerEncoder(CellEncoder):
    """Pre-norm transformer over packed tokens; the cell's state is the final state of its CLS token.

    Tokens are a set: there are no positions, and a gene's row is its only name. See
    :class:`~grn_cotrain.nn.token_embedding.TokenEmbedding` for what enters.

    Parameters
    ----------
    num_layers
        Default 2.
    num_heads
        Default None: one head per 64 columns.
    ffn_multiplier
        Hidden width of the feed-forward part over ``width``. Default 4.
    dropout
        Default 0.
    values
        ``"continuous"`` (default) or ``"bins"``.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`TransformerEncoder`."""

        num_layers: int = 2
        num_heads: int | None = None
        ffn_multiplier: float = 4.0
        dropout: float = 0.0
        values: Literal["bins", "continuous"] = "continuous"

        def __post_init__(self) -> None:
            if self.num_layers < 1:
                raise UserError(f"num_layers: got {self.num_layers}; give at least 1")
            if self.num_heads is not None and self.num_heads < 1:
                raise UserError(f"num_heads: got {self.num_heads}; give at least 1, or leave it out")
            if not self.ffn_multiplier > 0:
                raise UserError(f"ffn_multiplier: got {self.ffn_multiplier}; give a positive number")
            if not 0 <= self.dropout < 1:
                raise UserError(f"dropout: got {self.dropout}; give a share in [0, 1)")

    def __init__(
        self,
        config: Config,
        *,
        width: int,
        num_bins: int,
        num_modalities: int,
        num_genes: int,
        covariates: Mapping[str, int] = NO_COVARIATES,
    ) -> None:
        super().__init__()
        del covariates
        self.embedding = TokenEmbedding(
            width=width, num_bins=num_bins, num_modalities=num_modalities, num_genes=num_genes, values=config.values
        )
        self.trunk = PackedTransformer(
            width,
            config.num_layers,
            config.num_heads or default_num_heads(width),
            max(1, round(config.ffn_multiplier * width)),
            config.dropout,
        )

    def prepare(self, cells: CellMatrix, rows_C: np.ndarray) -> None:
        """Standardise values by the statistics of these cells from now on."""
        self.embedding.prepare(ValueStatistics.of(cells.normalised()[rows_C]))

    def forward(self, batch: CellBatch, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """See :class:`CellEncoder`."""
        inputs_TD = self.embedding(batch, features_VD)
        tokens_TD = self.trunk(inputs_TD, batch.cu_lens, batch.max_len, token_bias(batch, bias))
        return CellStates(tokens_TD, tokens_TD[batch.cls_positions_B])

    @torch.no_grad()
    def attention(
        self,
        batch: CellBatch,
        features_VD: Tensor,
        bias: AttentionBias | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """See :class:`CellEncoder`."""
        inputs_TD = self.embedding(batch, features_VD)
        yield from self.trunk.attention(inputs_TD, batch.cu_lens, token_bias(batch, bias), layers=layers)
