"""Common neighbours of TF and target in the training graph.

Dimension letters: G genes, M pairs, S sources of a block.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy import sparse

from grn_cotrain.controls._degrees import train_neighbours
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.controls.pair_rows import score_by_rows
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["CommonNeighbours"]


@CONTROLS.register("common_neighbours", paper="Liben-Nowell and Kleinberg 2007, 10.1002/asi.20591")
class CommonNeighbours(Control):
    r"""Number of genes that are adjacent, in either direction, to both TF and target in training.

    .. math:: z_{st} = |N(s) \cap N(t)|
    """

    name = "common_neighbours"
    adjacency_GG: sparse.csr_array

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Keep the undirected training graph."""
        self.adjacency_GG = train_neighbours(split)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        return score_by_rows(pairs_2M, lambda sources_S: (self.adjacency_GG[sources_S] @ self.adjacency_GG).toarray())
