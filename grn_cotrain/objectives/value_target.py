"""Regression targets of a head: values standardised by gene, or bins; and the way back to values.

Dimension letters: T packed tokens, M hidden tokens, G genes, K value bins, B cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.objectives.base import GeneStates, ModelView
from grn_cotrain.objectives.bin_values import (
    QuantileBins,
    pooled_bin_values,
    read_table,
    slope_around,
    visible_bin_values,
)

__all__ = ["BinScale", "ConfidentPredictor", "Guess", "Target", "ValueTarget", "require_bin_scale"]

Target = Literal["value", "bin"]
BinScale = Literal["unit", "published"]


def require_bin_scale(target: Target, bin_scale: BinScale) -> None:
    """Refuse a scale of bins where no bin is regressed.

    Raises
    ------
    UserError
        It is not the default, and the target is not ``bin``.
    """
    if bin_scale != "unit" and target != "bin":
        raise UserError(f"bin_scale: got {bin_scale}, which is of target: bin; leave it out")


@dataclass(frozen=True)
class Guess:
    """Beliefs about hidden values, in the order of ``nonzero(masked_T)``.

    Attributes
    ----------
    values_M
        float32 values, given that they are not zero, on the scale of ``PackedTokens.values_T``.
    spread_M
        float32 expected error, in units in which genes can be compared; the smallest is the most confident guess.
    deviation_M
        float32 expected error on the scale of the values.
    nonzero_M
        float32 chance that the value is not zero; None if zeros were not part of the training.
    """

    values_M: Tensor
    spread_M: Tensor
    deviation_M: Tensor
    nonzero_M: Tensor | None


@runtime_checkable
class ConfidentPredictor(Protocol):
    """A :class:`~grn_cotrain.objectives.ValuePredictor` that reports how sure it is of each value."""

    def guess_values(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Guess:
        """Values of the hidden tokens, and how sure they are."""
        ...


class ValueTarget(nn.Module):
    r"""The regression target of a hidden value, its loss, and values from predictions.

    ``"value"``: :math:`y = (v - \mu_g) / \sigma_g` with the gene's mean and deviation over non-zero values of training
    cells, so a prediction of 0 is the gene's mean and the squared error is 1 - R2 in expectation. ``"bin"``: the number
    of the value's bin over K (scGPT), moved to :math:`y = b / K - 1/2`. A predicted bin need not be whole. Its value is
    read from the mean visible values of the bins of the same cell, by interpolation between the bins that hold a value
    (:func:`~grn_cotrain.objectives.bin_values.fill_empty_bins`); from those of training cells where a cell shows none.

    The squared error of ``"bin"`` is that of scGPT divided by :math:`K^2` (by 2,601 for its 51 bins), since scGPT
    regresses b itself. Another loss with the weight 1 counts for that much more than in scGPT.
    ``bin_scale="published"`` puts the factor back.

    Zeros are distinguished from other values by a chance of their own, not by regression.

    Parameters
    ----------
    target
        ``value`` or ``bin``.
    num_bins, num_genes
        K and G.
    bin_scale
        Unit of the squared error of bins: ``unit``, all bins together; ``published``, one bin.
    """

    mean_G: Tensor
    std_G: Tensor
    bin_values_K: Tensor

    def __init__(self, target: Target, *, num_bins: int, num_genes: int, bin_scale: BinScale = "unit") -> None:
        super().__init__()
        self.target, self.num_bins = target, num_bins
        self.error_scale = float(num_bins**2) if bin_scale == "published" else 1.0
        self.register_buffer("mean_G", torch.zeros(num_genes))
        self.register_buffer("std_G", torch.ones(num_genes))
        self.register_buffer("bin_values_K", torch.zeros(num_bins))

    @classmethod
    def needs(cls, num_bins: int) -> frozenset[Need[Any]]:
        """Statistics that :meth:`prepare` reads."""
        return frozenset({Moments(), QuantileBins(num_bins)})

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take statistics of the training cells; they are saved with the weights."""
        values = statistics[Moments()].nonzero()
        self.mean_G.copy_(torch.from_numpy(values.mean_G))
        self.std_G.copy_(torch.from_numpy(values.std_G))
        self.bin_values_K.copy_(torch.from_numpy(pooled_bin_values(statistics[QuantileBins(self.num_bins)])))

    def of(self, batch: PackedTokens, where_M: Tensor) -> Tensor:
        """Targets of the tokens at ``where_M``: ``[M]``."""
        if self.target == "bin":
            return batch.bins_T[where_M] / self.num_bins - 0.5
        gene_M = batch.feature_ids_T[where_M] - NUM_SPECIAL
        return (batch.values_T[where_M] - self.mean_G[gene_M]) / self.std_G[gene_M]

    def sums(
        self, truth: PackedTokens, where_M: Tensor, value_M: Tensor, nonzero_M: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Summed squared error of the non-zero values in units of ``bin_scale``, and cross-entropy of "not zero".

        ``truth`` holds the true values at ``where_M``. The second sum is over all of these, None without such logits.
        """
        is_value_M = truth.values_T[where_M] != 0
        squared_M = (value_M - self.of(truth, where_M)).square().masked_fill(~is_value_M, 0.0)
        error = self.error_scale * squared_M.sum()
        if nonzero_M is None:
            return error, None
        return error, F.binary_cross_entropy_with_logits(nonzero_M, is_value_M.to(nonzero_M.dtype), reduction="sum")

    def values(self, batch: PackedTokens, where_M: Tensor, predicted_M: Tensor) -> Tensor:
        """Predictions on the scale of ``batch.values_T``, float32 ``[M]``; never below 0."""
        predicted_M = predicted_M.float()
        if self.target == "value":
            gene_M = batch.feature_ids_T[where_M] - NUM_SPECIAL
            return (self.mean_G[gene_M] + self.std_G[gene_M] * predicted_M).clamp_min(0.0)
        table_BK, place_M = self._table(batch), self._place(predicted_M)
        return read_table(table_BK, batch.cell_of_token_T[where_M], place_M.clamp(0, self.num_bins - 1))

    def deviations(self, batch: PackedTokens, where_M: Tensor, predicted_M: Tensor, spread_M: Tensor) -> Tensor:
        """An error of ``spread_M`` in the target, on the scale of the values, float32 ``[M]``.

        The spread times the local slope of the way back: for ``value`` the gene's deviation, for ``bin`` the mean slope
        of the cell's table within the spread. Where a cell shows too few values to have a slope there, it is the mean
        slope of the training cells' table.
        """
        if self.target == "value":
            return self.std_G[batch.feature_ids_T[where_M] - NUM_SPECIAL] * spread_M
        reach_M, place_M = self.num_bins * spread_M.float(), self._place(predicted_M.float())
        slope_M = slope_around(self._table(batch), batch.cell_of_token_T[where_M], place_M, reach_M)
        common = (self.bin_values_K[-1] - self.bin_values_K[0]) / max(1, self.num_bins - 1)
        return reach_M * torch.where(slope_M > 0, slope_M, common)

    def _place(self, predicted_M: Tensor) -> Tensor:
        """Predictions as places in a table of bins: 0 is bin 1."""
        return (predicted_M + 0.5) * self.num_bins - 1

    def _table(self, batch: PackedTokens) -> Tensor:
        """Value of each bin in each cell ``[B, K]``; of training cells where a cell shows no value."""
        seen_BK = visible_bin_values(batch, self.num_bins)
        return torch.where(seen_BK[:, -1:] > 0, seen_BK, self.bin_values_K)
