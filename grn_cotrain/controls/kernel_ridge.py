"""Two-step kernel ridge regression of the edge table on expression components: the best cheap expression control.

Dimension letters: G genes, S sources, R rank, N columns, O options, M pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from weakref import WeakKeyDictionary

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import RANK, gene_summaries, unit_loadings
from grn_cotrain.controls._table_control import TableControl
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.out_of_fold import Fold
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["KernelRidge"]

_PENALTIES = (0.1, 1.0, 10.0)


def ridge_features(cells: CellStore, *, rank: int) -> np.ndarray:
    """Rows whose inner products are the kernel of genes: ``[G, R]``."""
    unit_GR = unit_loadings(cells, rank=rank)
    if cells.vocab.features is None:
        return unit_GR
    summary_GF, _ = gene_summaries(cells)
    centred_GF = summary_GF - summary_GF.mean(axis=0)
    std_F = centred_GF.std(axis=0)
    centred_GF /= np.where(std_F > 0, std_F, 1)
    # Both blocks weigh the same over the genes.
    return np.concatenate([unit_GR, centred_GF / np.sqrt(max(summary_GF.shape[1], 1))], axis=1)


@CONTROLS.register("kernel_ridge", paper="Stock et al. 2018, 10.1162/neco_a_01096")
class KernelRidge(TableControl):
    r"""Two-step kernel ridge on 50 expression components, in closed form.

    With :math:`K` the cosine of genes in the space of the components, :math:`R` the labels less the effects of the
    sides that are not held out, and 0 where nothing is known,

    .. math:: F = K_{\cdot T} (K_{TT} + \lambda_1 I)^{-1} R (K_{GG} + \lambda_2 I)^{-1} K_{G \cdot}

    plus those effects. The kernels have rank 50, so that everything between the features is a 50 x 50 matrix.
    Penalties are multiples of the mean eigenvalue of each kernel, chosen out of fold inside training. Where the
    vocabulary carries features of other data sets, the kernel is the mean of the cosine over the sets that hold the
    gene, plus the product of standardised means, deviations and detection rates.

    Config
    ------
    rank
        Number of expression components.
    source_penalty, target_penalty
        :math:`\lambda_1, \lambda_2` as multiples of the mean eigenvalue; None: chosen.
    """

    name = "kernel_ridge"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`KernelRidge`."""

        rank: int = RANK
        source_penalty: float | None = None
        target_penalty: float | None = None

        def __post_init__(self) -> None:
            require(self.rank >= 1, f"rank: got {self.rank}; give at least 1")
            for name in ("source_penalty", "target_penalty"):
                value = getattr(self, name)
                if value is not None and not value > 0:
                    raise UserError(f"{name}: got {value}; give a positive number, or null to choose it in training")

    unit_GR: np.ndarray
    _moments: WeakKeyDictionary[EdgeTable, tuple[np.ndarray, np.ndarray, np.ndarray]]

    def read_features(self, split: EdgeSplit, cells: CellStore | None) -> None:
        """Expression components, one unit row a gene."""
        assert cells is not None
        self.unit_GR = ridge_features(cells, rank=self.config.rank).astype(np.float64)
        self._moments = WeakKeyDictionary()

    def options(self) -> list[tuple[float, float]]:
        """Pairs of penalties; the middle first."""
        fixed = (self.config.source_penalty, self.config.target_penalty)
        grids = [_PENALTIES if value is None else (value,) for value in fixed]
        return sorted(product(*grids), key=lambda pair: sum(abs(np.log(value)) for value in pair))

    def predict(
        self,
        table: EdgeTable,
        option: tuple[float, float],
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        rows = slice(None) if rows_R is None else rows_R
        columns = slice(None) if columns_N is None else columns_N
        weights_RR = self._solve(table, option)
        learned_RN = (self.unit_GR[table.sources_S[rows]] @ weights_RR) @ self.unit_GR[columns].T
        effect_R1 = table.source_effect_S[rows][:, None]
        return table.mean_rate + effect_R1 + table.target_effect_G[columns] + learned_RN

    def predict_entries(
        self, fold: Fold, option: tuple[float, float], rows_M: np.ndarray, columns_M: np.ndarray
    ) -> np.ndarray:
        """See :class:`TableControl`; a product of two features and a matrix, without the fold's whole table."""
        table = fold.table
        left_SR = self.unit_GR[table.sources_S] @ self._solve(table, option)
        learned_M = np.einsum("mr,mr->m", left_SR[rows_M], self.unit_GR[columns_M])
        return table.mean_rate + table.source_effect_S[rows_M] + table.target_effect_G[columns_M] + learned_M

    def _solve(self, table: EdgeTable, option: tuple[float, float]) -> np.ndarray:
        """The matrix between the features, ``[R, R]``: the primal form of both ridges."""
        if table not in self._moments:
            self._moments[table] = self._compute_moments(table)
        middle_RR, *grams = self._moments[table]
        left_RR, right_RR = (
            gram_RR + penalty * max(float(np.trace(gram_RR)) / len(gram_RR), 1e-12) * np.eye(len(gram_RR))
            for gram_RR, penalty in zip(grams, option, strict=True)
        )
        return np.linalg.solve(right_RR, np.linalg.solve(left_RR, middle_RR).T).T

    def _compute_moments(self, table: EdgeTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``F_T' R F_G``, ``F_T' F_T``, ``F_G' F_G`` over seen rows and columns, ``[R, R]`` each."""
        left_SR = self.unit_GR[table.sources_S] * table.seen_S[:, None]
        right_GR = self.unit_GR * table.seen_G[:, None]
        base_S, base_G = table.mean_rate + table.source_effect_S, table.target_effect_G
        middle_RR = left_SR.T @ np.asarray(table.sparse_SG @ right_GR)
        if table.complete:
            # The expected value of seen entries has rank 2, less the self-pairs: no residual table is made.
            middle_RR -= np.outer(base_S @ left_SR, right_GR.sum(axis=0))
            middle_RR -= np.outer(left_SR.sum(axis=0), base_G @ right_GR)
            own_S = base_S + base_G[table.sources_S]
            middle_RR += left_SR.T @ (own_S[:, None] * right_GR[table.sources_S])
        else:
            middle_RR -= left_SR.T @ ((table.known_SG * (base_S[:, None] + base_G)) @ right_GR)
        return middle_RR, left_SR.T @ left_SR, right_GR.T @ right_GR
