"""Scores of listed pairs from whole TF rows, a block of TFs at a time.

Dimension letters: G genes, M pairs, S sources of a block.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["score_by_rows"]


def score_by_rows(
    pairs_2M: np.ndarray, rows: Callable[[np.ndarray], np.ndarray], *, block_size: int = 256
) -> np.ndarray:
    """Score pairs by computing each of their TFs' rows once.

    Parameters
    ----------
    pairs_2M
        Gene indices, in any order.
    rows
        ``rows(sources_S)`` returns scores ``[S, G]`` of these sources against every gene.
    block_size
        Sources per call; bounds the memory.

    Returns
    -------
    float64 ``[M]``.
    """
    scores_M = np.empty(pairs_2M.shape[1])
    order_M = np.argsort(pairs_2M[0], kind="stable")
    sources, first_of_source = np.unique(pairs_2M[0][order_M], return_index=True)
    first_of_source = np.append(first_of_source, len(order_M))
    for start in range(0, len(sources), block_size):
        sources_S = sources[start : start + block_size]
        block_M = order_M[first_of_source[start] : first_of_source[start + len(sources_S)]]
        scores_SG = rows(sources_S)
        scores_M[block_M] = scores_SG[np.searchsorted(sources_S, pairs_2M[0, block_M]), pairs_2M[1, block_M]]
    return scores_M
