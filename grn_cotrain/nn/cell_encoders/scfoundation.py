"""Cell encoder ``scfoundation``: xTrimoGene that reads the read depth of its input and of its target.

Dimension letters: T packed tokens of a batch, X the same and two more a cell, M tokens that the encoder reads,
V vocabulary, D width, R rank of the attention bias, B cells, L tokens of one cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_sketch import DepthValues
from grn_cotrain.nn.cell_encoders.base import CELL_ENCODERS, AttentionBias, CellStates
from grn_cotrain.nn.cell_encoders.xtrimogene import XTrimoGeneEncoder
from grn_cotrain.nn.value_decoders import Decoded

__all__ = ["ScFoundationEncoder", "log_depth"]


@CELL_ENCODERS.register("scfoundation", paper="Hao et al. 2024, scFoundation; Gong et al. 2023, xTrimoGene")
class ScFoundationEncoder(XTrimoGeneEncoder):
    r"""xTrimoGene with two more tokens a cell: T, the depth to predict at, and S, the depth of what is shown.

    .. math::
        x_T = g_T + E'\left(\log(1 + \sum_g y_g)\right), \qquad x_S = g_S + E'\left(\log(1 + \sum_g x_g)\right)

    with ``y`` the target's and ``x`` the source's raw counts, learned names ``g_T, g_S`` and ``E'`` a value embedding
    like that of genes. Both are visible tokens: the encoder reads them among the genes, and so does the published
    decoder. Depths are natural logarithms (the paper's are decimal: another scale of ``w_1``). The model learns that
    values are those of a cell of depth T, so asking with a higher T than S, by ``batch.depth_B2``, asks for the values
    of a deeper cell. Without ``depth_B2`` both are the cell's ``total_B``; where that is not known either (values on a
    log scale; NaN), a learned vector marks it.

    Everything else, and all options, is as in :class:`~grn_cotrain.nn.cell_encoders.xtrimogene.XTrimoGeneEncoder`.
    The released model has ``norm: post, activation: relu, offsets: true, slope: 0.1``; the defaults are those of the
    papers. Published size: 100M there (768 wide, 12 blocks, 12 heads; decoder 512 wide, 6 blocks, 8 heads).

    Parameters
    ----------
    decoder, num_layers, num_heads, ffn_multiplier, dropout, values, value_bins, alpha, offsets, slope, norm,
    activation, decoder_layers, decoder_width, num_features, num_latents, latent_layers, decode_zeros, decode_visible,
    pooling
        See :class:`Config`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(XTrimoGeneEncoder.Config):
        """Settings of :class:`ScFoundationEncoder`; the others are those of ``xtrimogene``.

        Attributes
        ----------
        pooling
            State of a cell: its CLS, ``max`` or ``mean`` over what the encoder read (with latents: over them), or
            ``all``: a linear map of the states of T and S and the largest and mean of the genes that the encoder read
            (with latents: of these), joined, which scFoundation hands to downstream tasks.
        """

        pooling: Literal["cls", "max", "mean", "all"] = "cls"  # type: ignore[assignment]

    config: Config

    def __init__(self, config: Config, *, width: int, **sizes: Any) -> None:
        super().__init__(config, width=width, **sizes)
        self.depth_rows_2D = nn.Parameter(torch.randn(2, width))
        self.unknown_depth_D = nn.Parameter(torch.randn(width))
        self.depth = config.build_values(width)
        # Depths are never zero nor hidden.
        self.depth.zero_row_D = self.depth.mask_D = None  # type: ignore[assignment]
        self.cell_map = nn.Linear(4 * width, width) if config.pooling == "all" else None

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """See :class:`~grn_cotrain.nn.cell_encoders.CellEncoder`."""
        return super().needs(config) | ({DepthValues()} if config.reads_values else frozenset())

    def prepare(self, statistics: Statistics) -> None:
        """Show values and depths of these cells to their embeddings."""
        super().prepare(statistics)
        counted = [place for place, _ in statistics.layout.with_reads() if place in statistics.reads]
        if self.config.reads_values and counted:  # the first of them: the depth that a batch knows
            self.depth.prepare(statistics[DepthValues()].pooled(counted[:1]))

    def forward(self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """See :class:`CellEncoder`."""
        deeper, features_XD, bias, kept_T = self._with_depth(batch, features_VD, bias)
        states = super().forward(deeper, features_XD, bias)

        def pooled(left_out_T: Tensor) -> Tensor:
            left_out_X = torch.zeros_like(deeper.feature_ids_T, dtype=torch.bool)
            return states.cells_without(left_out_X.index_copy(0, kept_T, left_out_T))

        return CellStates(states.tokens_TD[kept_T], states.cells_BD, pooled)

    @torch.no_grad()
    def attention(
        self,
        batch: PackedTokens,
        features_VD: Tensor,
        bias: AttentionBias | None = None,
        *,
        layers: Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """See :class:`CellEncoder`; what goes to T and S is left out, and rows sum to 1 without it."""
        deeper, features_XD, bias, _ = self._with_depth(batch, features_VD, bias)
        for share_XX in super().attention(deeper, features_XD, bias, layers=layers):
            share_LL = share_XX[:-2, :-2]
            sums_L1 = share_LL.sum(1, keepdim=True)
            yield share_LL / torch.where(sums_L1 > 0, sums_L1, 1.0)

    def cells(self, batch: PackedTokens, decoded: Decoded) -> Tensor:
        """State of every cell: ``[B, D]``."""
        if self.cell_map is None:
            return super().cells(batch, decoded)
        ends_B, lengths_B = batch.cu_lens[1:].long(), decoded.summary_cu.diff().long()
        summary_PD = decoded.summary_PD
        if self.config.form.num_latents == 0:  # CLS, genes, T and S of each cell: the genes alone, where there are any
            cell_P = torch.repeat_interleave(torch.arange(len(lengths_B), device=lengths_B.device), lengths_B)
            rank_P = torch.arange(len(cell_P), device=cell_P.device) - decoded.summary_cu[:-1].long()[cell_P]
            is_gene_P = (rank_P >= 1) & (rank_P < lengths_B[cell_P] - 2)
            kept_P = is_gene_P | (lengths_B == 3)[cell_P]
            summary_PD, lengths_B = summary_PD[kept_P], torch.bincount(cell_P[kept_P], minlength=len(lengths_B))
        parts = [decoded.tokens_TD[ends_B - 2], decoded.tokens_TD[ends_B - 1]]
        parts += [torch.segment_reduce(summary_PD, how, lengths=lengths_B, axis=0) for how in ("max", "mean")]
        cells_BD: Tensor = self.cell_map(torch.cat(parts, dim=1))
        return cells_BD

    def reads(self, batch: PackedTokens) -> Tensor:
        """bool ``[X]``: CLS, T, S, and values that are neither hidden nor zero."""
        return super().reads(batch) | self._is_depth(batch)

    def embed_values(self, batch: PackedTokens, where_M: Tensor) -> Tensor:
        """Value vectors ``[M, D]``; those of T and S have an embedding of their own."""
        is_depth_M = self._is_depth(batch)[where_M]
        # A depth is not an expression value, and NaN where it is not known.
        genes = replace(batch, values_T=batch.values_T.masked_fill(self._is_depth(batch), 0.0))
        rows_MD = super().embed_values(genes, where_M)
        depth_N = batch.values_T[where_M[is_depth_M]]
        known_N = torch.isfinite(depth_N)
        depth_ND = self.depth(depth_N.masked_fill(~known_N, 0.0))
        depth_ND = torch.where(known_N[:, None], depth_ND, self.unknown_depth_D)
        return rows_MD.index_copy(0, torch.nonzero(is_depth_M).squeeze(1), depth_ND.to(rows_MD.dtype))

    @staticmethod
    def _is_depth(batch: PackedTokens) -> Tensor:
        """bool ``[X]``: the last two tokens of every cell."""
        ends_B = batch.cu_lens[1:].long()
        is_depth_X = torch.zeros_like(batch.feature_ids_T, dtype=torch.bool)
        return is_depth_X.index_fill_(0, torch.cat([ends_B - 2, ends_B - 1]), True)

    def _with_depth(
        self, batch: PackedTokens, features_VD: Tensor, bias: AttentionBias | None
    ) -> tuple[PackedTokens, Tensor, AttentionBias | None, Tensor]:
        """The batch with T and S at the end of every cell, rows for their names, and where the other tokens went."""
        num_features, num_cells = len(features_VD), batch.num_cells
        cell_T, cells_B = batch.cell_of_token_T, torch.arange(num_cells, device=features_VD.device)
        kept_T = torch.arange(batch.num_tokens, device=cell_T.device) + 2 * cell_T
        ends_B = batch.cu_lens[1:].long() + 2 * cells_B
        depth_2B = torch.cat([ends_B, ends_B + 1])

        def extended(old_T: Tensor, new_2B: Tensor | float) -> Tensor:
            new_X = old_T.new_empty(batch.num_tokens + 2 * num_cells)
            new_X[kept_T], new_X[depth_2B] = old_T, torch.as_tensor(new_2B, dtype=old_T.dtype, device=old_T.device)
            return new_X

        zeros: dict[str, Any] = {
            name: extended(tensor, 0)
            for name in ("bins_T", "modality_T", "masked_T", "modality_hidden_T", "ranks_T", "gain_T")
            if (tensor := getattr(batch, name)) is not None
        }
        deeper = replace(
            batch,
            feature_ids_T=extended(batch.feature_ids_T, num_features + torch.cat([0 * cells_B, 0 * cells_B + 1])),
            values_T=extended(batch.values_T, log_depth(batch).T.flatten()),
            cu_lens=batch.cu_lens + 2 * torch.arange(num_cells + 1, dtype=torch.int32, device=batch.cu_lens.device),
            max_len=batch.max_len + 2,
            **zeros,
        )
        features_XD = torch.cat([features_VD, self.depth_rows_2D.to(features_VD.dtype)])
        if bias is not None:  # like special tokens, T and S neither give nor receive one
            bias = AttentionBias(F.pad(bias.query_VR, (0, 0, 0, 2)), F.pad(bias.key_VR, (0, 0, 0, 2)))
        return deeper, features_XD, bias, kept_T


def log_depth(batch: PackedTokens) -> Tensor:
    """Natural logarithm of 1 + total counts of target and source, float32 ``[B, 2]``; NaN where not known."""
    if batch.depth_B2 is not None:
        return batch.depth_B2
    if batch.total_B is not None:
        return batch.total_B.log1p()[:, None].expand(-1, 2)
    return batch.values_T.new_full((batch.num_cells, 2), torch.nan)
