"""Objective ``modality``: hidden value bins plus the modality of the hidden positions (scMBERT's pretraining).

Dimension letters: T packed tokens, M hidden tokens, G features, D width, K value bins, C modalities, B cells.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import MODALITIES
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, PredictsValues, Step, Sum
from grn_cotrain.objectives.bin_values import visible_bin_values
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.view import View

__all__ = ["Modality"]

logger = logging.getLogger(__name__)


@OBJECTIVES.register("modality", paper="Chen et al. 2025, scMBERT (AAAI student abstract)")
class Modality(PredictsValues):
    r"""Hidden value bins, plus lambda times the modality of the hidden positions.

    .. math:: L = L_\mathrm{mvp} + \lambda L_\mathrm{dmp}, \qquad
        L_\mathrm{mvp} = -\frac1M \sum_t \log p(b_t \mid s_t, e_{g(t)}), \qquad
        L_\mathrm{dmp} = -\frac1M \sum_t \log p(k_t \mid s_t)

    over the M hidden non-zero tokens, with ``b`` the value's bin (1..K; zeros are never hidden), ``k`` the modality and
    ``s`` the decoder's state :math:`s_t = \mathrm{LN}(\mathrm{GELU}(W h_t))` of the encoder's final state ``h``. One
    forward pass serves both. Value logits also read the feature's row of the shared table; modality logits do not.

    With ``modality_input: masked`` the encoder sees MASK in the place of a hidden token's modality, with ``visible`` it
    sees the answer. In neither case is the task hard: a feature belongs to one modality, and the feature's id is not
    hidden. ``modality_from_feature`` is what a look at the id alone would score (1 where every feature was known in
    training), ``modality_majority`` what naming the commonest modality scores; ``modality_accuracy`` means something
    only compared with these.

    Parameters
    ----------
    mask_share
        Share of the non-zero values to hide. The abstract gives none; default 0.15, as BERT.
    modality_weight
        ``lambda``. Default 1.
    modality_input
        ``"masked"`` (default) or ``"visible"``.
    """

    reads_cells = True

    modality_G: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`Modality`."""

        mask_share: float = 0.15
        modality_weight: float = 1.0
        modality_input: Literal["masked", "visible"] = "masked"

        def __post_init__(self) -> None:
            require(0 < self.mask_share < 1, f"mask_share: got {self.mask_share}; give a share between 0 and 1")
            require(self.modality_weight >= 0, f"modality_weight: got {self.modality_weight}; give 0 or more")

    def __init__(self, config: Config, *, width: int, num_bins: int, num_genes: int, **_: Any) -> None:
        super().__init__()
        self.config = config
        self.num_bins = num_bins
        self.decoder = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.value_head = nn.Linear(width, num_bins)
        self.gene_map = nn.Linear(width, num_bins, bias=False)
        self.modality_head = nn.Linear(width, len(MODALITIES))
        for layer in (self.value_head, self.gene_map, self.modality_head):
            nn.init.zeros_(layer.weight)  # training starts at the log of the number of classes
        self.register_buffer("modality_G", torch.full((num_genes,), -1))

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        del config, num_bins
        return frozenset({Moments()})

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Note the modality of every feature that training cells show, for the accuracy that an id alone reaches."""
        shown_G, vocab = statistics[Moments()].count_G > 0, statistics.vocab
        index_G = np.asarray([MODALITIES.index(name) for name in vocab.modality])
        self.modality_G.copy_(torch.from_numpy(np.where(shown_G, index_G, -1)))
        present = sorted({vocab.modality[i] for i in np.flatnonzero(shown_G)})
        if len(present) == 1:
            logger.warning("modality: the training cells have %s features alone; its loss teaches nothing", present[0])

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide values, and their modalities where the recipe asks for it."""
        del model
        masked_T = draw_mask(tokens, generator, share=self.config.mask_share)
        return self._hiding_modality(View.of(hide(tokens, masked_T, num_bins=self.num_bins), tokens))

    def asking(self, tokens: PackedTokens) -> View:
        """The modality is hidden as in training."""
        return self._hiding_modality(View.of(tokens))

    def _hiding_modality(self, view: View) -> View:
        if self.config.modality_input != "masked":
            return view
        return replace(view, tokens=replace(view.tokens, modality_hidden_T=view.tokens.masked_T))

    def counts(self, *views: View) -> dict[str, float]:
        """Hidden tokens."""
        (view,) = views
        return {"cross_entropy": view.num_asked, "modality": view.num_asked}

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Predict bins and modalities of the hidden tokens."""
        view = step.view
        state_MD, value_MK = self._value_logits(model, step)
        modality_MC = self.modality_head(state_MD)
        modality_M = view.truth.modality_T[view.where_M]
        count = view.num_asked
        parts = {
            "cross_entropy": Sum(F.cross_entropy(value_MK, view.bins_M - 1, reduction="sum"), count),
            "modality": Sum(
                F.cross_entropy(modality_MC, modality_M, reduction="sum"), count, self.config.modality_weight
            ),
        }
        return LossOutput(parts, count, self._metrics(view.genes_M, modality_M, modality_MC) if count else {})

    @torch.no_grad()
    def _metrics(self, gene_M: Tensor, modality_M: Tensor, modality_MC: Tensor) -> dict[str, float]:
        commonest = torch.bincount(modality_M, minlength=len(MODALITIES)).max()
        return {
            "modality_accuracy": float((modality_MC.argmax(dim=-1) == modality_M).float().mean()),
            "modality_from_feature": float((self.modality_G[gene_M] == modality_M).float().mean()),
            "modality_majority": float(commonest) / len(modality_M),
        }

    def read_values(self, model: ModelView, step: Step) -> Tensor:
        """Expected hidden values: class probabilities times the mean visible value of each bin in the same cell."""
        _, value_MK = self._value_logits(model, step)
        bin_values_BK = visible_bin_values(step.view.tokens, self.num_bins)
        return (value_MK.float().softmax(dim=-1) * bin_values_BK[step.view.cells_M]).sum(dim=-1)

    def _value_logits(self, model: ModelView, step: Step) -> tuple[Tensor, Tensor]:
        """The decoder's states at the hidden tokens and the logits of the bins there."""
        where_M = step.view.where_M
        state_MD = self.decoder(step.states.tokens_TD[where_M])
        row_MD = model.gene_rows(step.genes, step.view.tokens.feature_ids_T[where_M])
        return state_MD, self.value_head(state_MD) + self.gene_map(row_MD)
