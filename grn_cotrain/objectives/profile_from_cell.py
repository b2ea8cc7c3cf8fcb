"""Objective ``profile_from_cell``: the whole profile of a cell from its state.

Dimension letters: T packed tokens, N tokens with a value, B cells, D width, G features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.assay_kinds import MODALITIES
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.profiles import MeanProfile
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, Step, Sum
from grn_cotrain.objectives.borrowed_view import BorrowsView, require_own_view
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.view import View

__all__ = ["ProfileFromCell"]

_MASK_SHARE = 0.3


@dataclass(frozen=True)
class _Profiles:
    """Proportions of the cells of a batch in each space.

    Attributes
    ----------
    share_N, gene_N, row_N
        Proportion of each value that is not zero, its feature, and the row of its (cell, space) pair.
    cell_P, space_P
        Cell and code of the space of each pair that has a value.
    """

    share_N: Tensor
    gene_N: Tensor
    row_N: Tensor
    cell_P: Tensor
    space_P: Tensor


@OBJECTIVES.register(
    "profile_from_cell", paper="softmax over genes as in topic models (Blei et al. 2003) and scVI's decoder"
)
class ProfileFromCell(BorrowsView):
    r"""The proportions of a cell's measurements, over all features, from the state of the cell.

    .. math:: q_{cg} = \operatorname{softmax}_g \left(b_g + (W h_c)^\top (V e_g) / \sqrt{D}\right), \qquad
        \mathcal{L} = \frac{1}{C} \sum_c \sum_g p_{cg} \log \frac{p_{cg}}{q_{cg}}

    ``h`` is the state of the cell, read from its visible values; ``e`` the feature's row of the shared table; ``p`` the
    cell's true proportions, hidden values among them: counts over their sum, whatever the depth. Features that the cell
    does not show have :math:`p = 0`, so zeros count although they are not tokens. The softmax runs within each space:
    genes among genes, peaks among peaks. Only features that can be tokens take part.

    No other loss of the default recipe reads the state of the cell, so without this one it is not trained.

    ``b`` starts at the logarithm of the mean profile of the training cells and ``W`` at 0, so training starts at the
    mean profile. The loss is a divergence in nats, at least 0. The metric ``gain`` states how many nats it is below
    that of the mean profile; it is 0 for a state that holds nothing.

    Parameters
    ----------
    view, mask_share
        See :class:`Config`.
    """

    reads_cells = True

    log_mean_G: Tensor
    space_G: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`ProfileFromCell`.

        Attributes
        ----------
        view
            View of the cells to read. ``own``: it hides values itself. The name of another objective that hides values:
            the view of that one, which is encoded once for both. ``auto``: the view of the first such objective of the
            recipe; its own where there is none, or where ``mask_share`` is given. ``clean``: nothing is hidden.
        mask_share
            Share of the values that its own view hides; null: 0.3.
        """

        view: str = "auto"
        mask_share: float | None = None

        def __post_init__(self) -> None:
            require_own_view(self.view, self.mask_share)
            share = self.mask_share
            require(share is None or 0 < share < 1, f"mask_share: got {share}; give a share between 0 and 1")

    def __init__(self, config: Config, *, width: int, num_bins: int, num_genes: int, **_: Any) -> None:
        super().__init__()
        self.config, self.num_bins = config, num_bins
        self.state_map = nn.Linear(width, width, bias=False)
        self.gene_map = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.state_map.weight)  # starts at the mean profile; the other factor gives it a gradient
        self.bias_G = nn.Parameter(torch.zeros(num_genes))
        self.register_buffer("log_mean_G", torch.zeros(num_genes))
        # Code of each feature's space; -1: it cannot be a token, and takes no part.
        self.register_buffer("space_G", torch.zeros(num_genes, dtype=torch.long))

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        del config, num_bins
        return frozenset({MeanProfile()})

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take the mean profile of the training cells, once, before training; it is saved with the weights."""
        layout = statistics.layout
        is_token_G = torch.from_numpy(layout.is_token_G)
        mean_G = torch.from_numpy(statistics[MeanProfile()])
        self.log_mean_G.copy_(torch.where(is_token_G, mean_G, 1.0).log())
        self.bias_G.copy_(self.log_mean_G)
        codes = [MODALITIES.index(assay.space.name) for assay in layout.assays]
        self.space_G.copy_(torch.tensor(codes)[torch.from_numpy(layout.assay_G)].masked_fill(~is_token_G, -1))

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide values."""
        del model
        share = _MASK_SHARE if self.config.mask_share is None else self.config.mask_share
        return View.of(hide(tokens, draw_mask(tokens, generator, share=share), num_bins=self.num_bins), tokens)

    def counts(self, *views: View) -> dict[str, float]:
        """Cells that have a value, counted once in each space."""
        (view,) = views
        return {"divergence": len(self._profiles(view.truth).cell_P)}

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Score the profiles that the states of the cells predict."""
        profiles = self._profiles(step.view.truth)
        told_BD = self.state_map(step.states.cells_BD) @ self.gene_map.weight  # (W h)' V, before it meets the rows
        row_GD = model.every_row(step.genes)
        logits_BG = told_BD @ row_GD.T.to(told_BD.dtype) * row_GD.shape[1] ** -0.5
        log_share_N = self._log_shares(logits_BG.float() + self.bias_G, profiles)
        surprise_N = profiles.share_N.log() - log_share_N
        total = (profiles.share_N * surprise_N).sum()
        count = len(profiles.cell_P)
        gain = (profiles.share_N * (log_share_N.detach() - self.log_mean_G[profiles.gene_N])).sum()
        return LossOutput({"divergence": Sum(total, count)}, count, {"gain": float(gain) / count} if count else {})

    def _profiles(self, truth: PackedTokens) -> _Profiles:
        """Proportions of the cells' values, hidden or not, among those of the same space."""
        gene_T = truth.feature_ids_T - NUM_SPECIAL
        known_T = (gene_T >= 0) & (truth.values_T > 0)
        known_T &= self.space_G[gene_T.clamp_min(0)] >= 0
        gene_N, cell_N = gene_T[known_T], truth.cell_of_token_T[known_T]
        amount_N = torch.expm1(truth.values_T[known_T].float())
        num_spaces = len(MODALITIES)
        pair_P, row_N = torch.unique(cell_N * num_spaces + self.space_G[gene_N], return_inverse=True)
        total_P = amount_N.new_zeros(len(pair_P)).index_add(0, row_N, amount_N)
        return _Profiles(amount_N / total_P[row_N], gene_N, row_N, pair_P // num_spaces, pair_P % num_spaces)

    def _log_shares(self, logits_BG: Tensor, profiles: _Profiles) -> Tensor:
        """Logarithm of the predicted proportion of each value: ``[N]``."""
        norm_P = logits_BG.new_zeros(len(profiles.cell_P))
        for space in torch.unique(profiles.space_P):
            own_P = profiles.space_P == space
            inside_G = self.space_G == space
            norm_P = norm_P.masked_scatter(own_P, logits_BG[:, inside_G].logsumexp(dim=1)[profiles.cell_P[own_P]])
        return logits_BG[profiles.cell_P[profiles.row_N], profiles.gene_N] - norm_P[profiles.row_N]
