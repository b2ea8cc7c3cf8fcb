"""Exact class-balanced logistic loss over every candidate of whole TF rows.

Dimension letters: D width, G genes, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.config import require
from grn_cotrain.data.negatives import LinkSupervision, SupervisionMode
from grn_cotrain.nn.link_decoders.base import LinkDecoder, LinkFactors
from grn_cotrain.nn.link_losses.base import (
    LINK_LOSSES,
    LinkLoss,
    LinkLossOutput,
    recomputed,
    row_blocks,
)
from grn_cotrain.nn.pairwise import ClassMeans, PairSet, all_pairs_bce

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
        ``block_rows``: TF rows scored at once, where the logits are not an inner product; memory is ``block_rows`` x G,
        whatever S is. ``balanced``.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Rows at once, and whether classes are balanced.

        Attributes
        ----------
        block_rows
            TF rows scored at once where logits are not an inner product; bounds the memory.
        balanced
            Whether positives and negatives weigh the same; if not, logits estimate log-odds at the true prevalence.
        """

        block_rows: int = 64
        balanced: bool = True

        def __post_init__(self) -> None:
            require(self.block_rows >= 1, f"block_rows: got {self.block_rows}; give at least 1")

    @property
    def mode(self) -> SupervisionMode:
        """Whole rows."""
        return "rows"

    def __call__(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        """See :class:`LinkLoss`."""
        # Checks the mode, and lends the first rows to watch training by.
        sources_S, positive_SG, negative_SG = next(row_blocks(supervision, self.config.block_rows))
        with torch.no_grad():
            watched_SG = decoder.block(genes_GD, sources_S).float()
        factors = decoder.factors(genes_GD)
        means = (
            self._by_blocks(decoder, genes_GD, supervision) if factors is None else _by_factors(factors, supervision)
        )
        count = means.num_positives + means.num_negatives
        positive_share = 0.5 if self.config.balanced else means.num_positives / max(1, count)
        return LinkLossOutput(
            loss=positive_share * means.positive + (1 - positive_share) * means.negative,
            count=count,
            parts={"positive": means.positive, "negative": means.negative},
            positive_P=watched_SG[positive_SG],
            negative_N=watched_SG[negative_SG],
        )

    def _by_blocks(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> ClassMeans:
        """Any decoder: each block is scored again in the backward pass."""
        positive_sum = negative_sum = genes_GD.new_zeros((), dtype=torch.float32)
        num_positives = num_negatives = 0
        for sources_S, positive_SG, negative_SG in row_blocks(supervision, self.config.block_rows):
            positive, negative = recomputed(_block_sums, decoder, genes_GD, sources_S, positive_SG, negative_SG)
            positive_sum, negative_sum = positive_sum + positive, negative_sum + negative
            num_positives += int(positive_SG.sum())
            num_negatives += int(negative_SG.sum())
        return ClassMeans(
            positive_sum / max(1, num_positives), negative_sum / max(1, num_negatives), num_positives, num_negatives
        )


def _by_factors(factors: LinkFactors, supervision: LinkSupervision) -> ClassMeans:
    """Logits that are inner products: fused tiles, which score nothing twice."""
    label_SG, allowed_SG = supervision.row_labels_SG, supervision.row_allowed_SG
    assert label_SG is not None  # row_blocks has checked the mode
    assert allowed_SG is not None
    row_P, column_P = (label_SG & allowed_SG).nonzero().T
    return all_pairs_bce(
        factors.source_GR[supervision.sources_S].float(),
        factors.target_GR.float(),
        PairSet.build(row_P, column_P, *label_SG.shape),
        bias_S=factors.bias.float().expand(len(label_SG)).contiguous(),
        allowed=allowed_SG,
    )


def _block_sums(
    decoder: LinkDecoder, genes_GD: Tensor, sources_S: Tensor, positive_SG: Tensor, negative_SG: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss summed over the block's positives, and over its negatives."""
    logits_SG = decoder.block(genes_GD, sources_S).float()
    # softplus(-z) = softplus(z) - z: one softplus serves both classes.
    softplus_SG = F.softplus(logits_SG)
    return ((softplus_SG - logits_SG) * positive_SG).sum(), (softplus_SG * negative_SG).sum()
