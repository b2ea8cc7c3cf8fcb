"""Cell encoder ``scgpt``: gene, value and condition summed; what is unknown is read by nobody but itself.

Dimension letters: T packed tokens, V vocabulary, D width, B cells, K value bins, L tokens of a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import CLS_ID, PAD_ID
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS, NO_COVARIATES, AttentionBias, CellStates, token_bias
from grn_cotrain.nn.cell_encoders.trunk import TrunkConfig, TrunkEncoder, prompted
from grn_cotrain.nn.condition_embedding import ConditionEmbedding
from grn_cotrain.nn.generative_attention import GenerativeTransformer, KnownKeys
from grn_cotrain.nn.packed_transformer import Activation

__all__ = ["ScGPTEncoder"]


@CELL_ENCODERS.register("scgpt", paper="Cui et al. 2024, scGPT (Nature Methods)")
class ScGPTEncoder(TrunkEncoder):
    r"""Transformer with generative attention over gene, value and condition embeddings (Cui et al. 2024, eq. 1-6).

    .. math:: x_t = \mathrm{LN}\left(\mathrm{emb}_g(g_t) + \mathrm{emb}_x(v_t) + \sum_k \mathrm{emb}_{c_k}\right),
        \qquad a_{ij} = \begin{cases} 0 & j \text{ known, or } i = j \\ -\infty & \text{else} \end{cases}

    ``emb_g`` is the gene's row of the shared table (coupled with the graph). ``emb_x`` reads the value: a small network
    on the number of the bin, which keeps the bins' order (published), a row for each bin, or a network on the value
    itself. A hidden value has one learned vector. ``emb_c`` is the row of the cell's category of each of
    ``tokens.covariates``. ``a`` is added to the attention logits: *known* tokens (CLS, and genes with a visible value)
    are read by all, *unknown* ones by themselves alone. So the state of a known gene does not depend on what is asked,
    that of an unknown gene not on what else is; values may then be generated in rounds, as text is word by word. No
    mask matrix is built: see :func:`~grn_cotrain.nn.generative_attention.generative_attention`.

    Conditions are added to every gene token and not to CLS, at the input as in the equation (``conditions: input``), or
    to the states of the genes after the last block (``output``). The paper keeps batch and modality out of the input in
    this way when it integrates: what predicts values knows the batch, and the state of CLS has no need to. (Published:
    concatenated; the first linear map of a head makes the same of a sum.)

    The cell's state is that of CLS. ``PackedTokens.prompt_BD`` stands in the place of CLS at the input, for
    cell-prompted generation. The modality is read through the feature's own row alone.

    Published size: ``width: 512``, 12 layers, 8 heads, ``ffn_multiplier: 1``, ``dropout: 0.2``, post-norm, ReLU, 51
    bins, up to 1,200 genes; its rows of genes and values are normalised one by one where here their sum is.
    Its objectives: ``generative``, ``gene_from_cell``, ``adversarial_covariate``.

    Parameters
    ----------
    num_layers, num_heads, ffn_multiplier, dropout, attention_mask, values, conditions, covariate_dropout, post_norm,
    activation
        See :class:`Config`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TrunkConfig):
        """Settings of :class:`ScGPTEncoder`.

        Attributes
        ----------
        num_layers
            Transformer blocks; published 12.
        num_heads
            Attention heads; null: one per 64 columns. Published 8.
        ffn_multiplier
            Hidden width of the feed-forward part over the model's width; published 1.
        dropout
            Share of units dropped after each sub-layer in training; published 0.2.
        attention_mask
            ``generative``: hidden genes are read by themselves alone; ``full``: by all, as in BERT.
        values
            ``ordinal``: a network on the bin's number (published); ``bins``: a row a bin; ``continuous``: a network on
            the value.
        conditions
            Where rows of covariates are added: to the ``input`` of gene tokens, or to their states at the ``output``.
        covariate_dropout
            Chance that a cell's category is taken for unknown in training, so that "unknown" has a meaning.
        post_norm
            Norms after each sub-layer (published) instead of before it.
        activation
            Activation of the feed-forward part: ``gelu``, or ``relu`` (published).
        """

        attention_mask: Literal["generative", "full"] = "generative"
        values: Literal["ordinal", "bins", "continuous"] = "ordinal"
        conditions: Literal["input", "output"] = "input"
        covariate_dropout: float = 0.1
        post_norm: bool = False
        activation: Activation = "gelu"

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.covariate_dropout < 1:
                raise UserError(f"covariate_dropout: got {self.covariate_dropout}; give a share in [0, 1)")

        def build(self, width: int) -> GenerativeTransformer:
            """The stack of blocks of these sizes."""
            return GenerativeTransformer(*self.sizes(width), post_norm=self.post_norm, activation=self.activation)

    def __init__(
        self, config: Config, *, width: int, num_bins: int, covariates: Mapping[str, int] = NO_COVARIATES, **_: Any
    ) -> None:
        super().__init__()
        self.config, self.num_bins = config, num_bins
        self.hidden_value_D = nn.Parameter(0.02 * torch.randn(width))
        if config.values == "bins":
            self.bins = nn.Embedding(num_bins + 1, width)
            nn.init.normal_(self.bins.weight, std=0.02)
        else:
            self.value_mlp = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width))
        self.conditions = (
            ConditionEmbedding(covariates, width, dropout=config.covariate_dropout) if covariates else None
        )
        self.norm = nn.LayerNorm(width)
        self.trunk: GenerativeTransformer = config.build(width)

    def inputs(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Gene, value and (by default) conditions, summed and normalised: ``[T, D]``."""
        ids_T = batch.feature_ids_T
        described_TD = torch.where(batch.hidden_T[:, None], self.hidden_value_D, self._values(batch))
        if self.conditions is not None and self.config.conditions == "input":
            described_TD = described_TD + self.conditions(batch)[batch.cell_of_token_T]
        is_gene_T = (ids_T != CLS_ID) & (ids_T != PAD_ID)
        return self.norm(F.embedding(ids_T, features_VD) + described_TD * is_gene_T[:, None])

    def _values(self, batch: PackedTokens) -> Tensor:
        """Embedding of each value, ``[T, D]``; that of hidden values does not depend on them."""
        bin_T = batch.bins_T.masked_fill(batch.hidden_T, 0)
        if self.config.values == "bins":
            return self.bins(bin_T)
        number_T = bin_T / self.num_bins
        if self.config.values == "continuous":
            number_T = batch.values_T.masked_fill(batch.hidden_T, 0.0)
        return self.value_mlp(number_T.to(self.hidden_value_D.dtype)[:, None])

    def forward(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        keys = KnownKeys.of(batch) if self.config.attention_mask == "generative" else None
        inputs_TD = prompted(batch, self.gained(batch, features_VD))
        tokens_TD = self.trunk.generate(inputs_TD, batch.cu_lens, batch.max_len, keys, token_bias(batch, bias))
        cells_BD = self.cells(batch, tokens_TD)  # states of CLS, to which no condition is added
        if self.conditions is not None and self.config.conditions == "output":
            is_gene_T = batch.feature_ids_T != CLS_ID
            tokens_TD = tokens_TD + self.conditions(batch)[batch.cell_of_token_T] * is_gene_T[:, None]
        return CellStates(tokens_TD, cells_BD)

    @torch.no_grad()
    def attention(
        self,
        batch: PackedTokens,
        features_VD: Tensor,
        bias: AttentionBias | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`; what may not be read has weight 0."""
        if self.config.attention_mask == "full" or batch.masked_T is None:
            yield from super().attention(batch, features_VD, bias, layers=layers)
            return
        inputs_TD = prompted(batch, self.inputs(batch, features_VD))
        yield from self.trunk.generative_weights(
            inputs_TD, batch.cu_lens, ~batch.masked_T, token_bias(batch, bias), layers=layers
        )
