"""kNN of training targets by expression: a gene is regulated by what regulates genes that are expressed like it.

Dimension letters: G genes, R rows, N columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import RANK, NeighbourFinder, unit_loadings
from grn_cotrain.controls._smoothing import relative_rate, shrink, smooth_targets
from grn_cotrain.controls._table_control import TableControl
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.errors import UserError

__all__ = ["TargetKnn"]


@CONTROLS.register("target_knn", paper="-")
class TargetKnn(TableControl):
    """A TF's rate among the genes nearest to the target by expression, shrunk to the TF's rate among all genes.

    Nearest by cosine in the space of 50 expression components. Where targets are not held out, scores are multiplied by
    the target's own rate over the mean.
    """

    name = "target_knn"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Candidates that training chooses from, and the number of expression components."""

        num_neighbours: tuple[int, ...] = (30, 100, 300)
        prior_weights: tuple[float, ...] = (1.0, 10.0)
        rank: int = RANK

        def __post_init__(self) -> None:
            for name in ("num_neighbours", "prior_weights"):
                values = getattr(self, name)
                if not values or min(values) <= 0:
                    raise UserError(f"{name}: got {list(values)}; give one or more positive numbers")

    finder: NeighbourFinder

    def options(self) -> Sequence[tuple[int, float]]:
        """Numbers of neighbours x weights of the prior."""
        return list(product(self.config.num_neighbours, self.config.prior_weights))

    def read_features(self, split: EdgeSplit, cells: CellMatrix | None) -> None:
        """Loadings of expression."""
        assert cells is not None
        self.finder = NeighbourFinder(unit_loadings(cells, rank=self.config.rank), max(self.config.num_neighbours))

    def predict(
        self,
        table: EdgeTable,
        option: tuple[int, float],
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        num, prior_weight = option
        rows = slice(None) if rows_R is None else rows_R
        columns_N = np.arange(table.num_genes) if columns_N is None else columns_N
        weights_NG = self.finder.find(columns_N, np.flatnonzero(table.seen_G)).weights(num, table.num_genes)
        positive_RN, weight_RN = smooth_targets(table, weights_NG, rows)
        rate_RN = shrink(positive_RN, weight_RN, table.source_rate_S[rows][:, None], prior_weight)
        return rate_RN * relative_rate(table, of="target")[columns_N]
