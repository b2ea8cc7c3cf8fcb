"""Objective ``masked_value``: predict hidden expression values from the visible ones.

Dimension letters: T packed tokens, M masked tokens, G genes, D width, K value bins, B cells.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import rounded_bins
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.objectives.base import OBJECTIVES, GeneStates, LossOutput, ModelView, PredictsValues, Step, Sum
from grn_cotrain.objectives.bin_values import BinSums, RoundedClasses, visible_bin_values, visible_class_values
from grn_cotrain.objectives.masking import MaskBalance, draw_balanced_mask, draw_mask, hide
from grn_cotrain.objectives.view import Encodings, View

__all__ = ["MaskedValue"]

logger = logging.getLogger(__name__)


@OBJECTIVES.register("masked_value", paper="Devlin et al. 2019; values as in scBERT (Yang et al. 2022), scGPT")
class MaskedValue(PredictsValues):
    r"""Masked-value prediction: mean squared error of values, or cross-entropy over bins.

    The default head (``tied``) sees the final state ``h_t`` of the hidden token and the gene's row ``e_g``:

    .. math:: o_t = \mathrm{MLP}(h_t) + (A h_t)^\top (B e_g) / \sqrt{D}

    (one such output per bin for cross-entropy, where the second term is a linear map of ``e_g``). The bilinear term is
    the decoder of factor analysis with the table as loadings, and what ties this loss to the shared table. ``mlp`` is
    the first term alone (xTrimoGene's figure 1), ``linear`` one linear map of ``h_t`` (its equation 4).

    ``loss: mse``, ``target: standardised``: the value of a non-zero token is ``mean_g + std_g * o_t``, with the gene's
    statistics on training cells (:meth:`prepare`), and the loss is the squared error of ``o_t`` in these units. ``o``
    starts at 0, so training starts at the gene's mean (R2 = 0), and the loss is 1 - R2 in expectation. Hidden zeros add
    the cross-entropy of "is it zero?".

    ``loss: mse``, ``target: value``: xTrimoGene's regression. The value itself (log1p of counts per ten thousand) is
    ``o_t``, for hidden zeros and non-zeros alike, so with ``mask_zeros`` what is learned is the mean *with* its zeros,
    below the value given that there is one; :meth:`predict_values` returns that, and its R2 of values shows the gap.

    ``loss: cross_entropy``: classes are bins 0..K (0: a zero) of the cell's own values, or with ``classes: rounded``
    scBERT's, whole binary logarithms of counts per ten thousand (:func:`~grn_cotrain.data.binning.rounded_bins`).
    Class 0 holds small values and zeros there. As in scBERT all of it counts as zero, so it is never hidden unless
    ``mask_zeros`` hides zeros. A value is read from class probabilities as the mean visible value of each class in the
    same cell, given that it is not zero. A quantile bin that the cell does not show is between its neighbours
    (:func:`~grn_cotrain.objectives.bin_values.fill_empty_bins`); a rounded class has its middle.

    ``loss_norm: published`` divides the summed squared error as xTrimoGene's equation 5 is written, by ``(n - m) c``,
    with ``n`` all features that can be tokens, ``m`` the most visible non-zeros of any cell of the batch and ``c`` its
    cells. Many of these positions are not hidden, so the loss is smaller, and depends on the batch;
    ``masked_count`` divides by the number of hidden tokens. With ``standardised`` each term is so divided.

    Parameters
    ----------
    loss
        Default ``"mse"``.
    mask_share
        Share of non-zero values to hide. Default 0.3.
    mask_zeros
        Also hide zero tokens (``tokens.zeros_per_cell`` must offer some). Default False.
    mask_balance
        How many zeros: ``"same"`` (default) chance as values, ``"ratio10"``, ``"equal_count"``; see
        :func:`~grn_cotrain.objectives.masking.draw_balanced_mask`.
    target
        Target of ``mse``: ``"standardised"`` (default) or ``"value"``.
    loss_norm
        Divisor of a sum of squares: ``"masked_count"`` (default) or ``"published"``.
    head
        ``"tied"`` (default), ``"mlp"`` or ``"linear"``.
    classes
        Classes of ``cross_entropy``: ``"quantile"`` (default) or ``"rounded"`` (scBERT's).
    """

    reads_cells = True

    mean_G: Tensor
    std_G: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`MaskedValue`."""

        loss: Literal["mse", "cross_entropy"] = "mse"
        mask_share: float = 0.3
        mask_zeros: bool = False
        mask_balance: MaskBalance = "same"
        target: Literal["standardised", "value"] = "standardised"
        loss_norm: Literal["masked_count", "published"] = "masked_count"
        head: Literal["tied", "mlp", "linear"] = "tied"
        classes: Literal["quantile", "rounded"] = "quantile"

        def __post_init__(self) -> None:
            require(0 < self.mask_share < 1, f"mask_share: got {self.mask_share}; give a share between 0 and 1")
            if self.mask_balance != "same" and not self.mask_zeros:
                raise UserError(f"mask_balance: got {self.mask_balance} and no zeros are hidden; set mask_zeros: true")
            for name, default in (("target", "standardised"), ("loss_norm", "masked_count")):
                if self.loss == "cross_entropy" and getattr(self, name) != default:
                    raise UserError(f"{name}: got {getattr(self, name)}, which is of loss: mse; leave it out")
            if self.classes != "quantile" and self.loss != "cross_entropy":
                raise UserError(f"classes: got {self.classes}, which is of loss: cross_entropy; leave it out")

    def __init__(self, config: Config, *, width: int, num_bins: int, num_genes: int, **_: Any) -> None:
        super().__init__()
        self.config = config
        self.num_bins = num_bins
        self.num_features = num_genes  # until statistics show which of them can be tokens
        # mse: one output for the value, one for the logit of "not zero"; cross-entropy: one per bin.
        num_outputs = 2 if config.loss == "mse" else num_bins + 1
        last = nn.Linear(width, num_outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.state_mlp = last if config.head == "linear" else nn.Sequential(nn.Linear(width, width), nn.GELU(), last)
        if config.head == "tied":
            if config.loss == "mse":
                self.state_map = nn.Linear(width, width, bias=False)
                self.gene_map = nn.Linear(width, width, bias=False)
                nn.init.zeros_(self.state_map.weight)  # starts at the gene's mean; the other factor gives it a gradient
            else:
                self.gene_map = nn.Linear(width, num_outputs, bias=False)
                nn.init.zeros_(self.gene_map.weight)
        self.register_buffer("mean_G", torch.zeros(num_genes))
        self.register_buffer("std_G", torch.ones(num_genes))

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        return frozenset({Moments()} | ({RoundedClasses(num_bins)} if config.classes == "rounded" else set()))

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take the statistics of the training cells, once, before training; they are saved with the weights."""
        values = statistics[Moments()].nonzero()
        self.mean_G.copy_(torch.from_numpy(values.mean_G))
        self.std_G.copy_(torch.from_numpy(values.std_G))
        self.num_features = int(statistics.layout.is_token_G.sum())
        if self.config.classes == "rounded":
            self._require_classes(statistics[RoundedClasses(self.num_bins)])

    def _require_classes(self, classes: BinSums) -> None:
        """Warn of values below one count per ten thousand, which are never hidden; refuse if there are no others."""
        share = float(classes.count_K[0] / max(1, classes.count_K.sum()))
        if share == 1:
            raise UserError(
                "classes: rounded puts every value of the training cells in class 0, below one count per ten thousand,"
                " and class 0 is never hidden; set classes: quantile"
            )
        if share > 0.5:
            logger.warning(
                "masked_value: classes: rounded never hides %.0f %% of the values, which are below one count per ten"
                " thousand (class 0); classes: quantile hides all",
                100 * share,
            )

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide values."""
        del model
        return View.of(hide(tokens, self._mask(tokens, generator), num_bins=self.num_bins), tokens)

    def counts(self, *views: View) -> dict[str, float]:
        """Hidden tokens; values apart from zeros where both are asked for."""
        (view,) = views
        if self.config.loss == "cross_entropy":
            return {"cross_entropy": view.num_asked}
        positions = self._norm_of(view.tokens) if self.config.loss_norm == "published" else None
        if self.config.target == "value":
            return {"squared_error": positions or view.num_asked}
        counts: dict[str, float] = {"squared_error": positions or view.num_values}
        if self.config.mask_zeros:
            counts["nonzero"] = positions or view.num_asked
        return counts

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Score the prediction of the hidden values."""
        view = step.view
        sums = self._sums(view, self._outputs(model, step))
        counts = self.counts(view)
        return LossOutput({name: Sum(total, counts[name]) for name, total in sums.items()}, view.num_asked)

    def _sums(self, view: View, outputs_MK: Tensor) -> dict[str, Tensor]:
        """Sum of each part of the loss over the hidden tokens."""
        value_M = view.values_M
        if self.config.loss == "cross_entropy":
            class_M = view.bins_M if self.config.classes == "quantile" else rounded_bins(value_M, self.num_bins)
            return {"cross_entropy": F.cross_entropy(outputs_MK, class_M, reduction="sum")}
        if self.config.target == "value":
            return {"squared_error": (outputs_MK[:, 0] - value_M).square().sum()}
        nonzero_M = value_M != 0
        gene_M = view.genes_M
        target_M = (value_M - self.mean_G[gene_M]) / self.std_G[gene_M]
        sums = {"squared_error": (outputs_MK[:, 0] - target_M).square()[nonzero_M].sum()}
        if self.config.mask_zeros:
            sums["nonzero"] = F.binary_cross_entropy_with_logits(
                outputs_MK[:, 1], nonzero_M.to(outputs_MK.dtype), reduction="sum"
            )
        return sums

    def _mask(self, batch: PackedTokens, generator: torch.Generator) -> Tensor:
        config = self.config
        if config.classes == "rounded":  # what is in class 0 is a zero to scBERT
            is_low_T = rounded_bins(batch.values_T, self.num_bins) == 0
            batch = replace(batch, values_T=batch.values_T.masked_fill(is_low_T, 0.0))
        if not config.mask_zeros:
            return draw_mask(batch, generator, share=config.mask_share)
        return draw_balanced_mask(
            batch, generator, share=config.mask_share, balance=config.mask_balance, num_features=self.num_features
        )

    def _norm_of(self, batch: PackedTokens) -> int:
        """``(n - m) c`` of equation 5; at least 1."""
        visible_T = (batch.values_T != 0) & ~batch.hidden_T
        most = int(torch.bincount(batch.cell_of_token_T[visible_T], minlength=batch.num_cells).max())
        return max(1, (self.num_features - most) * batch.num_cells)

    def read_values(self, model: ModelView, step: Step) -> Tensor:
        """Hidden values, given that they are not zero (``target: value``: as they are, zeros included)."""
        view = step.view
        outputs_MK = self._outputs(model, step).float()
        if self.config.loss == "mse":
            if self.config.target == "value":
                return outputs_MK[:, 0]
            gene_M = view.genes_M
            return self.mean_G[gene_M] + self.std_G[gene_M] * outputs_MK[:, 0]
        values_BC = self._class_values(view.tokens)
        share_MC = outputs_MK[:, -values_BC.shape[1] :].softmax(dim=-1)
        return (share_MC * values_BC[view.cells_M]).sum(dim=-1)

    @property
    def predicts_zeros(self) -> bool:
        """Zeros are hidden in training too."""
        return self.config.mask_zeros

    @torch.no_grad()
    def predict_nonzero(self, model: ModelView, batch: PackedTokens, genes: GeneStates) -> Tensor:
        """See :class:`~grn_cotrain.objectives.base.PredictsZeros`."""
        outputs_MK = self._outputs(model, Step(genes, (self.asking(batch),), Encodings(model, genes))).float()
        if self.config.loss == "cross_entropy":
            return 1 - outputs_MK.softmax(dim=-1)[:, 0]
        return outputs_MK[:, 0 if self.config.target == "value" else 1]

    def _class_values(self, batch: PackedTokens) -> Tensor:
        """Value of each class that a non-zero value may have, in each cell: ``[B, K]``, rounded ``[B, K + 1]``."""
        if self.config.classes == "quantile":
            return visible_bin_values(batch, self.num_bins)
        middle_C = (torch.arange(self.num_bins + 1, device=batch.values_T.device) + 0.5) * math.log(2)
        return visible_class_values(batch, rounded_bins(batch.values_T, self.num_bins), middle_C)

    def _outputs(self, model: ModelView, step: Step) -> Tensor:
        """The head's outputs at the hidden tokens; only these rows pass the head."""
        view = step.view
        state_MD = step.states.tokens_TD[view.where_M]
        outputs_MK: Tensor = self.state_mlp(state_MD)
        if self.config.head != "tied":
            return outputs_MK
        row_MD = model.gene_rows(step.genes, view.tokens.feature_ids_T[view.where_M])
        if self.config.loss == "cross_entropy":
            return outputs_MK + self.gene_map(row_MD)
        joint_M = (self.state_map(state_MD) * self.gene_map(row_MD)).sum(dim=-1) * row_MD.shape[-1] ** -0.5
        return torch.stack([outputs_MK[:, 0] + joint_M, outputs_MK[:, 1]], dim=-1)
