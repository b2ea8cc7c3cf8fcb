"""Objective ``masked_gene``: which gene stands here? BERT's masked language modelling over the genes of a cell.

Dimension letters: T packed tokens, M chosen tokens, G genes (features), D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.packed_transformer import ACTIVATIONS
from grn_cotrain.nn.vocabulary_loss import vocabulary_cross_entropy
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, Objective, Step, Sum
from grn_cotrain.objectives.masking import draw_mask, hide_names
from grn_cotrain.objectives.view import View

__all__ = ["MaskedGene"]


@OBJECTIVES.register("masked_gene", paper="Theodoris et al. 2023, Geneformer; masking as in BERT (Devlin et al. 2019)")
class MaskedGene(Objective):
    r"""Masked-gene prediction: the name of a token from the rest of the cell, over the whole vocabulary.

    A share of the non-zero tokens is chosen. 80 % of these show MASK, 10 % a random gene, 10 % themselves; values,
    bins and ranks stay what they were. At the chosen positions, and only there,

    .. math:: \ell_t = \mathrm{LN}\bigl(\mathrm{ReLU}(W h_t + c)\bigr) \, E^\top + b_G \qquad
              \mathcal{L} = - \tfrac{1}{M} \sum_{t} \log \operatorname{softmax}(\ell_t)_{g(t)}

    with ``h`` the final state, ``E`` the rows of the shared table (before the graph; this is what ties the loss to it)
    and a bias per gene. The softmax runs over **all** G features of the vocabulary, genes that are visible elsewhere
    in the cell not excluded (BERT's rule, though a gene stands only once in a cell). Logits are held by tiles, see
    :func:`~grn_cotrain.nn.vocabulary_loss.vocabulary_cross_entropy`. Random names are drawn among features that can
    be tokens, never spike-ins.

    The norm's gain starts at 0 and the bias at the log frequency of each gene in the training cells (:meth:`prepare`):
    training starts at what guessing by frequency gives. Metrics are reported with that guess: ``accuracy`` and
    ``perplexity`` over the chosen tokens, ``accuracy_masked`` over those that show MASK (the kept ones give their
    answer away), ``accuracy_by_frequency`` and ``perplexity_by_frequency`` for a guesser that knows only how often each
    gene is expressed. Encoders that read *values* can often recognise a gene by its value; Geneformer's reads ranks.

    Parameters
    ----------
    share, mask_share, random_share, activation
        See :class:`Config`; the defaults are the published ones.
    """

    reads_cells = True

    log_frequency_G: Tensor
    is_token_G: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`MaskedGene`.

        Attributes
        ----------
        share
            Share of a cell's non-zero tokens that are chosen.
        mask_share
            Share of the chosen that show MASK.
        random_share
            Share of the chosen that show a random gene; the rest show themselves.
        activation
            Activation of the head: ``relu`` or ``gelu``.
        """

        share: float = 0.15
        mask_share: float = 0.8
        random_share: float = 0.1
        activation: Literal["relu", "gelu"] = "relu"

        def __post_init__(self) -> None:
            require(0 < self.share < 1, f"share: got {self.share}; give a share between 0 and 1")
            for name in ("mask_share", "random_share"):
                require(0 <= getattr(self, name) <= 1, f"{name}: got {getattr(self, name)}; give a share in [0, 1]")
            if self.mask_share + self.random_share > 1 + 1e-9:
                raise UserError(
                    f"mask_share {self.mask_share}, random_share {self.random_share}: sum to more than 1; lower one"
                )

    def __init__(self, config: Config, *, width: int, num_genes: int, **_: Any) -> None:
        super().__init__()
        self.config = config
        self.transform = nn.Linear(width, width)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = nn.LayerNorm(width)
        nn.init.zeros_(self.norm.weight)
        self.bias_G = nn.Parameter(torch.zeros(num_genes))
        self.register_buffer("log_frequency_G", torch.full((num_genes,), -float(np.log(num_genes))))
        self.register_buffer("is_token_G", torch.ones(num_genes, dtype=torch.bool))

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        del config, num_bins
        return frozenset({Moments()})

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take how often each gene is expressed in the training cells, and which features can be tokens."""
        is_token_G = statistics.layout.is_token_G
        count_G = statistics[Moments()].count_G * is_token_G
        share_G = (count_G + 1) / (count_G.sum() + statistics.num_features)  # one more each: a gene may come up later
        self.log_frequency_G.copy_(torch.from_numpy(np.log(share_G)))
        self.bias_G.copy_(self.log_frequency_G)
        self.is_token_G.copy_(torch.from_numpy(is_token_G))

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Choose tokens; hide their names, exchange them or leave them."""
        batch = model.prepare_batch(tokens)
        chosen_T = draw_mask(batch, generator, share=self.config.share)
        if batch.masked_T is not None:
            chosen_T &= ~batch.masked_T
        where_M = torch.nonzero(chosen_T).squeeze(1)
        shown_M, is_masked_M = self._shown(batch.feature_ids_T[where_M] - NUM_SPECIAL, generator)
        hidden_T = chosen_T.clone()
        hidden_T[where_M] = is_masked_M
        shown = hide_names(batch, hidden_T)
        shown.feature_ids_T[where_M[~is_masked_M]] = shown_M[~is_masked_M] + NUM_SPECIAL
        return View(shown, batch, where_M, is_masked_M)

    def counts(self, *views: View) -> dict[str, float]:
        """Chosen tokens."""
        (view,) = views
        return {"cross_entropy": view.num_asked}

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Score the prediction of the names."""
        view = step.view
        state_MD = step.states.tokens_TD[view.where_M]
        head_MD = self.norm(self.activation(self.transform(state_MD)))
        count, target_M = view.num_asked, view.genes_M
        if count == 0:  # a gradient of zero, not a missing one
            return LossOutput({"cross_entropy": Sum(head_MD.sum() + 0 * self.bias_G.sum(), 0)}, 0)
        loss, hit_M = vocabulary_cross_entropy(head_MD, model.every_row(step.genes), self.bias_G, target_M)
        assert view.masked_M is not None
        metrics = self._metrics(loss, hit_M, target_M, view.masked_M)
        return LossOutput({"cross_entropy": Sum(loss * count, count)}, count, metrics)

    def _shown(self, target_M: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Gene that each chosen token shows where it shows one, and whether it shows MASK."""
        # Two numbers a token, whatever the shares, so that draws stay aligned between settings.
        draw_2M = torch.rand(2, len(target_M), generator=generator, device=generator.device).to(target_M.device)
        tokens_N = torch.nonzero(self.is_token_G).squeeze(1)
        random_M = tokens_N[(draw_2M[1] * len(tokens_N)).long().clamp_max(len(tokens_N) - 1)]
        is_masked_M = draw_2M[0] < self.config.mask_share
        is_random_M = ~is_masked_M & (draw_2M[0] < self.config.mask_share + self.config.random_share)
        return torch.where(is_random_M, random_M, target_M), is_masked_M

    def _metrics(self, loss: Tensor, hit_M: Tensor, target_M: Tensor, is_masked_M: Tensor) -> dict[str, float]:
        frequent = self.log_frequency_G.argmax()
        metrics = {
            "accuracy": float(hit_M.float().mean()),
            "perplexity": float(loss.detach().exp()),
            "accuracy_by_frequency": float((target_M == frequent).float().mean()),
            "perplexity_by_frequency": float((-self.log_frequency_G[target_M].mean()).exp()),
        }
        if bool(is_masked_M.any()):
            metrics["accuracy_masked"] = float(hit_M[is_masked_M].float().mean())
        return metrics
