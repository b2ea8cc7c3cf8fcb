"""Objective ``gene_from_cell``: a hidden value from the cell's state and the gene's row alone (scGPT's GEPC).

Dimension letters: T packed tokens, M hidden tokens, D width, B cells, K value bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import NO_COVARIATES
from grn_cotrain.nn.condition_embedding import ConditionEmbedding
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, PredictsValues, Step, Sum
from grn_cotrain.objectives.borrowed_view import BorrowsView, require_own_view
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.value_target import BinScale, Target, ValueTarget, require_bin_scale
from grn_cotrain.objectives.view import CLEAN, View

__all__ = ["GeneFromCell"]

_MASK_SHARE = 0.4


@OBJECTIVES.register("gene_from_cell", paper="Cui et al. 2024, scGPT: gene expression prediction for cell modelling")
class GeneFromCell(BorrowsView, PredictsValues):
    r"""Hidden values by an inner product of the cell's state and a query of the gene (GEPC).

    .. math:: q_j = \mathrm{MLP}(e_j), \qquad \hat y_j = q_j \cdot (W h_c + c) / \sqrt D, \qquad
        L = \frac{1}{|U|} \sum_{j \in U} (\hat y_j - y_j)^2

    ``e`` is the gene's row of the shared table, ``h_c`` the state of the cell from its visible values, ``U`` its hidden
    ones, ``y`` what :class:`~grn_cotrain.objectives.value_target.ValueTarget` makes of them. No state of a gene is
    read, so the cell's state must hold what the cell is. ``c`` is the sum of the rows of the cell's covariates, where
    the recipe has any: then that state need not hold the batch (published: the batch's row joined to the state).
    ``W`` starts at 0, so training starts at the gene's mean.

    Parameters
    ----------
    view, mask_share, target, bin_scale, hide_zeros, conditions, covariate_dropout
        See :class:`Config`.
    """

    reads_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`GeneFromCell`.

        Attributes
        ----------
        view
            View of the cells to read. ``own``: it hides values itself. The name of another objective that hides values:
            the view of that one, which is encoded once for both (as in scGPT). ``auto``: the view of the first such
            objective of the recipe; its own where there is none, or where ``mask_share`` is given.
        mask_share
            Share of the values that its own view hides; null: 0.4.
        target
            Regression target: the ``value``, standardised by gene, or its ``bin`` (published).
        bin_scale
            Scale of ``target: bin``. ``unit``: bins run from 0 to 1, so the loss is about as large as others are.
            ``published``: they count from 1 to K, and the loss is K squared times as large (2,601 times with 51 bins).
        hide_zeros
            Ask whether a hidden gene is zero; its own view then hides zeros too, with the same share.
        conditions
            Whether the prediction reads the cell's covariates.
        covariate_dropout
            Chance that a cell's category is taken for unknown in training.
        """

        view: str = "auto"
        mask_share: float | None = None
        target: Target = "value"
        bin_scale: BinScale = "unit"
        hide_zeros: bool = False
        conditions: bool = True
        covariate_dropout: float = 0.1

        def __post_init__(self) -> None:
            require_bin_scale(self.target, self.bin_scale)
            if self.view == CLEAN:
                raise UserError("view: got clean, which hides nothing to predict; choose auto, own or an objective")
            require_own_view(self.view, self.mask_share)
            if self.mask_share is not None and not 0 < self.mask_share < 1:
                raise UserError(f"mask_share: got {self.mask_share}; give a share between 0 and 1")
            if not 0 <= self.covariate_dropout < 1:
                raise UserError(f"covariate_dropout: got {self.covariate_dropout}; give a share in [0, 1)")

    def __init__(
        self,
        config: Config,
        *,
        width: int,
        num_bins: int,
        num_genes: int,
        covariates: Mapping[str, int] = NO_COVARIATES,
    ) -> None:
        super().__init__()
        self.config, self.num_bins, self.width = config, num_bins, width
        self.target = ValueTarget(config.target, num_bins=num_bins, num_genes=num_genes, bin_scale=config.bin_scale)
        # One query of a gene for its value, one for "is it zero?".
        num_queries = 2 if config.hide_zeros else 1
        self.query = nn.Sequential(nn.Linear(width, width), nn.Sigmoid(), nn.Linear(width, num_queries * width))
        self.state_map = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.state_map.weight)
        self.conditions = (
            ConditionEmbedding(covariates, width, dropout=config.covariate_dropout)
            if covariates and config.conditions
            else None
        )

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        del config
        return ValueTarget.needs(num_bins)

    def prepare(self, statistics: Statistics) -> None:
        """Take the statistics of the training cells, once, before training; they are saved with the weights."""
        self.target.prepare(statistics)

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide values."""
        del model
        share = _MASK_SHARE if self.config.mask_share is None else self.config.mask_share
        zero_share = share if self.config.hide_zeros else 0.0
        masked_T = draw_mask(tokens, generator, share=share, zero_share=zero_share)
        return View.of(hide(tokens, masked_T, num_bins=self.num_bins), tokens)

    def counts(self, *views: View) -> dict[str, float]:
        """Hidden values, and hidden tokens where zeros are among them."""
        (view,) = views
        counts: dict[str, float] = {"squared_error": view.num_values}
        if self.config.hide_zeros:
            counts["nonzero"] = view.num_asked
        return counts

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Predict the hidden values from the cells' states."""
        view, outputs_MK = step.view, self._outputs(model, step)
        nonzero_M = outputs_MK[:, 1] if self.config.hide_zeros else None
        error, zeros = self.target.sums(view.truth, view.where_M, outputs_MK[:, 0], nonzero_M)
        counts = self.counts(view)
        parts = {"squared_error": Sum(error, counts["squared_error"])}
        if zeros is not None:
            parts["nonzero"] = Sum(zeros, counts["nonzero"])
        return LossOutput(parts, view.num_asked)

    def read_values(self, model: ModelView, step: Step) -> Tensor:
        """Hidden values from the cells' states."""
        return self.target.values(step.view.tokens, step.view.where_M, self._outputs(model, step)[:, 0])

    def _outputs(self, model: ModelView, step: Step) -> Tensor:
        """For each hidden token the products of its queries with its cell."""
        view = step.view
        told_BD = self.state_map(step.states.cells_BD)
        if self.conditions is not None:
            told_BD = told_BD + self.conditions(view.tokens)
        row_MD = model.gene_rows(step.genes, view.tokens.feature_ids_T[view.where_M])
        query_MKD = self.query(row_MD).unflatten(-1, (-1, self.width))
        return (query_MKD * told_BD[view.cells_M].unsqueeze(1)).sum(-1) * self.width**-0.5
