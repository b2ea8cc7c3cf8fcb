"""Factor analysis and PCA of gene-standardised sparse matrices, without a dense copy of them.

The standardised matrix is ``Z = X / sd - 1 (mean / sd)^T``: a sparse matrix minus a rank-one term, so every product
with a thin matrix costs one pass over the non-zeros.

Dimension letters: C cells, G genes, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

__all__ = ["FactorModel", "Standardised", "fit_factor_analysis", "principal_axes"]

_MIN_NOISE = 1e-3  # Heywood cases: a gene explained completely would get infinite weight.


@dataclass(frozen=True)
class Standardised:
    """Genes scaled to mean 0 and variance 1 over the given cells (zeros included); constant genes become 0.

    Attributes
    ----------
    scaled_CG
        CSR float64, ``X / sd`` (0 for constant genes).
    offset_G
        ``mean / sd``; ``Z = scaled_CG - offset_G``.
    mean_G, std_G
        Statistics of the cells; ``std_G`` is 0 for constant genes.
    """

    scaled_CG: sparse.csr_matrix
    offset_G: np.ndarray
    mean_G: np.ndarray
    std_G: np.ndarray

    @classmethod
    def of(cls, values_CG: sparse.csr_matrix) -> Standardised:
        """Standardise over the rows of ``values_CG`` (population variance)."""
        values = values_CG.astype(np.float64)
        mean_G = np.asarray(values.mean(axis=0)).ravel()
        square_G = np.asarray(values.multiply(values).mean(axis=0)).ravel()
        variance_G = square_G - mean_G**2
        # The difference of two squares leaves rounding where a gene is constant.
        std_G = np.sqrt(np.where(variance_G > 1e-10 * np.maximum(square_G, 1e-30), variance_G, 0.0))
        inverse_G = np.divide(1.0, std_G, out=np.zeros_like(std_G), where=std_G > 0)
        scaled = sparse.csr_matrix(values @ sparse.diags_array(inverse_G))
        return cls(scaled, mean_G * inverse_G, mean_G, std_G)

    def times(self, right_GR: np.ndarray) -> np.ndarray:
        """``Z @ right``."""
        return np.asarray(self.scaled_CG @ right_GR) - self.offset_G @ right_GR

    def transpose_times(self, right_CR: np.ndarray) -> np.ndarray:
        """``Z.T @ right``."""
        return np.asarray(self.scaled_CG.T @ right_CR) - np.multiply.outer(self.offset_G, right_CR.sum(axis=0))


def principal_axes(z: Standardised, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading right singular vectors ``[G, R]`` and singular values ``[R]`` of ``Z``, descending.

    The sign of each vector makes its largest entry (by size) positive, so that runs and machines agree.
    """
    num_cells, num_genes = z.scaled_CG.shape
    if rank >= min(num_cells, num_genes) // 2:  # Lanczos needs room; a matrix this small may be dense.
        _, singular_R, axes_RG = np.linalg.svd(z.scaled_CG.toarray() - z.offset_G, full_matrices=False)
        axes_GR = axes_RG.T
    else:
        operator = LinearOperator(
            (num_cells, num_genes), matvec=z.times, rmatvec=z.transpose_times, matmat=z.times, dtype=np.float64
        )
        start = np.random.default_rng(seed).standard_normal(min(num_cells, num_genes))
        _, singular_R, axes_RG = svds(operator, k=rank, v0=start, return_singular_vectors="vh")
        axes_GR = axes_RG.T
    order = np.argsort(-singular_R, kind="stable")[:rank]
    axes_GR, singular_R = axes_GR[:, order], singular_R[order]
    peak_R = axes_GR[np.abs(axes_GR).argmax(axis=0), np.arange(axes_GR.shape[1])]
    return axes_GR * np.where(peak_R < 0, -1.0, 1.0), singular_R


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

    Each iteration costs two passes over the non-zeros.
    """
    num_cells = z.scaled_CG.shape[0]
    variance_G = (z.std_G > 0).astype(np.float64)
    axes_GR, singular_R = principal_axes(z, rank, seed)
    rank = axes_GR.shape[1]
    eigen_R = singular_R**2 / num_cells
    rest = max(float(variance_G.sum() - eigen_R.sum()) / max(int(variance_G.sum()) - rank, 1), _MIN_NOISE)
    loading_GR = axes_GR * np.sqrt(np.maximum(eigen_R - rest, 1e-6))
    noise_G = np.maximum(variance_G - (loading_GR**2).sum(axis=1), _MIN_NOISE)
    for _ in range(num_iterations):
        weighted_GR = loading_GR / noise_G[:, None]
        covariance_RR = np.linalg.inv(np.eye(rank) + loading_GR.T @ weighted_GR)
        mean_CR = z.times(weighted_GR @ covariance_RR)
        cross_GR = z.transpose_times(mean_CR)
        second_RR = num_cells * covariance_RR + mean_CR.T @ mean_CR
        loading_GR = np.linalg.solve(second_RR, cross_GR.T).T
        noise_G = np.maximum(variance_G - (loading_GR * cross_GR).sum(axis=1) / num_cells, _MIN_NOISE)
    return FactorModel(loading_GR, noise_G)
