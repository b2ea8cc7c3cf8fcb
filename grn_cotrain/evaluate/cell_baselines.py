"""Baselines that predict masked values without a network: gene mean, gene and cell, factor analysis.

All work on *deviations*: ``(value - mean_g) / std_g`` over the non-zero values of training cells. Zeros are missing,
not observed: whether an entry is zero is known to every predictor, what is asked is the value of one that is not.

Dimension letters: C cells, G genes, N hidden entries, R rank, U = R (R + 1) / 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = ["FactorAnalysis", "GeneAndCell", "GeneMean", "ValueBaseline"]

_RIDGE = 10.0  # a gene needs about this many cells before its loadings count
_MIN_NOISE = 0.01


class ValueBaseline(ABC):
    """Fitted on deviations of training cells; predicts hidden ones from the visible ones of the same cell."""

    name: str

    @abstractmethod
    def fit(self, deviations_CG: sparse.csr_matrix) -> ValueBaseline:
        """Learn from CSR deviations; what is not stored is missing (stored zeros are values)."""

    @abstractmethod
    def predict(self, visible_CG: sparse.csr_matrix, cell_N: np.ndarray, gene_N: np.ndarray) -> np.ndarray:
        """Deviations ``[N]`` of the hidden entries ``(cell, gene)``, given the visible ones."""


class GeneMean(ValueBaseline):
    """The gene's mean over training cells: deviation 0, R2 exactly 0."""

    name = "gene_mean"

    def fit(self, deviations_CG: sparse.csr_matrix) -> ValueBaseline:
        """Nothing to learn."""
        return self

    def predict(self, visible_CG: sparse.csr_matrix, cell_N: np.ndarray, gene_N: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros(len(gene_N))


class GeneAndCell(ValueBaseline):
    """Gene mean plus one number per cell: its mean visible deviation, shrunk.

    In counts most non-zero values are ones, and the normalised value of a one is a function of the cell's depth alone.
    This row shows how much of an R2 comes from it.
    """

    name = "gene_and_cell"

    def fit(self, deviations_CG: sparse.csr_matrix) -> ValueBaseline:
        """Nothing to learn."""
        return self

    def predict(self, visible_CG: sparse.csr_matrix, cell_N: np.ndarray, gene_N: np.ndarray) -> np.ndarray:
        """The cell's mean, shrunk by one pseudo-value of 0."""
        total_C = np.asarray(visible_CG.sum(axis=1)).ravel()
        return (total_C / (np.diff(visible_CG.indptr) + 1.0))[cell_N]


@dataclass
class FactorAnalysis(ValueBaseline):
    """Maximum-likelihood factor analysis with missing entries, by EM; prediction is the conditional expectation.

    ``z_cg = w_g . f_c + e_cg`` for the entries that are there, ``f ~ N(0, I)``, ``e ~ N(0, noise_g)``; ``w_g`` has a
    Gaussian prior, since a gene seen in ten cells cannot support sixteen loadings.

    Parameters
    ----------
    rank
        R.
    num_iterations
        EM steps.
    seed
        Seed of the starting loadings.
    """

    rank: int
    num_iterations: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        self.name = "factor_analysis"
        self.loading_GR = np.empty((0, self.rank))
        self.noise_G = np.empty(0)
        self._upper = np.triu_indices(self.rank)

    def fit(self, deviations_CG: sparse.csr_matrix) -> ValueBaseline:
        """EM from small random loadings."""
        values_CG = deviations_CG.astype(np.float64)
        seen_CG = _pattern(values_CG)
        values_GC, seen_GC = values_CG.T.tocsr(), seen_CG.T.tocsr()
        count_G = np.diff(seen_GC.indptr)
        square_G = np.bincount(values_CG.indices, values_CG.data**2, minlength=values_CG.shape[1])
        generator = np.random.default_rng(self.seed)
        self.loading_GR = 0.1 * generator.standard_normal((values_CG.shape[1], self.rank))
        self.noise_G = np.ones(values_CG.shape[1])
        for _ in range(self.num_iterations):
            mean_CR, covariance_CRR = self._posterior(values_CG, seen_CG)
            second_CRR = covariance_CRR + mean_CR[:, :, None] * mean_CR[:, None, :]
            second_GRR = self._unfold(seen_GC @ second_CRR[:, *self._upper])
            cross_GR = values_GC @ mean_CR
            ridge_GRR = _RIDGE * self.noise_G[:, None, None] * np.eye(self.rank)
            self.loading_GR = np.linalg.solve(second_GRR + ridge_GRR, cross_GR[:, :, None])[:, :, 0]
            explained_G = 2 * (self.loading_GR * cross_GR).sum(axis=1) - np.einsum(
                "gr,grs,gs->g", self.loading_GR, second_GRR, self.loading_GR
            )
            self.noise_G = np.maximum((square_G - explained_G + 1.0) / (count_G + 1.0), _MIN_NOISE)
        return self

    def predict(self, visible_CG: sparse.csr_matrix, cell_N: np.ndarray, gene_N: np.ndarray) -> np.ndarray:
        """``w_g . E[f_c | visible values of c]``."""
        visible = visible_CG.astype(np.float64)
        mean_CR, _ = self._posterior(visible, _pattern(visible))
        return np.einsum("nr,nr->n", mean_CR[cell_N], self.loading_GR[gene_N])

    def _posterior(self, values_CG: sparse.csr_matrix, seen_CG: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Mean ``[C, R]`` and covariance ``[C, R, R]`` of each cell's factors given its stored entries."""
        weighted_GR = self.loading_GR / self.noise_G[:, None]
        outer_GU = self.loading_GR[:, self._upper[0]] * weighted_GR[:, self._upper[1]]
        covariance_CRR = np.linalg.inv(np.eye(self.rank) + self._unfold(seen_CG @ outer_GU))
        return np.einsum("crs,cs->cr", covariance_CRR, values_CG @ weighted_GR), covariance_CRR

    def _unfold(self, upper_NU: np.ndarray) -> np.ndarray:
        """Upper triangles -> symmetric matrices."""
        full_NRR = np.empty((len(upper_NU), self.rank, self.rank))
        full_NRR[:, *self._upper] = upper_NU
        full_NRR[:, self._upper[1], self._upper[0]] = upper_NU
        return full_NRR


def _pattern(values_CG: sparse.csr_matrix) -> sparse.csr_matrix:
    """Ones where an entry is stored, be it zero."""
    return sparse.csr_matrix((np.ones_like(values_CG.data), values_CG.indices, values_CG.indptr), shape=values_CG.shape)
