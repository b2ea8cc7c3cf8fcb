"""Token = gene row, modulated by its value, plus value and modality embeddings.

Dimension letters: T packed tokens, V vocabulary (special tokens, then genes), G genes, D width, K value bins.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.value_statistics import ValueStatistics
from grn_cotrain.data.vocab import MASK_ID, NUM_SPECIAL

__all__ = ["TokenEmbedding"]

_CLIP = 5.0  # standardised values: beyond this a value only means "very high"


class TokenEmbedding(nn.Module):
    r"""Embed packed tokens; hidden values are never read.

    .. math:: x_t = e_{g(t)} \odot (1 + a(v_t)) + b(v_t) + m_{k(t)}

    ``a`` and ``b`` are functions of the value: rows of a table (``"bins"``: bins 0..K and a MASK row), or a small MLP
    on the value and on the value standardised per gene (``"continuous"``; hidden values get learned vectors instead).
    A hidden modality adds nothing; where the name is hidden (MASK) the value is shown as it is, its deviation as 0.
    The product lets one linear step read "loading times deviation", the sufficient statistic of factor analysis, which
    a sum of gene and value embeddings can express only through further layers. Special tokens carry no value.

    Parameters
    ----------
    width, num_bins, num_modalities
        D, K, and the number of modality rows.
    values
        ``"bins"`` or ``"continuous"``.
    num_genes
        G, for the statistics that standardise values; until :meth:`prepare` they are mean 0 and deviation 1.
    """

    mean_G: Tensor
    std_G: Tensor

    def __init__(
        self,
        *,
        width: int,
        num_bins: int,
        num_modalities: int,
        num_genes: int,
        values: Literal["bins", "continuous"],
    ) -> None:
        super().__init__()
        self.values = values
        self.modality = nn.Embedding(num_modalities, width)
        nn.init.normal_(self.modality.weight, std=0.02)
        self.register_buffer("mean_G", torch.zeros(num_genes))
        self.register_buffer("std_G", torch.ones(num_genes))
        if values == "bins":
            self.mask_bin = num_bins + 1
            self.bins = nn.Embedding(num_bins + 2, 2 * width)
            nn.init.normal_(self.bins.weight, std=0.02)
        else:
            self.value_mlp = nn.Sequential(nn.Linear(2, width), nn.GELU(), nn.Linear(width, 2 * width))
            self.hidden = nn.Parameter(0.02 * torch.randn(2 * width))

    @torch.no_grad()
    def prepare(self, statistics: ValueStatistics) -> None:
        """Take the statistics of the training cells; they are saved with the weights."""
        self.mean_G.copy_(torch.from_numpy(statistics.mean_G))
        self.std_G.copy_(torch.from_numpy(statistics.std_G))

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> Tensor:
        """Return token inputs ``[T, D]``."""
        ids_T = batch.feature_ids_T
        rows_TD = F.embedding(ids_T, features_VD)
        special_T = (ids_T < NUM_SPECIAL) & (ids_T != MASK_ID)
        masked_T = torch.zeros_like(special_T) if batch.masked_T is None else batch.masked_T
        modulation_TE = self._bins(batch, masked_T) if self.values == "bins" else self._continuous(batch, masked_T)
        modulation_TE = modulation_TE.masked_fill(special_T[:, None], 0.0)
        gain_TD, shift_TD = modulation_TE.chunk(2, dim=-1)
        modality_TD = self.modality(batch.modality_T)
        if batch.modality_hidden_T is not None:
            modality_TD = modality_TD.masked_fill(batch.modality_hidden_T[:, None], 0.0)
        return rows_TD * (1 + gain_TD) + shift_TD + modality_TD

    def _bins(self, batch: PackedTokens, masked_T: Tensor) -> Tensor:
        return self.bins(batch.bins_T.masked_fill(masked_T, self.mask_bin))

    def _continuous(self, batch: PackedTokens, masked_T: Tensor) -> Tensor:
        gene_T = (batch.feature_ids_T - NUM_SPECIAL).clamp_min(0)
        value_T = batch.values_T.masked_fill(masked_T, 0.0)
        deviation_T = ((value_T - self.mean_G[gene_T]) / self.std_G[gene_T]).clamp(-_CLIP, _CLIP)
        deviation_T = deviation_T.masked_fill(batch.feature_ids_T == MASK_ID, 0.0)
        read_TE = self.value_mlp(torch.stack([deviation_T, value_T], dim=-1))
        return torch.where(masked_T[:, None], self.hidden, read_TE)
