"""Exact class-balanced logistic loss over every candidate of whole TF rows.

Dimension letters: D width, G genes, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.data.negatives import LinkSupervision, SupervisionMode
from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_decoders.base import LinkDecoder
from grn_cotrain.nn.link_losses.base import (
    LINK_LOSSES,
    LinkLoss,
    LinkLossOutput,
    recomputed,
    row_blocks,
)

__all__ = ["AllPairs"]


@LINK_LOSSES.register("all_pairs", paper="Hu, Koren & Volinsky 2008, Implicit feedback (all unobserved pairs count)")
class AllPairs(LinkLoss):
    r"""Class-balanced cross-entropy without sampling noise, streamed over blocks of TF rows.

    .. math::
        L = \tfrac12 \frac{1}{|\mathcal P|} \sum_{(s,t) \in \mathcal P} \log(1 + e^{-z_{st}})
          + \tfrac12 \frac{1}{|\mathcal N|} \sum_{(s,t) \in \mathcal N} \log(1 + e^{z_{st}}), \qquad
        \mathcal P \cup \mathcal N = \{(s, t): s \in S,\ t \text{ a candidate of } s\}

    ``balanced=False`` averages over all pairs instead (logits then estimate log-odds at the true prevalence).
    ``parts``: ``positive``, ``negative`` (the two means).

    Parameters
    ----------
    config
        ``block_rows``: TF rows scored at once; memory is ``block_rows`` x G, whatever S is. ``balanced``.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Rows at once, and whether classes are balanced."""

        block_rows: int = 64
        balanced: bool = True

        def __post_init__(self) -> None:
            if self.block_rows < 1:
                raise UserError(f"block_rows: got {self.block_rows}; give at least 1")

    @property
    def mode(self) -> SupervisionMode:
        """Whole rows."""
        return "rows"

    def __call__(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        """See :class:`LinkLoss`."""
        blocks = list(row_blocks(supervision, self.config.block_rows))
        num_positives = sum(int(positive_SG.sum()) for _, positive_SG, _ in blocks)
        num_negatives = sum(int(negative_SG.sum()) for _, _, negative_SG in blocks)
        positive_sum = negative_sum = genes_GD.new_zeros((), dtype=torch.float32)
        watched: tuple[Tensor, Tensor] | None = None
        for sources_S, positive_SG, negative_SG in blocks:
            positive, negative, logits_SG = recomputed(
                _block_sums, decoder, genes_GD, sources_S, positive_SG, negative_SG
            )
            positive_sum, negative_sum = positive_sum + positive, negative_sum + negative
            watched = watched or (logits_SG[positive_SG], logits_SG[negative_SG])
        assert watched is not None  # row_blocks yields at least one block
        positive, negative = positive_sum / max(1, num_positives), negative_sum / max(1, num_negatives)
        total = num_positives + num_negatives
        loss = 0.5 * (positive + negative) if self.config.balanced else (positive_sum + negative_sum) / max(1, total)
        return LinkLossOutput(loss, total, {"positive": positive, "negative": negative}, *watched)


def _block_sums(
    decoder: LinkDecoder, genes_GD: Tensor, sources_S: Tensor, positive_SG: Tensor, negative_SG: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss summed over the block's positives and negatives, and its detached logits."""
    logits_SG = decoder.block(genes_GD, sources_S).float()
    # softplus(-z) = softplus(z) - z: one softplus serves both classes.
    softplus_SG = F.softplus(logits_SG)
    positive = ((softplus_SG - logits_SG) * positive_SG).sum()
    return positive, (softplus_SG * negative_SG).sum(), logits_SG.detach()
