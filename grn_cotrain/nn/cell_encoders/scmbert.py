"""Cell encoder ``scmbert``: a BERT over the non-zero features of all modalities of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import CLS_ID, PAD_ID
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.trunk import TrunkConfig, TrunkEncoder

__all__ = ["ScMBERTEncoder"]


@CELL_ENCODERS.register("scmbert", paper="Chen et al. 2025, scMBERT (AAAI student abstract)")
class ScMBERTEncoder(TrunkEncoder):
    r"""BERT over non-zero features of variable length: name, binned value and modality, summed.

    .. math:: x_t = \mathrm{LN}\left(e_{g(t)} + b_{v(t)} + m_{k(t)}\right)

    ``e`` is the feature's row of the shared table (coupled with the graph), ``b`` a row for each of the bins 0..K (by
    quantiles of the cell's own values) and one for MASK, ``m`` a row for each modality and one for MASK. A hidden value
    or modality is MASK's row; CLS has neither. There are no positions: a cell is a set. A cell with more tokens
    than ``tokens.max_tokens`` (20,000 as published) loses some at random at each draw.

    Two things differ from the abstract, which leaves both open: blocks are pre-norm, and the cell's state is that of
    CLS. The objective is ``modality``: hidden bins plus lambda times the modality of the hidden positions.

    Parameters
    ----------
    num_layers, num_heads, ffn_multiplier, dropout
        Sizes of the transformer.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkConfig):
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

    def __init__(self, config: Config, *, width: int, num_bins: int, num_modalities: int, **_: Any) -> None:
        super().__init__()
        self.mask_bin, self.mask_modality = num_bins + 1, num_modalities
        self.bins = nn.Embedding(num_bins + 2, width)  # 0..K, MASK
        self.modality = nn.Embedding(num_modalities + 1, width)  # each modality, MASK
        for embedding in (self.bins, self.modality):
            nn.init.normal_(embedding.weight, std=0.02)
        self.norm = nn.LayerNorm(width)
        self.trunk = config.build(width)

    def inputs(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Sum of the three embeddings, normalised: ``[T, D]``."""
        ids_T = batch.feature_ids_T
        bin_T = batch.bins_T.masked_fill(batch.hidden_T, self.mask_bin)
        modality_T = batch.modality_T
        if batch.modality_hidden_T is not None:
            modality_T = modality_T.masked_fill(batch.modality_hidden_T, self.mask_modality)
        described_TD = self.bins(bin_T) + self.modality(modality_T)
        # CLS stands for the cell, which has neither a value nor a modality of its own.
        has_value_T = (ids_T != CLS_ID) & (ids_T != PAD_ID)
        return self.norm(F.embedding(ids_T, features_VD) + torch.where(has_value_T[:, None], described_TD, 0.0))
