"""Class-balanced logistic loss on sampled pairs.

Dimension letters: D width, G genes, N negative pairs, P positive pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grn_cotrain.data.negatives import LinkSupervision, SupervisionMode
from grn_cotrain.nn.link_decoders.base import LinkDecoder
from grn_cotrain.nn.link_losses.base import LINK_LOSSES, LinkLoss, LinkLossOutput, class_means

__all__ = ["BalancedBCE"]


@LINK_LOSSES.register("balanced_bce", paper="Cao & Gao 2022, GLUE (edges and non-edges averaged apart)")
class BalancedBCE(LinkLoss):
    r"""Binary cross-entropy from logits, averaged within each class.

    .. math::
        L = \tfrac12 \frac1P \sum_{(s,t) \in \mathcal P} \log(1 + e^{-z_{st}})
          + \tfrac12 \frac1N \sum_{(s,t) \in \mathcal N} \log(1 + e^{z_{st}})

    The number of negatives per positive changes the noise, not the balance. ``parts``: ``positive``, ``negative`` (the
    two means).

    Parameters
    ----------
    config
        No options.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    @property
    def mode(self) -> SupervisionMode:
        """Sampled pairs."""
        return "pairs"

    def __call__(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        """See :class:`LinkLoss`."""
        if supervision.sources_S.numel():
            raise ValueError("supervision: it was drawn in mode 'rows'; this loss takes mode 'pairs'")
        num_positives, num_negatives = supervision.positives_2P.shape[1], supervision.negatives_2N.shape[1]
        positive_P = decoder(genes_GD, supervision.positives_2P)
        negative_N = decoder(genes_GD, supervision.negatives_2N)
        positive, negative = class_means(positive_P, negative_N)
        return LinkLossOutput(
            loss=0.5 * (positive + negative),
            count=num_positives + num_negatives,
            parts={"positive": positive, "negative": negative},
            positive_P=positive_P.detach(),
            negative_N=negative_N.detach(),
        )
