"""Cell encoder ``geneformer``: a cell is its genes in the order of how far each is above its own median.

Dimension letters: C cells, G genes, T packed tokens, B cells of a batch, V vocabulary, D width, N ranked tokens.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require_number
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cell_blocks import Layout
from grn_cotrain.data.ranks import ranks_within_cells
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_sketch import FeatureValues, SketchedValues
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS, AttentionBias, CellStates, token_bias
from grn_cotrain.nn.cell_encoders.trunk import TrunkConfig, TrunkEncoder, prompted
from grn_cotrain.nn.packed_transformer import PackedTransformer
from grn_cotrain.nn.pooling import pool_cells
from grn_cotrain.nn.token_subset import only_tokens

__all__ = ["GeneformerEncoder", "corpus_medians"]

logger = logging.getLogger(__name__)

_PUBLISHED_RANKS = 2048  # longest published input, and the default of tokens.max_tokens


@CELL_ENCODERS.register("geneformer", paper="Theodoris et al. 2023, Geneformer")
class GeneformerEncoder(TrunkEncoder):
    r"""BERT over rank tokens: of a gene's value, only its rank within the cell is read.

    With counts :math:`u_{cg}` of a cell and their total :math:`n_c`, the corpus median is taken over the training cells
    that express the gene, and genes are ranked by what is left when it is divided out ("rank value encoding"):

    .. math:: m_g = \operatorname{median}\{10^4 u_{cg} / n_c : u_{cg} > 0\} \qquad
              r_{cg} = \operatorname{rank}_{\downarrow} \frac{10^4 u_{cg} / n_c}{m_g} \qquad
              x_t = \mathrm{LN}\left(e_{g(t)} + p_{r(t)}\right)

    ``e`` is the gene's row of the shared table (coupled with the graph), ``p`` a learned row for each rank. Ranks start
    at 1 for the highest ratio; ties go by feature id. ``values_T`` is on the log1p scale and is taken back by
    ``expm1`` before the division; **log-scale cells are treated alike**, as if they were log1p of normalised counts.
    Genes that no training cell expresses get the median of all medians, and are counted in the log. Features of all
    modalities are ranked together, each against its own median.

    Tokens without a rank: CLS (nothing is added), zero tokens (a "not expressed" row) and hidden values (an "unknown
    rank" row, the same for zeros; visible tokens are ranked among themselves, so that no gap reveals the hidden ones).
    A hidden *name* keeps the rank from :meth:`prepare_batch`, which must then run before names are hidden.

    The state of a cell is the mean over its gene tokens (zeros that are visible as such left out) of the second to
    last layer, or the state of CLS. One thing differs from the paper: CLS is a token among the genes here. A cell of
    more than ``tokens.max_tokens`` loses its lowest ranks, in training and after it (``cut``).

    Parameters
    ----------
    num_layers, num_heads, ffn_multiplier, dropout, norm, activation, max_ranks, pooling, cell_layer, cut
        See :class:`Config`; the defaults are the published ones (6 layers of width 256: 10 million weights).
    """

    median_G: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkConfig):
        """Settings of :class:`GeneformerEncoder`.

        Attributes
        ----------
        num_layers
            Transformer blocks.
        num_heads
            Attention heads; null: one per 64 columns, as published.
        ffn_multiplier
            Hidden width of the feed-forward part over the model's width.
        dropout
            Share of units dropped after each sub-layer in training.
        norm
            ``post``: norms follow each sub-layer, as in BERT; ``pre``: they precede it, which is easier to train deep.
        activation
            Activation of the feed-forward part: ``relu`` or ``gelu``.
        max_ranks
            Ranks with a row of their own; later ones share the last. Null: 2,048, or the number of features if fewer.
        pooling
            State of a cell: ``mean`` of its gene tokens, or that of ``cls``.
        cell_layer
            Layer whose states make the cell's: -2, the last but one, or -1. Token states are always the last layer's.
        cut
            Tokens that a cell of more than ``tokens.max_tokens`` keeps: ``ranked``, its first ranks (published), or
            ``sampled``, as for other encoders: values drawn at random in training, the highest at evaluation.
        """

        num_layers: int = 6
        ffn_multiplier: float = 2.0
        dropout: float = 0.02
        norm: Literal["post", "pre"] = "post"
        activation: Literal["relu", "gelu"] = "relu"
        max_ranks: int | None = None
        pooling: Literal["mean", "cls"] = "mean"
        cell_layer: int = -2
        cut: Literal["ranked", "sampled"] = "ranked"

        def __post_init__(self) -> None:
            super().__post_init__()
            require_number(self, "max_ranks", "at least 1, or leave it out", lambda value: value >= 1)
            if self.cell_layer not in (-2, -1):
                raise UserError(f"cell_layer: got {self.cell_layer}; give -2 (the last but one) or -1 (the last)")
            if self.cell_layer == -2 and self.num_layers < 2:
                raise UserError(
                    f"cell_layer: got -2 with num_layers {self.num_layers}, where no gene has read another yet;"
                    " give -1, or 2 layers"
                )

        def build(self, width: int) -> PackedTransformer:
            """The stack of blocks of these sizes."""
            return PackedTransformer(*self.sizes(width), post_norm=self.norm == "post", activation=self.activation)

    def __init__(self, config: Config, *, width: int, num_genes: int, **_: Any) -> None:
        super().__init__()
        self.config = config
        self.max_ranks = config.max_ranks or max(1, min(_PUBLISHED_RANKS, num_genes))
        self.unknown, self.not_expressed = self.max_ranks, self.max_ranks + 1
        self.ranks = nn.Embedding(self.max_ranks + 2, width)  # 1..max_ranks, unknown rank, not expressed
        nn.init.normal_(self.ranks.weight, std=0.02)
        self.norm = nn.LayerNorm(width)
        self.trunk = config.build(width)
        self.register_buffer("median_G", torch.ones(num_genes))

    def pinned_options(self) -> dict[str, Any]:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        return {"max_ranks": self.max_ranks}

    def keep_weights(self) -> Tensor | None:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`; what is kept are the first ranks."""
        return 1.0 / self.median_G.double() if self.config.cut == "ranked" else None

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        del config
        return frozenset({FeatureValues()})

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take the corpus medians of the training cells; they are saved with the weights."""
        median_G, num_unseen = corpus_medians(statistics[FeatureValues()], statistics.layout)
        if num_unseen:
            logger.info(
                "geneformer: %s of %s features have no value in the training cells; their median is the median of all",
                f"{num_unseen:,}",
                f"{len(median_G):,}",
            )
        self.median_G.copy_(torch.from_numpy(median_G))

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        """Rank the visible non-zero tokens of each cell, where ``ranks_T`` is not there yet; 0 is "no rank".

        Raises
        ------
        ValueError
            Names are hidden already: their medians are no longer known.
        """
        if batch.ranks_T is not None:
            return batch
        if bool((batch.feature_ids_T == MASK_ID).any()):
            raise ValueError("names are hidden and ranks_T is None: call prepare_batch before hide_names")
        ranked_N = self._rankable(batch)
        ids_N = batch.feature_ids_T[ranked_N]
        # Divided in float64: a ratio must not depend on which of two roundings came first.
        ratio_N = torch.expm1(batch.values_T[ranked_N].double()) / self.median_G[ids_N - NUM_SPECIAL].double()
        return replace(batch, ranks_T=_ranks(batch, ranked_N, ratio_N))

    @staticmethod
    def _rankable(batch: PackedTokens) -> Tensor:
        """Positions of gene tokens (hidden names too) with a visible value that is not zero."""
        is_gene_T = (batch.feature_ids_T >= NUM_SPECIAL) | (batch.feature_ids_T == MASK_ID)
        return torch.nonzero(is_gene_T & ~batch.hidden_T & (batch.values_T != 0)).squeeze(1)

    def inputs(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Gene row plus rank row, normalised: ``[T, D]``."""
        ranks_T = self.prepare_batch(batch).ranks_T
        assert ranks_T is not None
        if batch.masked_T is not None and batch.ranks_T is not None:
            # Ranks may have been taken before values were hidden: close the gaps that the hidden ones left.
            ranked_N = self._rankable(batch)
            ranks_T = _ranks(batch, ranked_N, -ranks_T[ranked_N])
        ids_T = batch.feature_ids_T
        row_T = (ranks_T - 1).clamp(0, self.max_ranks - 1)
        row_T = torch.where(ranks_T == 0, self.unknown, row_T)
        row_T = torch.where(batch.values_T == 0, self.not_expressed, row_T)
        row_T = torch.where(batch.hidden_T, self.unknown, row_T)  # last: a hidden zero must look like others
        special_T = (ids_T < NUM_SPECIAL) & (ids_T != MASK_ID)
        rank_TD = self.ranks(row_T).masked_fill(special_T[:, None], 0.0)
        return self.norm(F.embedding(ids_T, features_VD) + rank_TD)

    def forward(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        inputs_TD = prompted(batch, self.gained(batch, features_VD))
        before_TD, tokens_TD = self.trunk.two_last(inputs_TD, batch.cu_lens, batch.max_len, token_bias(batch, bias))
        read_TD = tokens_TD if self.config.cell_layer == -1 else self.trunk.final_norm(before_TD)

        def pooled(left_out_T: Tensor) -> Tensor:
            return pool_cells(only_tokens(batch, ~left_out_T), read_TD[~left_out_T], self.config.pooling)

        return CellStates(tokens_TD, pool_cells(batch, read_TD, self.config.pooling), pooled)


def _ranks(batch: PackedTokens, ranked_N: Tensor, score_N: Tensor) -> Tensor:
    ranks_T = torch.zeros_like(batch.feature_ids_T)
    ids_N = batch.feature_ids_T[ranked_N]
    ranks_T[ranked_N] = ranks_within_cells(score_N, batch.cell_of_token_T[ranked_N], ids_N)
    return ranks_T


def corpus_medians(values: SketchedValues, layout: Layout) -> tuple[np.ndarray, int]:
    """Median of each gene's non-zero values on the linear scale, and for how many genes there is none.

    Parameters
    ----------
    values
        Order statistics of log1p of normalised counts: training cells only.
    layout
        Assay of each feature.

    Returns
    -------
    median_G
        float32, counts per ten thousand; genes without a value have the median of the medians of their assay (1 if that
        has no value at all).
    num_unseen
        Genes without a value.
    """
    seen_N = np.flatnonzero(values.count_G)
    count_N = values.count_G[seen_N]
    low_N, high_N = (
        np.expm1(values.at(seen_N, rank_N).astype(np.float64)) for rank_N in ((count_N - 1) // 2, count_N // 2)
    )
    median_G = np.ones(len(values.count_G))
    median_G[seen_N] = (low_N + high_N) / 2
    for assay in range(len(layout.assays)):
        mine_G = layout.assay_G == assay
        unseen_G = mine_G & (values.count_G == 0)
        known_N = median_G[mine_G & ~unseen_G]
        median_G[unseen_G] = np.median(known_N) if len(known_N) else 1.0
    return median_G.astype(np.float32), len(median_G) - len(seen_N)
