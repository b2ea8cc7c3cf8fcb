"""Adamic-Adar index of TF and target in the training graph.

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

__all__ = ["AdamicAdar"]


@CONTROLS.register("adamic_adar", paper="Adamic and Adar 2003, 10.1016/S0378-8733(03)00009-1")
class AdamicAdar(Control):
    r"""Sum of 1 / log(degree) over the common neighbours of TF and target, in either direction, in training.

    .. math:: z_{st} = \sum_{x \in N(s) \cap N(t)} \frac{1}{\log |N(x)|}

    A common neighbour has two neighbours at least, so the logarithm is positive.
    """

    name = "adamic_adar"
    adjacency_GG: sparse.csr_array
    weighted_GG: sparse.csr_array

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Keep the undirected training graph, plain and weighted."""
        self.adjacency_GG = train_neighbours(split)
        weight_G = 1 / np.log(np.maximum(self.adjacency_GG.sum(axis=0), 2.0))
        self.weighted_GG = (self.adjacency_GG @ sparse.diags_array(weight_G)).tocsr()
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        return score_by_rows(pairs_2M, lambda sources_S: (self.weighted_GG[sources_S] @ self.adjacency_GG).toarray())
