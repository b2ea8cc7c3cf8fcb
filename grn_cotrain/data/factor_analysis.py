"""Factor analysis and PCA of gene-standardised sparse matrices, without a dense copy of them.

Dimension letters: C cells, G genes, R rank.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, lobpcg, svds

from grn_cotrain.data.standardised import GRAM_FEATURES, Standardised, StandardisedMatrix

__all__ = ["FactorModel", "fit_factor_analysis", "principal_axes"]

_LOGGER = logging.getLogger(__name__)
_MIN_NOISE = 1e-3  # Heywood cases: a gene explained completely would get infinite weight.
_MOST_PASSES = 20  # over a store on disk
_GUARD = 8  # more directions than asked for: the last ones converge slowly
_CLOSE = 1e-4  # residual of an eigenvector, where a feature's variance is 1


def principal_axes(z: Standardised, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading right singular vectors ``[G, R]`` and singular values ``[R]`` of ``Z``, descending.

    The sign of each vector makes its largest entry (by size) positive, so that runs and machines agree. For cells in
    memory, and for few features, the vectors are exact to rounding. Many features of cells on disk take at most 20
    passes (locally optimal block preconditioned conjugate gradients, Knyazev 2001).
    """
    if isinstance(z, StandardisedMatrix):
        axes_GR, singular_R = _of_matrix(z, rank, seed)
    else:
        axes_GR, singular_R = _of_products(z, rank, seed)
    order = np.argsort(-singular_R, kind="stable")[:rank]
    axes_GR, singular_R = axes_GR[:, order], singular_R[order]
    peak_R = axes_GR[np.abs(axes_GR).argmax(axis=0), np.arange(axes_GR.shape[1])]
    return axes_GR * np.where(peak_R < 0, -1.0, 1.0), singular_R


def _of_matrix(z: StandardisedMatrix, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    shape = (z.num_cells, z.num_features)
    if rank >= min(shape) // 2:  # Lanczos needs room; a matrix this small may be dense.
        _, singular_R, axes_RG = np.linalg.svd(z.dense(), full_matrices=False)
    else:
        operator = LinearOperator(shape, matvec=z.times, rmatvec=z.transpose_times, matmat=z.times, dtype=np.float64)
        start = np.random.default_rng(seed).standard_normal(min(shape))
        _, singular_R, axes_RG = svds(operator, k=rank, v0=start, return_singular_vectors="vh")
    return axes_RG.T, singular_R


def _of_products(z: Standardised, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    size, wanted = z.num_features, rank + _GUARD
    if size <= GRAM_FEATURES or size < 5 * wanted:  # the iteration needs room too
        eigen_G, axes_GG = np.linalg.eigh(z.gram_times(np.eye(size)))
        return axes_GG, np.sqrt(np.maximum(eigen_G, 0.0))

    def correlation_times(right_GR: np.ndarray) -> np.ndarray:  # over C: the tolerance must not depend on it
        return z.gram_times(right_GR) / z.num_cells

    operator = LinearOperator((size, size), matvec=correlation_times, matmat=correlation_times, dtype=np.float64)
    start_GR = np.random.default_rng(seed).standard_normal((size, wanted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it stopped at the last pass is reported below
        eigen_R, axes_GR, residuals = lobpcg(
            operator, start_GR, largest=True, tol=_CLOSE, maxiter=_MOST_PASSES, retResidualNormsHistory=True
        )
    largest = residuals[-1][:rank].max()
    _LOGGER.info("loadings: %d passes over the cells, largest residual %.2g", len(residuals), largest)
    return axes_GR, np.sqrt(np.maximum(eigen_R, 0.0) * z.num_cells)


@dataclass(frozen=True)
class FactorModel:
    """``z = loading_GR f + e``, f ~ N(0, I), e ~ N(0, diag(noise_G)); constant genes have loading 0."""

    loading_GR: np.ndarray
    noise_G: np.ndarray

    @property
    def rank(self) -> int:
        """R."""
        return int(self.loading_GR.shape[1])


def fit_factor_analysis(z: Standardised, rank: int, *, num_iterations: int = 30, seed: int = 0) -> FactorModel:
    """Maximum likelihood by EM (Rubin & Thayer 1982), started at probabilistic PCA.

    Each iteration is one product with ``Z^T Z``. No array has a row for each cell.
    """
    num_cells, variance_G = z.num_cells, z.variance_G
    axes_GR, singular_R = principal_axes(z, rank, seed)
    rank = axes_GR.shape[1]
    eigen_R = singular_R**2 / num_cells
    rest = max(float(variance_G.sum() - eigen_R.sum()) / max(int((variance_G > 0).sum()) - rank, 1), _MIN_NOISE)
    loading_GR = axes_GR * np.sqrt(np.maximum(eigen_R - rest, 1e-6))
    noise_G = np.maximum(variance_G - (loading_GR**2).sum(axis=1), _MIN_NOISE)
    for _ in range(num_iterations):
        weighted_GR = loading_GR / noise_G[:, None]
        covariance_RR = np.linalg.inv(np.eye(rank) + loading_GR.T @ weighted_GR)
        reading_GR = weighted_GR @ covariance_RR  # the cells' mean factors are Z @ reading
        cross_GR = z.gram_times(reading_GR)
        second_RR = num_cells * covariance_RR + reading_GR.T @ cross_GR
        loading_GR = np.linalg.solve(second_RR, cross_GR.T).T
        noise_G = np.maximum(variance_G - (loading_GR * cross_GR).sum(axis=1) / num_cells, _MIN_NOISE)
    return FactorModel(loading_GR, noise_G)
