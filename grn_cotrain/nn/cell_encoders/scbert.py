"""Cell encoder ``scbert``: every gene a token, values in bins, linear attention.

Dimension letters: T packed tokens, V vocabulary, D width, B cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import rounded_bins
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.trunk import TrunkConfig, TrunkEncoder
from grn_cotrain.nn.packed_transformer import PackedBlocks
from grn_cotrain.nn.performer import PackedPerformer
from grn_cotrain.nn.pooling import Pooling, pool_cells

__all__ = ["ScBERTEncoder"]


@CELL_ENCODERS.register("scbert", paper="Yang et al. 2022, scBERT; attention: Choromanski et al. 2021, Performer")
class ScBERTEncoder(TrunkEncoder):
    r"""Performer over all genes of a cell: gene row plus row of the binned value.

    .. math:: x_t = e_{g(t)} + b_{c(t)}, \qquad c(t) = \min(\lfloor \log_2(1 + v_t) \rfloor, K)

    ``e`` is the gene's row of the shared table, in the place of scBERT's gene2vec rows (``table.init: gene2vec`` starts
    it so, from the training cells; theirs stay fixed, these are trained unless ``table.mode`` changes it). ``b`` is
    a row for each value class 0..K, where K is ``tokens.num_bins``, published: 5, and one for MASK. There are no
    positions. scBERT's code gives PAD and MASK one id, and its CLS-like last token the id of a zero; here ids of
    special tokens come first and value class c is ``NUM_SPECIAL + c``, so that none is shared (:meth:`value_ids`).
    Blocks are pre-norm with FAVOR+ (:class:`~grn_cotrain.nn.favor.FavorAttention`), linear in the number of tokens:
    scBERT reads **every** gene, ``tokens: {zeros_per_cell: all}``, with ``max_tokens`` above the number of features.
    It runs on fewer tokens just as well. The modality is not read but through the feature's own row.

    Its objective is ``masked_value`` with ``loss: cross_entropy, classes: rounded`` and ``mask_share: 0.15`` on values
    that are not zero (published; a tenth of the hidden ones stay in place there): what is asked is the class that the
    encoder would have read. With ``bins: quantile`` leave ``classes`` at its default, quantile bins.

    Cell state: scBERT reads a cell by a convolution that makes one number of each gene's state, then dense layers
    with a weight for each position of a fixed list of genes. That needs labels and one list of genes for ever. The
    mean over genes is what it leaves without either: it too is a linear map of all gene states, and states of genes
    are what the objective trains (a state of CLS is asked for nothing). ``max`` is xTrimoGene's way, ``cls`` BERT's.

    Published size: ``width: 200``, ``num_layers: 6``, ``num_heads: 10``, ``head_width: 64``, 266 features (the default
    for that head width), 16,906 genes. Defaults here are small.

    Parameters
    ----------
    num_layers, num_heads, ffn_multiplier, dropout, head_width, num_features, redraw_every, bins, pooling
        See :class:`Config`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkConfig):
        """Settings of :class:`ScBERTEncoder`.

        Attributes
        ----------
        num_layers
            Performer blocks; published 6.
        num_heads
            Attention heads; null: one per 64 columns. Published 10.
        ffn_multiplier
            Hidden width of the feed-forward part over the model's width.
        dropout
            Share of units dropped after each sub-layer in training.
        head_width
            Width of a head; null: width over heads. Published 64, which is wider than 200 columns over 10 heads.
        num_features
            Random features of each block; null: K log K for heads of width K. Published 266, which is that for 64.
        redraw_every
            Training calls (micro-batches) between two draws of the random features; null: never. Published 1000.
        bins
            Value classes: ``rounded``, log2 of counts per ten thousand plus one, cut to a whole number and at
            ``tokens.num_bins`` (as published, with 5; values given on a log scale must be natural logarithms); or
            ``quantile``, bins of each cell's own values.
        pooling
            State of a cell: ``mean`` or ``max`` of its genes (visible zeros left out), or that of ``cls``.
        """

        head_width: int | None = None
        num_features: int | None = None
        redraw_every: int | None = 1000
        bins: Literal["rounded", "quantile"] = "rounded"
        pooling: Pooling = "mean"

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("head_width", "num_features", "redraw_every"):
                value = getattr(self, name)
                require(value is None or value >= 1, f"{name}: got {value}; give at least 1, or leave it out")

        def build(self, width: int) -> PackedBlocks:
            """The stack of Performer blocks of these sizes."""
            return PackedPerformer(*self.sizes(width), self.num_features, self.redraw_every, head_width=self.head_width)

    def __init__(self, config: Config, *, width: int, num_bins: int, **_: Any) -> None:
        super().__init__()
        self.config, self.num_bins = config, num_bins
        self.values = nn.Embedding(NUM_SPECIAL + num_bins + 1, width)
        nn.init.normal_(self.values.weight, std=0.02)  # BERT's; rows as long as the genes' drown them at the start
        self.trunk = config.build(width)

    def value_ids(self, batch: PackedTokens) -> Tensor:
        """Row of each token among values, int64 ``[T]``: its class past the special ids; MASK where hidden."""
        if self.config.bins == "quantile":
            class_T = batch.bins_T
        else:
            class_T = rounded_bins(batch.values_T.masked_fill(batch.hidden_T, 0.0), self.num_bins)
        ids_T = (NUM_SPECIAL + class_T).masked_fill(batch.hidden_T, MASK_ID)
        # Where the name is hidden (MASK) the value is shown; CLS and PAD have none.
        special_T = (batch.feature_ids_T < NUM_SPECIAL) & (batch.feature_ids_T != MASK_ID)
        return torch.where(special_T, batch.feature_ids_T, ids_T)

    def inputs(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Gene row plus value row: ``[T, D]``."""
        return F.embedding(batch.feature_ids_T, features_VD) + self.values(self.value_ids(batch))

    def cells(self, batch: PackedTokens, tokens_TD: Tensor) -> Tensor:
        """See :func:`~grn_cotrain.nn.pooling.pool_cells`."""
        return pool_cells(batch, tokens_TD, self.config.pooling)
