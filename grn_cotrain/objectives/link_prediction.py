"""Link prediction over the shared gene table.

Dimension letters: D width, G genes, M pairs, N negative pairs, P positive pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grn_cotrain.config import ComponentSpec, require
from grn_cotrain.data.negatives import SupervisionMode
from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_losses import LINK_LOSSES, LinkLoss
from grn_cotrain.objectives.base import OBJECTIVES, LossOutput, ModelView, Objective, Step, Sum

__all__ = ["LinkPrediction", "auroc"]


def auroc(positive_P: Tensor, negative_N: Tensor) -> float:
    """Share of (positive, negative) pairs in the right order, ties counting half; NaN if a class is empty."""
    if not positive_P.numel() or not negative_N.numel():
        return float("nan")
    sorted_N = negative_N.sort().values
    below_P = torch.searchsorted(sorted_N, positive_P, side="left")
    not_above_P = torch.searchsorted(sorted_N, positive_P, side="right")
    return float((below_P + not_above_P).double().mean() / (2 * negative_N.numel()))


@OBJECTIVES.register("link_prediction", paper="Kipf & Welling 2016, Variational graph auto-encoders")
class LinkPrediction(Objective):
    """Loss of the model's link decoder on encoded genes, plus the decoder's own penalty.

    Reads ``step.genes.linked_GD``, whose messages passed without the supervised pairs, and ``step.links``.
    ``parts``: ``pairs`` and ``regulariser``. ``metrics``: ``auroc`` of the supervised pairs (in rows mode: of the first
    block of rows), and the parts and metrics of the link loss.

    Parameters
    ----------
    config
        ``loss``: one of ``grn-cotrain list link_loss``, with its options. ``positives_per_step``,
        ``negatives_per_positive``: sampling in pairs mode. ``source_share``: share of the TFs whose rows are supervised
        in a step in rows mode. The trainer draws ``step.links`` by these.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Loss and sampling.

        Attributes
        ----------
        loss
            Loss over supervised pairs, with its options (``grn-cotrain list link_loss``).
        positives_per_step
            Positives a step where the loss takes pairs; never more than a quarter of all.
        negatives_per_positive
            Negatives for each positive where the loss takes pairs.
        source_share
            Share of the TFs whose rows are supervised in a step where the loss takes rows.
        """

        loss: ComponentSpec = field(default_factory=lambda: ComponentSpec("balanced_bce"))
        positives_per_step: int = 4096
        negatives_per_positive: int = 1
        source_share: float = 0.2

        def __post_init__(self) -> None:
            for name in ("positives_per_step", "negatives_per_positive"):
                require(getattr(self, name) >= 1, f"{name}: got {getattr(self, name)}; give at least 1")
            if not 0 < self.source_share <= 1:
                raise UserError(f"source_share: got {self.source_share}; give a share above 0, at most 1")
            self.build_loss()  # an unknown loss or option is found when the recipe is read

        def build_loss(self) -> LinkLoss:
            """The loss with its options."""
            return LINK_LOSSES.build(self.loss.name, self.loss.options, path="loss")

        @property
        def mode(self) -> SupervisionMode:
            """Kind of supervision that the sampler must draw: ``pairs`` or ``rows``, as the loss needs."""
            return self.build_loss().mode

    reads_links = True

    def __init__(self, config: Config, **_: Any) -> None:
        super().__init__()
        self.config = config
        self.loss = config.build_loss()

    def forward(self, model: ModelView, step: Step) -> LossOutput:
        """See :class:`Objective`."""
        if step.links is None:
            raise ValueError("link_prediction: the step brings no link supervision")
        output = self.loss(model.link_decoder, step.genes.linked_GD, step.links)
        # Links are scored once a step, in one place: their mean is a sum of one item.
        parts = {"pairs": Sum(output.loss, 1)}
        penalty = model.link_decoder.regulariser()
        if penalty is not None:
            parts["regulariser"] = Sum(penalty, 1)
        shown = {name: float(part.detach()) for name, part in output.parts.items()}
        metrics = {**shown, "auroc": auroc(output.positive_P, output.negative_N), **output.metrics}
        return LossOutput(parts, output.count, metrics)
