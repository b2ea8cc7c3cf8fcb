"""Absolute Pearson correlation of TF and target over cells.

Dimension letters: M pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.controls.pair_rows import score_by_rows
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore

__all__ = ["Pearson"]

_SOURCES = 512  # scored together: one pass over the cells each


@CONTROLS.register("pearson", paper="-")
class Pearson(Control):
    r"""Absolute Pearson correlation of TF and target over all cells.

    .. math:: z_{st} = |\operatorname{corr}(x_s, x_t)|

    Expression is normalised: log1p of counts per ten thousand, or log values as given. Cells are read block by block.
    """

    name = "pearson"
    needs_cells = True
    version = 2
    statistics: Statistics

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Keep the cells, which are read when pairs are scored; edges are not read."""
        cells = self.require(cells)
        self.statistics = Statistics(self._values(cells))
        return self

    def _values(self, cells: CellStore) -> CellStore:
        """Cells whose values are correlated."""
        return cells

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Scores ``[M]``, in [0, 1]."""
        return score_by_rows(
            pairs_2M, lambda sources_S: np.abs(correlations(self.statistics, sources_S)), block_size=_SOURCES
        )
