"""Target in-degree: how many TFs regulate the target in training, whatever the TF.

Dimension letters: G genes, M pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls._degrees import train_in_degree
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["TargetDegree"]


@CONTROLS.register("target_degree", paper="-")
class TargetDegree(Control):
    r"""In-degree of the target among training positives; a hidden target has the mean over seen targets, not 0.

    .. math:: z_{st} = d^{in}_t
    """

    name = "target_degree"
    in_degree_G: np.ndarray

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Count the training regulators of every gene."""
        self.in_degree_G = train_in_degree(split)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``."""
        return self.in_degree_G[pairs_2M[1]]
