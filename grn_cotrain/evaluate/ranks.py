"""Filtered, tie-aware ranks of true targets among the candidate targets of their TF, and what is made of them.

Filtered: the other positives of a TF are not competitors. Tie-aware: competitors of equal score count not at all
(optimistic), half (realistic), or all (pessimistic). Only the realistic rank enters a table, and each metric is
accompanied by its chance-adjusted form (0 at random, 1 at best), so that a constant scorer cannot look good.

Sources: Ruffinelli et al. 2020; Sun et al. 2020 (ties); Berrendorf et al. 2020 and Hoyt et al. 2022 (adjustment).
Dimension letters: M pairs, P positives.
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma

__all__ = ["expected_hits", "expected_reciprocal_rank"]


def expected_reciprocal_rank(num_candidates: np.ndarray) -> np.ndarray:
    """Mean of 1/rank for a uniformly drawn rank among ``num_candidates``: the harmonic number over n."""
    return (digamma(num_candidates + 1.0) + np.euler_gamma) / num_candidates


def expected_hits(num_candidates: np.ndarray, k: int) -> np.ndarray:
    """Chance that a uniformly drawn rank is at most ``k``."""
    return np.minimum(k, num_candidates) / num_candidates
