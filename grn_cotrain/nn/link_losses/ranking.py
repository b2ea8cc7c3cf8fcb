"""Pairwise ranking of each TF's targets against its own non-targets.

Dimension letters: D width, G genes, N negative pairs, P positive pairs, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.config import require
from grn_cotrain.data.negatives import LinkSupervision, SupervisionMode
from grn_cotrain.nn.link_decoders.base import LinkDecoder
from grn_cotrain.nn.link_losses.base import (
    LINK_LOSSES,
    LinkLoss,
    LinkLossOutput,
    recomputed,
    row_blocks,
)

__all__ = ["Ranking"]

_TILE = 2**22  # differences held at once: 16 MiB of float32


class _PairwiseLogistic(torch.autograd.Function):
    """Sum over groups of the mean of ``softplus(n - p)`` over all (positive, negative) pairs of the group.

    The gradient is taken while the differences are in memory, so memory is one tile, not the number of pairs.
    """

    @staticmethod
    def forward(
        ctx: Any, positive_P: Tensor, negative_N: Tensor, positive_sizes: list[int], negative_sizes: list[int]
    ) -> Tensor:
        grad_P, grad_N = torch.zeros_like(positive_P), torch.zeros_like(negative_N)
        total = positive_P.new_zeros(())
        first_p = first_n = 0
        for num_p, num_n in zip(positive_sizes, negative_sizes, strict=True):
            negative_n = negative_N[first_n : first_n + num_n]
            group_n = grad_N[first_n : first_n + num_n]
            weight = 1.0 / (num_p * num_n)
            for start in range(first_p, first_p + num_p, max(1, _TILE // num_n)):
                stop = min(start + max(1, _TILE // num_n), first_p + num_p)
                difference_pn = negative_n[None, :] - positive_P[start:stop, None]
                total += weight * F.softplus(difference_pn).sum()
                slope_pn = difference_pn.sigmoid_()
                grad_P[start:stop] = -weight * slope_pn.sum(1)
                group_n += weight * slope_pn.sum(0)
            first_p, first_n = first_p + num_p, first_n + num_n
        ctx.save_for_backward(grad_P, grad_N)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_P, grad_N = ctx.saved_tensors
        return grad * grad_P, grad * grad_N, None, None


@LINK_LOSSES.register("ranking", paper="Rendle et al. 2009, BPR: Bayesian personalised ranking")
class Ranking(LinkLoss):
    r"""Each TF's positives against negatives of the same TF; every TF counts the same.

    .. math::
        L = \frac{1}{|S|} \sum_{s \in S} \frac{1}{|\mathcal P_s| |\mathcal N_s|}
            \sum_{p \in \mathcal P_s} \sum_{n \in \mathcal N_s} \log\bigl(1 + e^{-(z_{sp} - z_{sn})}\bigr)

    over the TFs S that have both classes: a smooth bound of 1 - macro per-TF AUROC. TF biases cancel, so TF degree
    can't be learned from it. ``supervision="rows"`` is exact over all candidates of the step's TFs; ``"pairs"``
    compares the step's sampled positives and negatives of each TF.

    Parameters
    ----------
    config
        ``supervision``; ``block_rows``: TF rows scored at once (rows mode).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Exact rows or sampled pairs, and rows at once.

        Attributes
        ----------
        supervision
            ``rows``: all candidates of the step's TFs; ``pairs``: sampled positives and negatives of each TF.
        block_rows
            TF rows scored at once (``rows``); bounds the memory.
        """

        supervision: Literal["rows", "pairs"] = "rows"
        block_rows: int = 64

        def __post_init__(self) -> None:
            require(self.block_rows >= 1, f"block_rows: got {self.block_rows}; give at least 1")

    @property
    def mode(self) -> SupervisionMode:
        """As configured."""
        return self.config.supervision

    def __call__(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        """See :class:`LinkLoss`."""
        return (self._rows if self.mode == "rows" else self._pairs)(decoder, genes_GD, supervision)

    def _rows(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        total = genes_GD.new_zeros(()).float()
        num_sources = count = 0
        watched: tuple[Tensor, Tensor] | None = None
        for sources_S, positive_SG, negative_SG in row_blocks(supervision, self.config.block_rows):
            both_S = positive_SG.any(1) & negative_SG.any(1)
            if not both_S.any():
                continue
            positive_SG, negative_SG = positive_SG[both_S], negative_SG[both_S]
            logits_SG = recomputed(decoder.block, genes_GD, sources_S[both_S]).float()
            positive_P, negative_N = logits_SG[positive_SG], logits_SG[negative_SG]
            total = total + _PairwiseLogistic.apply(
                positive_P, negative_N, positive_SG.sum(1).tolist(), negative_SG.sum(1).tolist()
            )
            num_sources += len(logits_SG)
            count += len(positive_P) + len(negative_N)
            watched = watched or (positive_P.detach(), negative_N.detach())
        return self._output(total, num_sources, count, watched or (total.new_zeros(0), total.new_zeros(0)))

    def _pairs(self, decoder: LinkDecoder, genes_GD: Tensor, supervision: LinkSupervision) -> LinkLossOutput:
        if supervision.sources_S.numel():
            raise ValueError("supervision: it was drawn in mode 'rows'; this loss was configured for mode 'pairs'")
        positives_2P, positive_sizes = _grouped(supervision.positives_2P, supervision.negatives_2N)
        negatives_2N, negative_sizes = _grouped(supervision.negatives_2N, supervision.positives_2P)
        positive_P, negative_N = decoder(genes_GD, positives_2P).float(), decoder(genes_GD, negatives_2N).float()
        total = _PairwiseLogistic.apply(positive_P, negative_N, positive_sizes, negative_sizes)
        watched = (positive_P.detach(), negative_N.detach())
        return self._output(total, len(positive_sizes), len(positive_P) + len(negative_N), watched)

    @staticmethod
    def _output(total: Tensor, num_sources: int, count: int, watched: tuple[Tensor, Tensor]) -> LinkLossOutput:
        loss = total / max(1, num_sources)
        return LinkLossOutput(loss, count, {"ranking": loss}, *watched, metrics={"sources": float(num_sources)})


def _grouped(pairs_2M: Tensor, others_2M: Tensor) -> tuple[Tensor, list[int]]:
    """Pairs whose source also has pairs among ``others``, sorted by source, and the number of pairs of each source."""
    kept_2M = pairs_2M[:, torch.isin(pairs_2M[0], others_2M[0])]
    sources_S, sizes_S = kept_2M[0].unique(return_counts=True)
    del sources_S  # ascending, hence the same order for positives and negatives
    return kept_2M[:, kept_2M[0].argsort(stable=True)], sizes_S.tolist()
