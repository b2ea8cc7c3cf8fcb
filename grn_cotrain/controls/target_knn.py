"""kNN of training targets by expression: a gene is regulated by what regulates genes that are expressed like it.

Dimension letters: G genes, R rows, N columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import sparse

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import RANK, NeighbourFinder, unit_loadings
from grn_cotrain.controls._smoothing import LastSums, relative_rate, shrink, smooth_targets, vote_shares
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.out_of_fold import Fold
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["TargetKnn"]


@CONTROLS.register("target_knn", paper="-")
class TargetKnn(TableControl):
    r"""A TF's rate among the genes nearest to the target by expression, shrunk to the TF's rate among all genes.

    .. math:: z_{st} = \rho_t \frac{\sum_{g} w_{tg}\, y_{sg} + \lambda\, p_s}{\sum_{g} w_{tg} + \lambda}

    Nearest by cosine in the space of 50 expression components. Where targets are not held out, scores are multiplied by
    the target's own rate over the mean.
    """

    name = "target_knn"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Candidates that training chooses from, and the number of expression components.

        Attributes
        ----------
        num_neighbours
            Candidates for the number of nearest genes.
        prior_weights
            Candidates for the weight of the TF's rate among all genes, in neighbours.
        rank
            Number of expression components.
        """

        num_neighbours: tuple[int, ...] = (30, 100, 300)
        prior_weights: tuple[float, ...] = (1.0, 10.0)
        rank: int = RANK

        def __post_init__(self) -> None:
            require_candidates(self, "num_neighbours", "prior_weights")

    finder: NeighbourFinder
    last_sums: LastSums
    set_widths: dict[str, int]
    """Number of components of each other data set."""

    def options(self) -> Sequence[tuple[int, float]]:
        """Numbers of neighbours x weights of the prior."""
        return list(product(self.config.num_neighbours, self.config.prior_weights))

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Loadings of expression."""
        assert cells is not None
        self.last_sums = LastSums()
        features = cells.vocab.features
        sets = {} if features is None else features.of(cells.vocab.symbols)
        self.set_widths = {name: rows.loadings_GR.shape[1] for name, rows in sets.items()}
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
        columns = slice(None) if columns_N is None else columns_N
        positive_RN, weight_RN = self._sums(table, num, rows_R, columns_N)
        rate_RN = shrink(positive_RN, weight_RN, table.source_rate_S[rows][:, None], prior_weight)
        return rate_RN * relative_rate(table, of="target")[columns]

    def predict_entries(
        self, fold: Fold, option: tuple[int, float], rows_M: np.ndarray, columns_M: np.ndarray
    ) -> np.ndarray:
        """See :class:`TableControl`; shrinks the sums of the entries alone."""
        positive_RN, weight_RN = self._sums(fold.table, option[0], fold.rows_R, fold.columns_N)
        at = fold.position(rows_M, columns_M)
        rate_M = shrink(positive_RN[at], weight_RN[at], fold.table.source_rate_S[rows_M], option[1])
        return rate_M * relative_rate(fold.table, of="target")[columns_M]

    def _sums(
        self, table: EdgeTable, num: int, rows_R: np.ndarray | None, columns_N: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(None) if rows_R is None else rows_R
        columns = np.arange(table.num_genes) if columns_N is None else columns_N

        def compute() -> tuple[np.ndarray, np.ndarray]:
            return smooth_targets(table, self._weights(table, num, columns), rows)

        return self.last_sums.get((num,), (table, rows_R, columns_N), compute)

    def _weights(self, table: EdgeTable, num: int, columns_N: np.ndarray) -> sparse.csr_array:
        nearest = self.finder.find(columns_N, np.flatnonzero(table.seen_G))
        return nearest.weights(num, table.num_genes)

    def voters(self, columns_N: np.ndarray) -> sparse.csr_array:
        """Weight of each training gene in the rates of the columns, over all weights and the prior: ``[N, G]``."""
        num, prior_weight = self.option
        return vote_shares(self._weights(self.table, num, columns_N), prior_weight)

    def cosines_by_set(self, pairs_2M: np.ndarray) -> dict[str, np.ndarray]:
        """Part of the cosine of two genes that is due to the cells (``cells``) and to each other data set, ``[M]``."""
        unit_GR = self.finder.unit_GR
        widths = {"cells": unit_GR.shape[1] - sum(self.set_widths.values()), **self.set_widths}
        ends = np.cumsum(list(widths.values()))[:-1]
        first, second = (np.split(unit_GR[genes_M], ends, axis=1) for genes_M in pairs_2M)
        return {name: (a * b).sum(axis=1) for name, a, b in zip(widths, first, second, strict=True)}
