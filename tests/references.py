"""Plain functions of one list of pairs, or of padded segments, that the fast ones of the package must equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.evaluate.ranks import expected_hits, expected_reciprocal_rank
from grn_cotrain.metrics.blocks import block_auroc, cumulate, group_sum, rank_scores, tie_blocks
from grn_cotrain.metrics.links import MIN_POSITIVES, degree_matched_groups, degree_strata, precision_at_k

__all__ = [
    "FilteredRanks",
    "degree_matched_auroc",
    "early_precision_ratio",
    "filtered_ranks",
    "reference_attention",
    "stratified_auroc",
]


def early_precision_ratio(scores_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Precision among as many pairs as there are positives, over prevalence (BEELINE's EPR; 1 is chance)."""
    num_positives = int(labels_M.sum())
    return precision_at_k(scores_M, labels_M, num_positives) / float(labels_M.mean())


def stratified_auroc(scores_M: np.ndarray, labels_M: np.ndarray, strata_M: np.ndarray) -> float:
    """Mean over positives of the share of negatives *of their stratum* that they outrank.

    With strata of the additive model's logit this is the residual AUROC: what a scorer knows beyond one bias a TF and
    one a target. Positives whose stratum has no negative are left out. NaN where none is left.
    """
    blocks = tie_blocks(rank_scores(scores_M), labels_M, strata_M)
    if not len(blocks.first_R):
        return float("nan")
    auroc_R = block_auroc(blocks.positive_K[None], blocks.negative_K[None], blocks.first_R)[0]
    return float(np.average(auroc_R, weights=np.add.reduceat(blocks.positive_K, blocks.first_R)))


def degree_matched_auroc(
    scores_M: np.ndarray,
    labels_M: np.ndarray,
    sources_M: np.ndarray,
    degree_M: np.ndarray,
    *,
    min_positives: int = MIN_POSITIVES,
) -> float:
    """Concordance of positives and negatives of one TF whose targets have the same in-degree; .5: nothing but degree.

    Mean over the positives of a TF, then over TFs with at least ``min_positives`` positives that have a match.

    Parameters
    ----------
    degree_M
        From :func:`leave_one_out_degree`.
    """
    strata = int(degree_strata(degree_M).max(initial=0)) + 1
    blocks = tie_blocks(rank_scores(scores_M), labels_M, degree_matched_groups(sources_M, degree_M))
    if not len(blocks.first_R):
        return float("nan")
    positive_R = np.add.reduceat(blocks.positive_K, blocks.first_R)
    auroc_R = block_auroc(blocks.positive_K[None], blocks.negative_K[None], blocks.first_R)[0]
    source_R = blocks.group_R // strata
    positive_S = np.bincount(source_R, weights=positive_R)
    won_S = np.bincount(source_R, weights=positive_R * auroc_R)
    enough_S = positive_S >= max(min_positives, 1)
    return float((won_S[enough_S] / positive_S[enough_S]).mean()) if enough_S.any() else float("nan")


@dataclass(frozen=True)
class FilteredRanks:
    """Ranks of positives (1 is best), one entry a positive.

    Attributes
    ----------
    optimistic_P, realistic_P, pessimistic_P
        float64; competitors of equal score count none, half, all.
    num_candidates_P
        The positive itself and its competitors.
    group_P
        Group (TF) of the positive, as given.
    """

    optimistic_P: np.ndarray
    realistic_P: np.ndarray
    pessimistic_P: np.ndarray
    num_candidates_P: np.ndarray
    group_P: np.ndarray

    def mean_reciprocal_rank(self, *, adjusted: bool = False) -> float:
        """Mean of 1/realistic rank; ``adjusted``: (MRR - chance) / (1 - chance)."""
        value = float(np.mean(1 / self.realistic_P))
        return _adjust(value, float(expected_reciprocal_rank(self.num_candidates_P).mean())) if adjusted else value

    def hits_at(self, k: int, *, adjusted: bool = False) -> float:
        """Share of positives whose realistic rank is at most ``k``; ``adjusted``: (hits - chance) / (1 - chance)."""
        value = float(np.mean(self.realistic_P <= k))
        return _adjust(value, float(expected_hits(self.num_candidates_P, k).mean())) if adjusted else value

    def adjusted_mean_rank_index(self) -> float:
        """1 - (mean rank - 1) / (expected mean rank - 1): 1 at best, 0 at random, below 0 for worse than random."""
        chance = float(((self.num_candidates_P - 1) / 2).mean())
        return 1 - float((self.realistic_P - 1).mean()) / chance if chance > 0 else float("nan")


def _adjust(value: float, chance: float) -> float:
    return (value - chance) / (1 - chance) if chance < 1 else float("nan")


def filtered_ranks(scores_M: np.ndarray, labels_M: np.ndarray, groups_M: np.ndarray) -> FilteredRanks:
    """Rank every positive among the negatives of its group.

    Parameters
    ----------
    scores_M
        Finite; higher is better.
    labels_M
        bool.
    groups_M
        Non-negative integers, usually the TF. Groups without a negative have no rank and are left out.
    """
    blocks = tie_blocks(rank_scores(scores_M), labels_M, groups_M)
    ahead_K = cumulate(blocks.negative_K[None], blocks.first_R)[0] - blocks.negative_K
    repeats_K = blocks.positive_K.astype(np.int64)
    negatives_R = group_sum(blocks.negative_K[None], blocks.first_R)[0]
    group_K = blocks.group_of_block_K
    optimistic_P = np.repeat(1 + ahead_K, repeats_K)
    tied_P = np.repeat(blocks.negative_K, repeats_K)
    return FilteredRanks(
        optimistic_P=optimistic_P,
        realistic_P=optimistic_P + tied_P / 2,
        pessimistic_P=optimistic_P + tied_P,
        num_candidates_P=np.repeat(negatives_R[group_K] + 1, repeats_K),
        group_P=np.repeat(blocks.group_R[group_K], repeats_K),
    )


def reference_attention(
    q_THK: Tensor, k_SHK: Tensor, v_SHW: Tensor, cu_q: Tensor, cu_k: Tensor, *, scale: float | None = None
) -> Tensor:
    """The same function the plain way, for tests: pad to the longest segment, mask, float64."""
    scale = q_THK.shape[-1] ** -0.5 if scale is None else scale
    len_q, len_k = cu_q.diff().tolist(), cu_k.diff().tolist()

    def pad(x_THK: Tensor, lengths: list[int]) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(list(x_THK.double().split(lengths)), batch_first=True)

    q_BLHK, k_BLHK, v_BLHW = pad(q_THK, len_q), pad(k_SHK, len_k), pad(v_SHW, len_k)
    logits_BHLL = torch.einsum("bqhk,bshk->bhqs", q_BLHK, k_BLHK) * scale
    valid_BL = torch.arange(k_BLHK.shape[1], device=k_SHK.device) < torch.tensor(len_k, device=k_SHK.device)[:, None]
    logits_BHLL = logits_BHLL.masked_fill(~valid_BL[:, None, None, :], float("-inf"))
    out_BLHW = torch.einsum("bhqs,bshw->bqhw", logits_BHLL.softmax(dim=-1), v_BLHW)
    return torch.cat([out[:length] for out, length in zip(out_BLHW, len_q, strict=True)])
