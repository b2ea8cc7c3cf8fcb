"""Matrix factorisation of the edge table: TFs and targets get a few learned coordinates each, no expression.

Dimension letters: G genes, S sources, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import eigh

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._smoothing import relative_rate
from grn_cotrain.controls._table_control import TableControl, require_candidates
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.out_of_fold import Fold

__all__ = ["MatrixFactorisation"]


@CONTROLS.register("matrix_factorisation", paper="Koren et al. 2009, 10.1109/MC.2009.263")
class MatrixFactorisation(TableControl):
    r"""Truncated singular value decomposition of the labels, in units of what the two rates lead to expect.

    With :math:`e_{st}` the product of the rates of s and t over the mean rate, the residual
    :math:`(y_{st} - e_{st}) / \sqrt{e_{st}}` of known entries (0 elsewhere) is decomposed; the leading singular values
    are shrunk by the first one left out, and the result is taken back to rates. A gene that training does not know has
    coordinates 0, so only its rate's prior speaks. Rank and weight are chosen out of fold inside training.

    Config
    ------
    ranks
        Candidates for the number of coordinates.
    weights
        Candidates for the weight of the factors against the rates.
    """

    name = "matrix_factorisation"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Candidates that training chooses from."""

        ranks: tuple[int, ...] = (4, 16, 48)
        weights: tuple[float, ...] = (0.3, 1.0)

        def __post_init__(self) -> None:
            require_candidates(self, "ranks")

    _factors: tuple[EdgeTable, np.ndarray, np.ndarray] | None = None

    def options(self) -> Sequence[tuple[int, float]]:
        """Ranks x weights of the factors against the rates."""
        return list(product(self.config.ranks, self.config.weights))

    def predict(
        self,
        table: EdgeTable,
        option: tuple[int, float],
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`TableControl`."""
        rank, weight = option
        rows = slice(None) if rows_R is None else rows_R
        columns = slice(None) if columns_N is None else columns_N
        expected_S, expected_G = _expected(table)
        left_SR, right_GR = self._shrunken(table, rank)
        learned_RN = left_SR[rows] @ right_GR[columns].T
        expected_RN = expected_S[rows][:, None] * expected_G[columns]
        return expected_RN + weight * learned_RN * np.sqrt(expected_RN)

    def predict_entries(
        self, fold: Fold, option: tuple[int, float], rows_M: np.ndarray, columns_M: np.ndarray
    ) -> np.ndarray:
        """See :class:`TableControl`; products of coordinates, without the fold's whole table."""
        expected_S, expected_G = _expected(fold.table)
        left_SR, right_GR = self._shrunken(fold.table, option[0])
        expected_M = expected_S[rows_M] * expected_G[columns_M]
        learned_M = np.einsum("mr,mr->m", left_SR[rows_M], right_GR[columns_M])
        return expected_M + option[1] * learned_M * np.sqrt(expected_M)

    def _shrunken(self, table: EdgeTable, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """The leading coordinates, each shrunk by the first singular value that is left out."""
        left_SR, right_GR = self._decompose(table)
        kept = min(rank, left_SR.shape[1] - 1)
        value_R = np.linalg.norm(left_SR, axis=0)  # columns of ``left`` are as long as their singular values
        length_R = value_R[:kept]
        shrunk_R = np.divide(length_R - value_R[kept], length_R, out=np.zeros(kept), where=length_R > 0)
        return left_SR[:, :kept] * shrunk_R, right_GR[:, :kept]

    def _decompose(self, table: EdgeTable) -> tuple[np.ndarray, np.ndarray]:
        """``U S`` and ``V`` of the residual, one component more than the largest rank."""
        if self._factors is None or self._factors[0] is not table:
            self._factors = (table, *_svd(_residual(table), max(self.config.ranks) + 1))
        return self._factors[1], self._factors[2]


def _expected(table: EdgeTable) -> tuple[np.ndarray, np.ndarray]:
    return table.mean_rate * relative_rate(table, of="source"), relative_rate(table, of="target")


def _residual(table: EdgeTable) -> np.ndarray:
    expected_S, expected_G = _expected(table)
    expected_SG = np.maximum(expected_S[:, None] * expected_G, 1e-12)
    return table.known_SG * (table.labels_SG - expected_SG) / np.sqrt(expected_SG)


def _svd(residual_SG: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading components by the eigenvectors of the smaller Gram matrix (sources: hundreds)."""
    size = len(residual_SG)
    value_R, vector_SR = eigh(residual_SG @ residual_SG.T, subset_by_index=[max(size - rank, 0), size - 1])
    left_SR = vector_SR[:, ::-1]
    singular_R = np.sqrt(np.maximum(value_R[::-1], 0))
    right_GR = residual_SG.T @ left_SR
    right_GR = np.divide(right_GR, singular_R, out=np.zeros_like(right_GR), where=singular_R > 1e-9)
    return left_SR * singular_R, right_GR
