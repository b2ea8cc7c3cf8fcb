"""kNN on both sides: how often do TFs like this one regulate genes like that one?

Dimension letters: G genes, S sources, R rows, N columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import sparse

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import RANK, NeighbourFinder, unit_loadings
from grn_cotrain.controls._smoothing import relative_rate, shrink, smooth_targets
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["DoubleKnn"]


@CONTROLS.register("double_knn", paper="-")
class DoubleKnn(TableControl):
    r"""Rate among (neighbour of the TF, neighbour of the target) pairs, shrunk to the mean rate.

    .. math::
        z_{st} = \rho_s \rho_t
            \frac{\sum_{u, g} w_{su} w_{tg}\, y_{ug} + \lambda\, p}{\sum_{u, g} w_{su} w_{tg} + \lambda}

    Neighbours by cosine in the space of 50 expression components. A gene that is not held out is its own neighbour, at
    weight 1, and multiplies the score by its own rate over the mean.
    """

    name = "double_knn"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Candidates that training chooses from, and the number of expression components.

        Attributes
        ----------
        num_sources
            Candidates for the number of neighbours of the TF.
        num_targets
            Candidates for the number of neighbours of the target.
        prior_weights
            Candidates for the weight of the mean rate, in pairs of neighbours.
        rank
            Number of expression components.
        """

        num_sources: tuple[int, ...] = (50, 150)
        num_targets: tuple[int, ...] = (100, 300)
        prior_weights: tuple[float, ...] = (10.0,)
        rank: int = RANK

        def __post_init__(self) -> None:
            require_candidates(self, "num_sources", "num_targets", "prior_weights")

    finder: NeighbourFinder

    def options(self) -> Sequence[tuple[int, int, float]]:
        """All combinations."""
        return list(product(self.config.num_sources, self.config.num_targets, self.config.prior_weights))

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Loadings of expression."""
        assert cells is not None
        self.finder = NeighbourFinder(
            unit_loadings(cells, rank=self.config.rank), max(*self.config.num_sources, *self.config.num_targets)
        )

    def predict(
        self,
        table: EdgeTable,
        option: tuple[int, int, float],
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        num_sources, num_targets, prior_weight = option
        rows_R = np.arange(len(table.sources_S)) if rows_R is None else rows_R
        columns_N = np.arange(table.num_genes) if columns_N is None else columns_N
        columns = self.finder.find(columns_N, np.flatnonzero(table.seen_G)).weights(num_targets, table.num_genes)
        columns = columns + _self(columns_N, table.seen_G[columns_N], table.num_genes)
        sources_R = table.sources_S[rows_R]
        rows = self.finder.find(sources_R, table.sources_S[table.seen_S]).weights(num_sources, table.num_genes)
        rows = rows + _self(sources_R, table.seen_S[rows_R], table.num_genes)
        rows_RS = rows[:, table.sources_S]
        positive_SN, weight_SN = smooth_targets(table, columns, slice(None))
        rate_RN = shrink(rows_RS @ positive_SN, rows_RS @ weight_SN, np.float64(table.mean_rate), prior_weight)
        rate_RN *= relative_rate(table, of="source")[rows_R][:, None]
        return rate_RN * relative_rate(table, of="target")[columns_N]


def _self(genes: np.ndarray, seen: np.ndarray, num_genes: int) -> sparse.csr_array:
    """Weight 1 of every seen gene on itself."""
    at = np.flatnonzero(seen)
    return sparse.csr_array((np.ones(len(at), dtype=np.float32), (at, genes[at])), (len(genes), num_genes))
