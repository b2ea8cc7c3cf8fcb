"""Tie blocks: the one sort that stands behind every ranking metric.

Pairs are sorted once by falling score. Pairs of equal score form a block, and so do neighbouring blocks without a
positive, since no ranking metric can distinguish them. Every metric is then a function of the positive and negative
weight of each block: ties are exact, bootstrap weights enter for free, and 5M candidates shrink to a few thousand rows.

Dimension letters: M pairs, O sorted pairs, K blocks, R groups, B columns of weights (bootstrap replicates).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "Ranking",
    "TieBlocks",
    "block_auroc",
    "block_average_precision",
    "block_precision_at",
    "cumulate",
    "group_sum",
    "rank_scores",
    "tie_blocks",
]


@dataclass(frozen=True)
class Ranking:
    """``order_O`` sorts pairs by falling score; ``tie_O`` numbers their runs of equal score, the best run being 0."""

    order_O: np.ndarray
    tie_O: np.ndarray


@dataclass(frozen=True)
class TieBlocks:
    """Blocks of pairs that no ranking metric can distinguish, by group and then by falling score.

    Attributes
    ----------
    order_O
        Pair indices, block after block. Groups that cannot be ranked (no negative, or too few positives) are left out.
    start_K
        Position in ``order_O`` at which each block starts.
    first_R
        First block of each group.
    group_R
        Number of each group, as given to :func:`tie_blocks`.
    positive_K, negative_K
        float64 counts.
    """

    order_O: np.ndarray
    start_K: np.ndarray
    first_R: np.ndarray
    group_R: np.ndarray
    positive_K: np.ndarray
    negative_K: np.ndarray

    @property
    def num_blocks(self) -> int:
        """Number of blocks K; 0 where nothing can be ranked."""
        return len(self.start_K)

    @property
    def size_K(self) -> np.ndarray:
        """Number of pairs in each block."""
        return np.diff(self.start_K, append=len(self.order_O))

    @property
    def group_of_block_K(self) -> np.ndarray:
        """Position in ``group_R`` of each block's group."""
        return np.repeat(np.arange(len(self.first_R)), np.diff(self.first_R, append=self.num_blocks))


def rank_scores(scores_M: np.ndarray) -> Ranking:
    """Sort scores once; they must be finite."""
    order_O = np.argsort(-np.asarray(scores_M))
    sorted_O = np.asarray(scores_M)[order_O]
    return Ranking(order_O, np.cumsum(_starts(sorted_O)) - 1)


def _starts(*keys_O: np.ndarray) -> np.ndarray:
    """Mark the first of each run of equal keys: bool ``[O]``."""
    starts_O = np.zeros(len(keys_O[0]), dtype=bool)
    starts_O[:1] = True
    for key_O in keys_O:
        starts_O[1:] |= key_O[1:] != key_O[:-1]
    return starts_O


def tie_blocks(
    ranking: Ranking, labels_M: np.ndarray, groups_M: np.ndarray | None = None, *, min_positives: int = 1
) -> TieBlocks:
    """Cut ranked pairs into tie blocks, within groups if these are given.

    Parameters
    ----------
    ranking
        Ranking of all pairs, from :func:`rank_scores`.
    labels_M
        bool; True for positives.
    groups_M
        Non-negative integers; pairs are ranked within their group. None: one group.
    min_positives
        Groups with fewer positives, or without a negative, are left out.
    """
    if groups_M is None:
        groups_M = np.zeros(len(labels_M), dtype=np.int64)
    num_groups = int(groups_M.max(initial=-1)) + 1
    positives_G = np.bincount(groups_M[labels_M], minlength=num_groups)
    negatives_G = np.bincount(groups_M, minlength=num_groups) - positives_G
    group_R = np.flatnonzero((positives_G >= max(min_positives, 1)) & (negatives_G > 0))
    order_O, tie_O = ranking.order_O, ranking.tie_O
    if len(group_R) == num_groups == 1:
        rank_O = np.zeros(len(order_O), dtype=np.uint16)
    else:
        # A stable sort by group keeps the order by score; 16-bit keys make it a radix sort.
        code_G = np.full(num_groups, len(group_R), dtype=np.uint16 if len(group_R) < 2**16 - 1 else np.int64)
        code_G[group_R] = np.arange(len(group_R))
        code_O = code_G[groups_M[order_O]]
        kept_O = np.argsort(code_O, kind="stable")[: int((positives_G + negatives_G)[group_R].sum())]
        order_O, tie_O, rank_O = order_O[kept_O], tie_O[kept_O], code_O[kept_O]
    label_O = labels_M[order_O]

    start_of_tie_O = _starts(tie_O, rank_O)
    tie_of_O = np.cumsum(start_of_tie_O) - 1
    start_T = np.flatnonzero(start_of_tie_O)
    has_positive_T = np.zeros(len(start_T), dtype=bool)
    has_positive_T[tie_of_O[label_O]] = True
    first_of_block_T = has_positive_T | _starts(rank_O[start_T])
    first_of_block_T[1:] |= has_positive_T[:-1]
    start_K = start_T[first_of_block_T]

    first_R = np.flatnonzero(_starts(rank_O[start_K]))
    positive_K = np.diff(np.append(0, np.cumsum(label_O))[np.append(start_K, len(order_O))]).astype(np.float64)
    return TieBlocks(order_O, start_K, first_R, group_R, positive_K, np.diff(start_K, append=len(order_O)) - positive_K)


def group_sum(values_BK: np.ndarray, first_R: np.ndarray) -> np.ndarray:
    """Sum over the blocks of each group: ``[B, R]``."""
    if not len(first_R):
        return np.zeros((len(values_BK), 0))
    return np.add.reduceat(values_BK, first_R, axis=1, dtype=np.float64)


def cumulate(values_BK: np.ndarray, first_R: np.ndarray) -> np.ndarray:
    """Cumulative sum over the blocks that restarts in each group: ``[B, K]``, this block included."""
    total_BK = np.cumsum(values_BK, axis=1, dtype=np.float64)
    if len(first_R) > 1:
        sizes_R = np.diff(first_R, append=values_BK.shape[1])
        before_BR = np.concatenate([np.zeros((len(total_BK), 1)), total_BK[:, first_R[1:] - 1]], axis=1)
        total_BK -= np.repeat(before_BR, sizes_R, axis=1)
    return total_BK


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def block_auroc(positive_BK: np.ndarray, negative_BK: np.ndarray, first_R: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each group, ties counted half: ``[B, R]``, NaN where a class has no weight."""
    ahead_BK = cumulate(negative_BK, first_R)
    ahead_BK -= negative_BK / 2
    ahead_BK *= positive_BK
    lost_BR = group_sum(ahead_BK, first_R)
    return 1 - _ratio(lost_BR, group_sum(positive_BK, first_R) * group_sum(negative_BK, first_R))


def block_average_precision(positive_BK: np.ndarray, negative_BK: np.ndarray, first_R: np.ndarray) -> np.ndarray:
    """Average precision of each group, a tie block being one threshold (as scikit-learn has it): ``[B, R]``."""
    true_BK = cumulate(positive_BK, first_R)
    called_BK = cumulate(negative_BK, first_R)
    called_BK += true_BK
    precision_BK = np.divide(true_BK, called_BK, out=true_BK, where=called_BK > 0)
    precision_BK *= positive_BK
    return _ratio(group_sum(precision_BK, first_R), group_sum(positive_BK, first_R))


def block_precision_at(positive_BK: np.ndarray, negative_BK: np.ndarray, k_B: np.ndarray) -> np.ndarray:
    """Precision among the ``k`` best pairs of one group: ``[B]``; a block cut by ``k`` counts its expected share."""
    true_BK = np.cumsum(positive_BK, axis=1, dtype=np.float64)
    called_BK = np.cumsum(negative_BK, axis=1, dtype=np.float64)
    called_BK += true_BK
    k_B = np.minimum(np.asarray(k_B, dtype=np.float64), called_BK[:, -1])
    cut_B = np.minimum((called_BK < k_B[:, None]).sum(axis=1), called_BK.shape[1] - 1)
    row_B = np.arange(len(cut_B))
    positive_B, negative_B = positive_BK[row_B, cut_B], negative_BK[row_B, cut_B]
    size_B = positive_B + negative_B
    inside_B = k_B - (called_BK[row_B, cut_B] - size_B)
    share_B = np.divide(inside_B, size_B, out=np.zeros(size_B.shape), where=size_B > 0)
    return _ratio(true_BK[row_B, cut_B] - positive_B * (1 - share_B), k_B)
