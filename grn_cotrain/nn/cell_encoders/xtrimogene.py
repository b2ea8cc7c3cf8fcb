"""Cell encoder ``xtrimogene``: only visible non-zero genes are encoded; all others are decoded from them.

Dimension letters: T packed tokens, M tokens that the encoder reads, V vocabulary, D width, R rank of the attention
bias, P rows that stand for cells, B cells, L tokens of one cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.config import require, require_number
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import NOTHING, Need, Statistics
from grn_cotrain.data.value_sketch import PooledValues
from grn_cotrain.data.vocab import CLS_ID
from grn_cotrain.errors import UserError
from grn_cotrain.nn.auto_discretisation import (
    ValueEmbedding,
    ValueKind,
    build_value_embedding,
    embedding_reads_cells,
)
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS, AttentionBias, CellEncoder, CellStates
from grn_cotrain.nn.packed_transformer import Activation, PackedTransformer, chosen_layers, default_num_heads
from grn_cotrain.nn.token_subset import TokenSubset
from grn_cotrain.nn.value_decoders import CrossDecoder, Decoded, Encoded, FullLengthDecoder, LatentDecoder, ValueDecoder

__all__ = ["FORMS", "Form", "XTrimoGeneEncoder"]


@dataclass(frozen=True)
class Form:
    """Sizes of one form of decoder where a recipe names none, and the options that it reads.

    Attributes
    ----------
    num_layers
        Full-attention blocks over visible tokens.
    decoder_layers
        Layers of the decoder; None: half of ``num_layers``.
    num_latents, latent_layers
        N, and blocks among latents; 0: the form has none.
    decode_visible
        Whether visible non-zeros ask the decoder too.
    """

    num_layers: int
    decoder_layers: int | None
    num_latents: int = 0
    latent_layers: int = 0
    decode_visible: bool = False


FORMS: Mapping[str, Form] = {
    "published": Form(num_layers=6, decoder_layers=None),
    "A": Form(num_layers=6, decoder_layers=2),
    "D2": Form(num_layers=2, decoder_layers=1, num_latents=128, latent_layers=4),
    "D1": Form(num_layers=1, decoder_layers=1, num_latents=256, latent_layers=5),
    "C": Form(num_layers=0, decoder_layers=1, num_latents=128, latent_layers=6, decode_visible=True),
}
"""Defaults of each ``decoder``."""


@CELL_ENCODERS.register("xtrimogene", paper="Gong et al. 2023, xTrimoGene; latents: Jaegle et al. 2021, Perceiver IO")
class XTrimoGeneEncoder(CellEncoder):
    r"""Asymmetric encoder-decoder: a deep encoder of visible non-zeros, a light decoder of what is asked.

    .. math::
        I = E + G, \quad I_{encoder} = \mathrm{Trm}(I), \quad I_{full} = W_p [G, x] + b_p, \quad
        I_{decoder} = \mathrm{Performer}(I_{full})

    (equations 1 to 4). ``G`` are gene rows and ``E`` auto-discretised values, ``T softmax(W2 v2 + alpha v2)`` with
    ``v2 = LeakyReLU(v w1)`` (:class:`~grn_cotrain.nn.auto_discretisation.AutoDiscretisation`); ``x`` is the encoder's
    state of a visible non-zero, and elsewhere a learned vector, ``z`` of zeros or ``m`` of hidden values. The encoder
    reads CLS (not in the paper) and visible non-zeros, never a zero or a hidden token: a tenth of the genes, so full
    attention is affordable. Blocks are pre-norm unless ``norm`` changes it. The modality is read through the
    feature's own row alone.

    ``decoder`` defines how the others get a state:

    ============= ===================================================================== ============================
    form          encoder                                                               decoder
    ============= ===================================================================== ============================
    ``published`` blocks of full attention                                              Performer over every token
    ``A``         the same                                                              hidden tokens read the visible
    ``D2``        2 blocks, then 128 latents read the tokens and have 4 blocks          hidden tokens read the latents
    ``D1``        1 block, then 256 latents with 5 blocks                               the same
    ``C``         tokens are read once into 128 latents with 6 blocks                   the same
    ============= ===================================================================== ============================

    Form A with ``num_layers: 1, decoder_layers: 1`` is the cheapest that is as good as A in the study of decoders
    (``experiments/RESULTS.md``: "A1"); the forms with latents are not, at few steps.

    ``published`` needs ``tokens: {zeros_per_cell: all}`` to be what was published; it runs on fewer tokens too. In the
    other forms asked tokens do not see each other, so asking for some genes in training and for all of them later is
    the same function. A state is returned for every token. Visible non-zeros: the encoder's (with latents, see
    ``decode_visible``). Hidden values: the decoder's. Visible zeros: the decoder's if ``published`` or
    ``decode_zeros``, else gene row plus ``z``.

    The coupling's attention bias enters where genes read genes by full attention: in the encoder's blocks and in
    the decoder of form A; form C has no such place and refuses it. Read-outs (:meth:`attention`) number the encoder's
    blocks first, then the decoder's layers; a row is the mean over those chosen layers in which its token reads.

    Published sizes: 19,264 genes, 100 bins, decoder at half the depth and two thirds of the heads. The paper's 100M is
    the size at which scFoundation (Hao et al. 2024) was released; the rows of 3M and 10M in its appendix are not
    available, so these keep its ratios and meet its numbers of parameters, the gene table included:

    ====== ===== ========== ========= ================================ =======================================
    size   width num_layers num_heads decoder: width, layers and heads parameters, of which the gene table
    ====== ===== ========== ========= ================================ =======================================
    3M     96    8          6         64, 4, 4                         3.0M, 1.8M
    10M    192   12         6         128, 6, 4                        10.3M, 3.7M
    100M   768   12         12        512, 6, 8                        120.0M, 14.8M
    ====== ===== ========== ========= ================================ =======================================

    Parameters
    ----------
    decoder, num_layers, num_heads, ffn_multiplier, dropout, values, value_bins, alpha, offsets, slope, norm,
    activation, decoder_layers, decoder_width, num_features, num_latents, latent_layers, decode_zeros, decode_visible,
    pooling
        See :class:`Config`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`XTrimoGeneEncoder`.

        Attributes
        ----------
        decoder
            Form of the decoder: ``published``, ``A``, ``D2``, ``D1`` or ``C``.
        num_layers
            Blocks of full attention over visible tokens; null: 6, with D2 2, with D1 1, with C 0.
        num_heads
            Attention heads; null: one per 64 columns. The published decoder has two thirds of them, equally wide.
        ffn_multiplier
            Hidden width of the feed-forward part over the width.
        dropout
            Share of units dropped after each sub-layer in training.
        values
            How values become vectors: ``auto`` (auto-discretisation), or its ablations ``round`` (nearest whole
            number; what rounds to 0 is a zero), ``up`` (next whole number; 0 for zeros alone), ``equal`` (equally full
            bins of the training cells' values).
        value_bins
            Bins K of these.
        alpha
            Scaling mixture factor of auto-discretisation.
        offsets, slope
            Options of auto-discretisation: whether its two maps have offsets (the paper: no; released with
            scFoundation: yes), and the slope of its leaky ReLU below 0 (the paper gives none; released: 0.1).
        norm
            ``pre``: norms precede each sub-layer of the encoder's blocks; ``post``: they follow it, as in the blocks
            that scFoundation released (which end in one more norm).
        activation
            Activation of the encoder's feed-forward blocks: ``gelu``, or ``relu`` as released with scFoundation.
        decoder_layers
            Layers of the decoder; null: published half of ``num_layers``, A 2, with latents 1.
        decoder_width
            Width of the published decoder; null: its heads times the width of one.
        num_features
            Random features of the published decoder's attention; null: K log K for heads of width K.
        num_latents
            Latents of a cell; null: D2 and C 128, D1 256.
        latent_layers
            Blocks among latents; null: D2 4, D1 5, C 6.
        decode_zeros
            Ask for visible zeros too (``published`` always does).
        decode_visible
            Let visible non-zeros ask the latents for their state; null: true with C, whose tokens see nothing else.
            False saves up to half of C's training where only hidden values and the cell's state are wanted.
        pooling
            State of a cell: its CLS, or ``max`` (as published for annotation) or ``mean`` over what the encoder read
            (with latents: over them).
        """

        decoder: Literal["published", "A", "D2", "D1", "C"] = "published"
        num_layers: int | None = None
        num_heads: int | None = None
        ffn_multiplier: float = 4.0
        dropout: float = 0.0
        values: ValueKind = "auto"
        value_bins: int = 100
        alpha: float = 1.0
        offsets: bool = False
        slope: float = 0.01
        norm: Literal["pre", "post"] = "pre"
        activation: Activation = "gelu"
        decoder_layers: int | None = None
        decoder_width: int | None = None
        num_features: int | None = None
        num_latents: int | None = None
        latent_layers: int | None = None
        decode_zeros: bool = False
        decode_visible: bool | None = None
        pooling: Literal["cls", "max", "mean"] = "cls"

        def __post_init__(self) -> None:
            form = FORMS[self.decoder]
            for name in ("num_heads", "decoder_layers", "decoder_width", "num_features", "num_latents"):
                require_number(self, name, "at least 1, or leave it out", lambda value: value >= 1)
            require_number(self, "latent_layers", "0 or more, or leave it out", lambda value: value >= 0)
            require_number(self, "value_bins", "at least 2", lambda value: value >= 2)
            require_number(self, "ffn_multiplier", "a positive number", lambda value: value > 0)
            require_number(self, "dropout", "a share in [0, 1)", lambda value: 0 <= value < 1)
            require_number(self, "slope", "0 or more", lambda value: value >= 0)
            for name, default in (("offsets", False), ("slope", 0.01)):
                value = getattr(self, name)
                fits = self.values == "auto" or value == default
                require(fits, f"{name}: got {value}, which is of values: auto; leave it out")
            if form.num_layers == 0:
                require_number(self, "num_layers", "0 with decoder C, or choose D1", lambda value: value == 0)
            require_number(self, "num_layers", "at least 1", lambda value: value >= (1 if form.num_layers else 0))
            absent = [] if self.decoder == "published" else ["decoder_width", "num_features"]
            absent += [] if form.num_latents else ["num_latents", "latent_layers", "decode_visible"]
            for name in absent:
                value = getattr(self, name)
                require(value is None, f"{name}: got {value}, which decoder {self.decoder} does not read; leave it out")

        @property
        def form(self) -> Form:
            """The sizes in force: those named here, else the form's own."""
            default = FORMS[self.decoder]
            num_layers = default.num_layers if self.num_layers is None else self.num_layers
            return Form(
                num_layers=num_layers,
                decoder_layers=self.decoder_layers or default.decoder_layers or max(1, num_layers // 2),
                num_latents=self.num_latents or default.num_latents,
                latent_layers=default.latent_layers if self.latent_layers is None else self.latent_layers,
                decode_visible=default.decode_visible if self.decode_visible is None else self.decode_visible,
            )

        @property
        def reads_values(self) -> bool:
            """Whether the embedding of values depends on the training cells."""
            return embedding_reads_cells(self.values)

        def build_values(self, width: int) -> ValueEmbedding:
            """The embedding of values of these settings."""
            return build_value_embedding(
                self.values, width, self.value_bins, self.alpha, offsets=self.offsets, slope=self.slope
            )

        def build_decoder(self, width: int, num_heads: int) -> ValueDecoder:
            """The decoder of these sizes."""
            form, ffn_width = self.form, max(1, round(self.ffn_multiplier * width))
            assert form.decoder_layers is not None
            if self.decoder == "published":
                heads = max(1, round(num_heads * 2 / 3))
                decoder_width = self.decoder_width or heads * (width // num_heads)
                while decoder_width % heads:
                    heads -= 1
                return FullLengthDecoder(
                    width,
                    decoder_width=decoder_width,
                    num_layers=form.decoder_layers,
                    num_heads=heads,
                    ffn_width=max(1, round(self.ffn_multiplier * decoder_width)),
                    dropout=self.dropout,
                    num_features=self.num_features,
                )
            if form.num_latents == 0:
                return CrossDecoder(
                    width,
                    num_layers=form.decoder_layers,
                    num_heads=num_heads,
                    ffn_width=ffn_width,
                    dropout=self.dropout,
                    decode_zeros=self.decode_zeros,
                )
            return LatentDecoder(
                width,
                num_latents=form.num_latents,
                latent_layers=form.latent_layers,
                num_layers=form.decoder_layers,
                num_heads=num_heads,
                ffn_width=ffn_width,
                dropout=self.dropout,
                decode_zeros=self.decode_zeros,
                decode_visible=form.decode_visible,
            )

    config: Config

    def __init__(self, config: Config, *, width: int, **_: Any) -> None:
        super().__init__()
        self.config = config
        num_heads = config.num_heads or default_num_heads(width)
        self.values = config.build_values(width)
        self.trunk = PackedTransformer(
            width,
            config.form.num_layers,
            num_heads,
            max(1, round(config.ffn_multiplier * width)),
            config.dropout,
            post_norm=config.norm == "post",
            activation=config.activation,
        )
        self.decoder = config.build_decoder(width, num_heads)

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        return frozenset({PooledValues()}) if config.reads_values else NOTHING

    def prepare(self, statistics: Statistics) -> None:
        """Show the values of these cells to the value embedding, for bins that depend on them."""
        if self.config.reads_values:
            self.values.prepare(statistics[PooledValues()].pooled(statistics.reads))

    def forward(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """See :class:`CellEncoder`."""
        decoded = self.decoder(self.encode(batch, features_VD, bias))
        return CellStates(
            decoded.tokens_TD,
            self.cells(batch, decoded),
            lambda left_out_T: self.cells(batch, decoded.without(left_out_T)),
        )

    def cells(self, batch: PackedTokens, decoded: Decoded) -> Tensor:
        """State of every cell: ``[B, D]``."""
        if self.config.pooling == "cls":
            return decoded.tokens_TD[batch.cls_positions_B]
        return torch.segment_reduce(
            decoded.summary_PD, self.config.pooling, lengths=decoded.summary_cu.diff().long(), axis=0
        )

    def reads(self, batch: PackedTokens) -> Tensor:
        """bool ``[T]``: CLS, and values that are neither hidden nor zero."""
        return (batch.feature_ids_T == CLS_ID) | ((batch.values_T != 0) & ~batch.hidden_T)

    def embed_values(self, batch: PackedTokens, where_M: Tensor) -> Tensor:
        """Value vectors ``[M, D]`` of tokens that the encoder reads; CLS has none."""
        is_cls_M = batch.feature_ids_T[where_M] == CLS_ID
        values_MD = self.values(batch.values_T[where_M]).masked_fill(is_cls_M[:, None], 0.0)
        return values_MD if batch.gain_T is None else values_MD * batch.gain_T[where_M][:, None]

    def encode(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None) -> Encoded:
        """Run the encoder: its tokens are gathered once and packed, and no other token is touched."""
        rows_TD, read, inputs_MD, bias_MR = self._inputs(batch, features_VD, bias)
        states_MD = self.trunk(inputs_MD, read.cu_lens, read.max_len, bias_MR)
        return Encoded(batch, bias, rows_TD, read, states_MD, self.values.zero_D, self.values.mask_D)

    def _inputs(
        self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None
    ) -> tuple[Tensor, TokenSubset, Tensor, tuple[Tensor, Tensor] | None]:
        """Rows of all tokens; which are read, what the first block reads of them, and their factors of the bias."""
        if bias is not None and len(self.trunk.blocks) == 0:
            raise UserError(
                f"decoder: {self.config.decoder} lets no gene read a gene, so the coupling's attention bias has nowhere"
                " to enter; choose another decoder (D1) or another coupling"
            )
        rows_TD = F.embedding(batch.feature_ids_T, features_VD)
        read = TokenSubset.of(batch, self.reads(batch))
        inputs_MD = rows_TD.index_select(0, read.where_M) + self.embed_values(batch, read.where_M)
        ids_M = batch.feature_ids_T[read.where_M]
        bias_MR = None if bias is None else (F.embedding(ids_M, bias.query_VR), F.embedding(ids_M, bias.key_VR))
        return rows_TD, read, inputs_MD, bias_MR

    @torch.no_grad()
    def attention(
        self,
        batch: PackedTokens,
        features_VD: Tensor,
        bias: AttentionBias | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """See :class:`CellEncoder`; layers are numbered through encoder and decoder."""
        depth = len(self.trunk.blocks)
        chosen = chosen_layers(layers, depth + self.decoder.num_layers)
        own = frozenset(layer for layer in chosen if layer < depth)
        theirs = frozenset(layer - depth for layer in chosen - own)
        _, read, inputs_MD, bias_MR = self._inputs(batch, features_VD, bias)
        encoder = self.trunk.attention(inputs_MD, read.cu_lens, bias_MR, layers=sorted(own)) if own else None
        decoder = self.decoder.attention(self.encode(batch, features_VD, bias), theirs) if theirs else None
        places = read.places(batch)
        for cell, length in enumerate(batch.cu_lens.diff().tolist()):
            total_LL = features_VD.new_zeros(length, length, dtype=torch.float32)
            count_L = total_LL.new_zeros(length)
            readouts = [] if encoder is None else [(places[cell], places[cell], next(encoder), len(own))]
            if decoder is not None:
                readouts.append((*next(decoder), len(theirs)))
            for rows_Q, columns_M, share_QM, num_layers in readouts:
                total_LL[rows_Q[:, None], columns_M] += num_layers * share_QM
                count_L[rows_Q] += num_layers
            yield total_LL / count_L.clamp_min(1)[:, None]
