"""Degree product: out-degree of the TF times in-degree of the target, in training.

Dimension letters: G genes, M pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls._degrees import train_in_degree, train_out_degree
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["DegreeProduct"]


@CONTROLS.register("degree_product", paper="Barabasi and Albert 1999, 10.1126/science.286.5439.509")
class DegreeProduct(Control):
    r"""Out-degree of the TF times in-degree of the target over training positives (preferential attachment).

    .. math:: z_{st} = d^{out}_s \, (d^{in}_t + \tfrac12)

    The half keeps the TF's degree visible at targets without a regulator. Hidden genes have the mean over seen ones.
    """

    name = "degree_product"
    out_degree_G: np.ndarray
    in_degree_G: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Count the training targets and regulators of every gene."""
        self.out_degree_G, self.in_degree_G = train_out_degree(split), train_in_degree(split)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        return self.out_degree_G[pairs_2M[0]] * (self.in_degree_G[pairs_2M[1]] + 0.5)
