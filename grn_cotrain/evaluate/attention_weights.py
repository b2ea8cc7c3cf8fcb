"""Summaries of one cell's matrix of attention weights: ranks, column means, PageRank.

Rows read columns; the diagonal (a token reading itself) is never counted.

Dimension letters: K tokens.
"""

from __future__ import annotations

import numpy as np

__all__ = ["column_means", "pagerank", "rank_normalised"]

_DAMPING = 0.85
_TOLERANCE = 1e-10
_MOST_STEPS = 200


def column_means(weight_KK: np.ndarray, reads_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""How much each token is read: mean over its readers, and sum, float64 ``[K]`` each.

    .. math:: m_c = \frac{1}{n_c} \sum_{r \ne c,\ r\ \mathrm{reads}} W_{rc}

    with ``n_c`` the number of readers but c itself; 0 where there is none. If every reader read by popularity alone
    (``W_rc = p_c``), ``W_rc - m_c`` would be 0 everywhere.
    """
    sum_K = weight_KK[reads_K].sum(axis=0, dtype=np.float64) - np.where(reads_K, np.diag(weight_KK), 0.0)
    readers_K = reads_K.sum() - reads_K.astype(np.int64)
    return np.divide(sum_K, readers_K, out=np.zeros(len(sum_K)), where=readers_K > 0), sum_K


def rank_normalised(weight_KK: np.ndarray, reads_K: np.ndarray, is_read_K: np.ndarray) -> np.ndarray:
    """Ranks within each reader's row, then those within each column, scaled to [0, 1]; ties share their mean rank.

    float32 ``[K, K]``; the diagonal and what is neither reader nor read are 0 and left out of the ranks. A row or
    column of one entry has .5. Without the second step, readers with one strong target would count for little.
    """
    rank_KK = np.zeros(weight_KK.shape, dtype=np.float32)
    rows, columns = np.flatnonzero(reads_K), np.flatnonzero(is_read_K)
    if not len(rows) or not len(columns):
        return rank_KK
    block = weight_KK[np.ix_(rows, columns)].astype(np.float64)
    own = rows[:, None] == columns[None, :]
    by_row = _ranks(block, own)
    rank_KK[np.ix_(rows, columns)] = _ranks(by_row.T, own.T).T
    return rank_KK


def _ranks(block: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Ranks within rows in [0, 1], entries marked ``own`` left out and 0."""
    from scipy.stats import rankdata

    # Weights and ranks are not negative, so the left-out entry has the lowest rank and the others follow it.
    ranks = rankdata(np.where(own, -1.0, block), axis=1) - 1 - own.sum(axis=1, keepdims=True)
    size = block.shape[1] - own.sum(axis=1, keepdims=True)
    scaled = np.divide(ranks, size - 1, out=np.full(ranks.shape, 0.5), where=size > 1)
    return np.where(own, 0.0, scaled)


def pagerank(weight_KK: np.ndarray) -> np.ndarray:
    """PageRank (damping .85) of a walker who goes from reader to what it reads: float64 ``[K]``, summing to 1.

    Brin and Page 1998. A reader that reads none of these tokens jumps to any of them.
    """
    num_tokens = len(weight_KK)
    step_KK = weight_KK.astype(np.float64)
    np.fill_diagonal(step_KK, 0.0)
    total_K = step_KK.sum(axis=1)
    stuck_K = total_K <= 0
    step_KK /= np.where(stuck_K, 1.0, total_K)[:, None]
    rank_K = np.full(num_tokens, 1 / num_tokens)
    for _ in range(_MOST_STEPS):
        flow_K = rank_K @ step_KK + rank_K[stuck_K].sum() / num_tokens
        new_K = _DAMPING * flow_K + (1 - _DAMPING) / num_tokens
        moved = np.abs(new_K - rank_K).sum()
        rank_K = new_K
        if moved < _TOLERANCE:
            break
    return rank_K
