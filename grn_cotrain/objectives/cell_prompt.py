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
from grn_cotrain.objectives.base import OBJECTIVES, GeneStates, LossOutput, ModelView, Objective, Step
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.value_target import BinScale, Target, ValueTarget, require_bin_scale

__all__ = ["GeneFromCell"]


@OBJECTIVES.register("gene_from_cell", paper="Cui et al. 2024, scGPT: gene expression prediction for cell modelling")
class GeneFromCell(Objective):
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
    mask_share, target, bin_scale, hide_zeros, conditions, covariate_dropout
        See :class:`Config`.
    """

    reads_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`GeneFromCell`.

        Attributes
        ----------
        mask_share
            Share of the values to hide.
        target
            What is regressed: the ``value``, standardised by gene, or its ``bin`` (published).
        bin_scale
            Of ``target: bin``. ``unit``: bins run from 0 to 1, so the loss is about as large as others are.
            ``published``: they count from 1 to K, and the loss is K squared times as large (2,601 times with 51 bins).
        hide_zeros
            Hide zeros among the tokens too, with the same share, and ask whether a gene is zero.
        conditions
            Whether the prediction is told the cell's covariates.
        covariate_dropout
            Chance that a cell's category is taken for unknown in training.
        """

        mask_share: float = 0.4
        target: Target = "value"
        bin_scale: BinScale = "unit"
        hide_zeros: bool = False
        conditions: bool = True
        covariate_dropout: float = 0.1

        def __post_init__(self) -> None:
            require_bin_scale(self.target, self.bin_scale)
            if not 0 < self.mask_share < 1:
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

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Hide values of ``step.cells``, drawn from ``step.generator``, and predict them from the cells' states."""
        assert step.cells is not None
        share = self.config.mask_share
        zero_share = share if self.config.hide_zeros else 0.0
        masked_T = draw_mask(step.cells, step.generator, share=share, zero_share=zero_share)
        batch = hide(step.cells, masked_T, num_bins=self.num_bins)
        where_M, outputs_MK = self._outputs(model, batch, step.genes)
        if len(where_M) == 0:  # a gradient of zero, not a missing one
            return LossOutput(outputs_MK.sum(), 0)
        nonzero_M = outputs_MK[:, 1] if self.config.hide_zeros else None
        error, zeros = self.target.loss(batch, where_M, outputs_MK[:, 0], nonzero_M)
        parts = {"squared_error": error}
        if nonzero_M is not None:
            parts["nonzero"] = zeros
        return LossOutput(error + zeros, len(where_M), parts)

    @torch.no_grad()
    def predict_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """Hidden values from the cells' states: see :class:`~grn_cotrain.objectives.ValuePredictor`."""
        where_M, outputs_MK = self._outputs(model, batch, genes)
        return self.target.values(batch, where_M, outputs_MK[:, 0])

    def _outputs(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> tuple[Tensor, Tensor]:
        """Positions of hidden tokens, and for each the products of its queries with its cell."""
        where_M = torch.nonzero(batch.hidden_T).squeeze(1)
        told_BD = self.state_map(model.encode_cells(batch, genes).cells_BD)
        if self.conditions is not None:
            told_BD = told_BD + self.conditions(batch)
        row_MD = model.gene_rows(genes, batch.feature_ids_T[where_M])
        query_MKD = self.query(row_MD).unflatten(-1, (-1, self.width))
        told_MD = told_BD[batch.cell_of_token_T[where_M]]
        return where_M, (query_MKD * told_MD.unsqueeze(1)).sum(-1) * self.width**-0.5
