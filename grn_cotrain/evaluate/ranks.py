"""Filtered, tie-aware ranks of true targets among the candidate targets of their TF, and what is made of them.

Filtered: the other positives of a TF are not competitors. Tie-aware: competitors of equal score count not at all
(optimistic), half (realistic), or all (pessimistic). Only the realistic rank enters a table, and each metric is
accompanied by its chance-adjusted form (0 at random, 1 at best), so that a constant scorer cannot look good.

Sources: Ruffinelli et al. 2020; Sun et al. 2020 (ties); Berrendorf et al. 2020 and Hoyt et al. 2022 (adjustment).
Dimension letters: M pairs, P positives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from grn_cotrain.metrics.blocks import cumulate, group_sum, rank_scores, tie_blocks

__all__ = ["FilteredRanks", "expected_hits", "expected_reciprocal_rank", "filtered_ranks"]


def expected_reciprocal_rank(num_candidates: np.ndarray) -> np.ndarray:
    """Mean of 1/rank for a uniformly drawn rank among ``num_candidates``: the harmonic number over n."""
    return (digamma(num_candidates + 1.0) + np.euler_gamma) / num_candidates


def expected_hits(num_candidates: np.ndarray, k: int) -> np.ndarray:
    """Chance that a uniformly drawn rank is at most ``k``."""
    return np.minimum(k, num_candidates) / num_candidates


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
