"""Reversed edge: whether the target regulates the TF in training.

Dimension letters: E edges, M pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.store import CellStore

__all__ = ["ReversedEdge"]


@CONTROLS.register("reversed_edge", paper="-")
class ReversedEdge(Control):
    """1 where the reverse of the pair is a training positive, else 0.

    A value far above chance reveals an undirected network whose two copies of an edge are on both sides of a split.
    """

    name = "reversed_edge"
    num_genes: int
    reversed_E: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Keep the reversed training positives."""
        self.num_genes = split.num_genes
        self.reversed_E = np.unique(pair_keys(split.train_2E[::-1], split.num_genes))
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        return np.isin(pair_keys(pairs_2M, self.num_genes), self.reversed_E).astype(np.float64)
