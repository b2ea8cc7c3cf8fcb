"""Pairs of genes as integers.

Dimension letters: M pairs.
"""

from __future__ import annotations

import numpy as np

__all__ = ["pair_keys", "pairs_from_keys", "sorted_pairs"]


def pair_keys(pairs_2M: np.ndarray, num_genes: int) -> np.ndarray:
    """One int64 per pair, ``source * G + target``: set operations on pairs become set operations on integers."""
    pairs_2M = np.asarray(pairs_2M, dtype=np.int64).reshape(2, -1)
    return pairs_2M[0] * np.int64(num_genes) + pairs_2M[1]


def pairs_from_keys(keys_M: np.ndarray, num_genes: int) -> np.ndarray:
    """Inverse of :func:`pair_keys`: int64 ``[2, M]``."""
    return np.stack(np.divmod(np.asarray(keys_M, dtype=np.int64), np.int64(num_genes)))


def sorted_pairs(pairs_2M: np.ndarray, num_genes: int) -> np.ndarray:
    """Distinct pairs in the order of their keys, so that hashes and draws do not depend on the order of a file."""
    return pairs_from_keys(np.unique(pair_keys(pairs_2M, num_genes)), num_genes)
