"""Random scores: what chance looks like in every column of the table.

Dimension letters: M pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["RandomScore"]


@CONTROLS.register("random", paper="-")
class RandomScore(Control):
    """Uniform numbers in [0, 1) that depend on the seed and the pair alone, not on the order or choice of pairs.

    The pair is hashed by SplitMix64 (Steele, Lea and Flood 2014).
    """

    name = "random"

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Nothing to learn."""
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        pairs_2M = np.asarray(pairs_2M).astype(np.uint64)
        state_M = _split_mix(pairs_2M[0] + np.uint64(self.seed % 2**32) * np.uint64(2**32))
        return (_split_mix(state_M ^ pairs_2M[1]) >> np.uint64(11)) / 2.0**53


def _split_mix(state_M: np.ndarray) -> np.ndarray:
    state_M = state_M + np.uint64(0x9E3779B97F4A7C15)  # wraps round, as it should
    state_M = (state_M ^ (state_M >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state_M = (state_M ^ (state_M >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state_M ^ (state_M >> np.uint64(31))
