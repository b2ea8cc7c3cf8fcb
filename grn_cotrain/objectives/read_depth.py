"""Objective ``read_depth``: predict hidden values of the raw cell from the visible ones of a shallower draw of it.

Dimension letters: T packed tokens, M hidden tokens, K outputs of the head, B cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from grn_cotrain.config import require
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.read_depth import CountFaults, check_counts, draw_rates, thin
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, Step
from grn_cotrain.objectives.masked_value import MaskedValue
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.view import View

__all__ = ["ReadDepth"]


@OBJECTIVES.register("read_depth", paper="Hao et al. 2024, scFoundation")
class ReadDepth(MaskedValue):
    r"""Read-depth-aware modelling: the input is a draw of fewer reads, the target the raw cell at hidden positions.

    .. math:: x \sim p(x \mid y), \qquad L = \frac1M \sum_{t \text{ hidden}} \left(o_t(x_\text{visible}, T, S) -
        \log(1 + 10^4 y_t / T)\right)^2, \qquad T = \sum_g y_g, \quad S = \sum_g x_g

    with raw counts ``y`` and the counts ``x`` that the model is shown, normalised with *their* total S. For a cell of
    more than ``min_total`` counts

    .. math:: \gamma \sim \mathrm{Bernoulli}(\mathrm{thin\_share}), \quad r \sim \mathrm{Beta}(\alpha, \beta), \quad
        x_g \mid y_g \sim \mathrm{Binomial}(y_g, r) \text{ if } \gamma = 1, \text{ else } x_g = y_g

    (:mod:`grn_cotrain.data.read_depth`). ``depth_B2`` holds log1p of T and S; the encoder ``scfoundation`` reads it,
    others predict without knowing how deep the target is. A value of which no read was kept becomes a zero token; only
    with ``tokens.zeros_per_cell: all`` is it one zero among all.

    Which tokens are hidden is drawn on the raw cell. The model's batch holds no target: hidden values and bins are 0
    there, and visible values are binned among themselves.

    Loss, target, norm and head are as in :class:`~grn_cotrain.objectives.masked_value.MaskedValue`. Published:
    ``mask_zeros: true`` (30 % of zeros and of non-zeros), ``target: value``, ``head: mlp``. :meth:`predict_values`
    asks for the cell's own depth (T = S), unless ``depth_B2`` of the batch asks for another. Raw counts are needed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MaskedValue.Config):
        """Settings of :class:`ReadDepth`; the others are those of ``masked_value``.

        Attributes
        ----------
        loss, mask_share, mask_zeros, mask_balance, target, loss_norm, head, classes
            See :class:`~grn_cotrain.objectives.masked_value.MaskedValue`.
        thin_share
            Chance that a cell is down-sampled. Default 0.5.
        rate_alpha, rate_beta
            Parameters of the Beta distribution of the share of reads that is kept. Default 2 and 2.
        min_total
            Cells of so few counts, or fewer, are never down-sampled. Default 1,000.
        """

        thin_share: float = 0.5
        rate_alpha: float = 2.0
        rate_beta: float = 2.0
        min_total: float = 1000.0

        def __post_init__(self) -> None:
            super().__post_init__()
            require(0 <= self.thin_share <= 1, f"thin_share: got {self.thin_share}; give a share from 0 to 1")
            for name in ("rate_alpha", "rate_beta"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a number above 0")
            require(self.min_total >= 0, f"min_total: got {self.min_total}; give 0 or more counts")

    config: Config

    @classmethod
    def needs(cls, config: Any, *, num_bins: int) -> frozenset[Need[Any]]:
        """See :class:`Objective`."""
        return super().needs(config, num_bins=num_bins) | {CountFaults()}

    @torch.no_grad()
    def prepare(self, statistics: Statistics) -> None:
        """Take statistics of the training cells.

        Raises
        ------
        UserError
            The cells hold log-scale values, counts with fractions, or totals below the sum of their counts.
        """
        check_counts(statistics)
        super().prepare(statistics)

    def view(self, model: ModelView, tokens: PackedTokens, generator: torch.Generator) -> View:
        """Hide values and draw what is shown of the rest."""
        del model
        config = self.config
        # Drawn before anything else: which tokens are hidden does not depend on how deep the cells are.
        masked_T = self._mask(tokens, generator)
        rate_B = draw_rates(
            tokens,
            generator,
            share=config.thin_share,
            beta=(config.rate_alpha, config.rate_beta),
            min_total=config.min_total,
        )
        shallow = thin(tokens.with_mask(masked_T), rate_B, generator)
        return View.of(hide(shallow, masked_T, num_bins=self.num_bins), tokens)

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """Score the prediction of the hidden values of the raw cells."""
        depth_B2 = step.view.tokens.depth_B2
        assert depth_B2 is not None
        kept_B = torch.expm1(depth_B2[:, 1]) / torch.expm1(depth_B2[:, 0]).clamp_min(1.0)
        output = super().forward(model, step)
        return replace(output, metrics={**output.metrics, "reads_kept": float(kept_B.mean())})

    def asking(self, tokens: PackedTokens) -> View:
        """Ask for a cell of depth T; where the tokens do not state which, for the cell's own depth."""
        if tokens.depth_B2 is None and tokens.total_B is not None:
            tokens = replace(tokens, depth_B2=tokens.total_B.log1p()[:, None].repeat(1, 2))
        return View.of(tokens)
