"""Regulon factors in closed form: activities of TFs and free factors behind the co-variation of genes, by EM.

Everything is computed from the correlations of genes, so that no step depends on the number of cells. With
standardised log values ``z``, TFs ``s``, free factors ``k`` and noise of variance ``psi_g``,

    z_cg = sum_s A_sg a_cs + sum_k L_kg f_ck + e_cg,    a, f ~ N(0, 1),    A_sg ~ N(0, v w_sg)

where the support ``w`` is 1 on known edges and on a TF's own transcript, a probability on predicted edges, else 0.

Dimension letters: C cells, G genes, S TFs, K free factors, R = S + K regressors, N genes of a block, P their support.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments

__all__ = ["CHANNELS", "CoVariation", "Fit", "Support", "evidence", "fit_factors"]

CHANNELS = ("correlation", "partial", "joint")
_ITERATIONS = 4  # more of them fit noise: validation in the simulated worlds falls from 0.80 to 0.74 at ten
_START, _OWN_START, _PSI_START = 0.3, 0.5, 0.8
_PSI_RANGE = (0.05, 1.0)
_FREE_VARIANCE = 1.0
_JOINT_PENALTY = 1.0  # relative to the mean variance of an activity
_BLOCK = 1 << 22  # numbers of the largest temporary array


class CoVariation:
    """Correlations of genes as something to multiply with.

    The values of the cells are kept, float32 ``[C, G]``, where there are fewer cells than genes; otherwise the
    correlations, float32 ``[G, G]``, are summed block by block (float64 on the way: 12 bytes for each pair of genes).

    Attributes
    ----------
    num_cells, num_genes
        C and G.
    varies_G
        Whether a gene varies over the cells at all.
    """

    def __init__(self, cells: CellStore) -> None:
        statistics = Statistics(cells)
        self._statistics = statistics
        self.num_cells, self.num_genes = statistics.num_cells, statistics.num_features
        self.varies_G = statistics[Moments()].std_of_cells_G > 0
        self._few_cells = self.num_cells < self.num_genes
        self._matrix = (
            self._values()
            if self._few_cells
            else correlations(statistics, np.arange(self.num_genes)).astype(np.float32)
        )

    def times(self, right_GR: np.ndarray) -> np.ndarray:
        """Correlations times ``right``: float32 ``[G, R]``."""
        right_GR = right_GR.astype(np.float32, copy=False)
        if not self._few_cells:
            return np.asarray(self._matrix @ right_GR)
        return np.asarray(self._matrix.T @ (self._matrix @ right_GR) / np.float32(max(self.num_cells, 1)))

    def rows(self, index_S: np.ndarray) -> np.ndarray:
        """Correlations of some genes with all: float32 ``[S, G]``."""
        if not self._few_cells:
            return np.asarray(self._matrix[index_S])
        return np.asarray(self._matrix[:, index_S].T @ self._matrix / np.float32(max(self.num_cells, 1)))

    def leading(self, num: int) -> np.ndarray:
        """Loadings of all genes on the ``num`` leading components, float32 ``[K, G]``."""
        if num < 1 or self.num_cells < 2:
            return np.zeros((0, self.num_genes), dtype=np.float32)
        return self._components_GK[:, :num].T

    @cached_property
    def _components_GK(self) -> np.ndarray:
        return gene_loadings(self._statistics, rank=max(1, min(10, self.num_cells - 1, self.num_genes - 1)))

    def _values(self) -> np.ndarray:
        moments, layout = self._statistics[Moments()], self._statistics.layout
        std_G = moments.std_of_cells_G
        scale_G = np.divide(1.0, std_G, out=np.zeros_like(std_G), where=std_G > 0).astype(np.float32)
        z_CG, first = np.zeros((self.num_cells, self.num_genes), dtype=np.float32), 0
        for block in self._statistics.blocks():
            last = first + len(block.rows_B)
            z_CG[first:last] = block.values_BG.toarray()
            z_CG[first:last] -= moments.mean_of_cells_G.astype(np.float32) * block.present_BA[:, layout.assay_G]
            z_CG[first:last] *= scale_G
            first = last
        return z_CG


@dataclass(frozen=True, eq=False)
class Support:
    """Where loadings may differ from 0.

    Attributes
    ----------
    sources_S
        Gene index of each TF.
    weight_SG
        float32, the support ``w``; a TF's own transcript is added by :func:`fit_factors`.
    read_G
        bool; genes from which activities are read: those whose edges are known. The TFs' transcripts are added.
    """

    sources_S: np.ndarray
    weight_SG: np.ndarray
    read_G: np.ndarray


class Fit(NamedTuple):
    """Result of :func:`fit_factors`.

    ``weight_GR`` turns values into activities (0 for genes that are not read); ``cross_RG`` are the covariances of
    activities with genes; ``gram_RR`` those of activities with each other. TFs come first, free factors last.
    """

    weight_GR: np.ndarray
    cross_RG: np.ndarray
    gram_RR: np.ndarray
    loading_RG: np.ndarray
    num_sources: int


def fit_factors(cells: CoVariation, support: Support, *, num_free: int, variance: float) -> Fit:
    """Run EM from the signs of the correlations with a TF's transcript and the leading components.

    Parameters
    ----------
    cells
        Correlations of genes.
    support
        Where loadings may differ from 0.
    num_free
        K; fewer where the cells have fewer components.
    variance
        Prior variance ``v`` of a loading on a known edge.
    """
    sources_S, num_sources = support.sources_S, len(support.sources_S)
    at_own = (np.arange(num_sources), sources_S)
    weight_SG = support.weight_SG.astype(np.float32, copy=True)
    weight_SG[at_own] = 1
    weight_SG *= cells.varies_G
    free_KG = cells.leading(num_free)
    prior_RG = np.concatenate([variance * weight_SG, np.full_like(free_KG, _FREE_VARIANCE) * cells.varies_G])
    sign_SG = np.where(cells.rows(sources_S) < 0, -1, 1).astype(np.float32)
    start_SG = _START * sign_SG * weight_SG
    start_SG[at_own] = _OWN_START
    loading_RG = np.concatenate([start_SG, free_KG])
    psi_G = np.full(cells.num_genes, _PSI_START)
    read_G = support.read_G.copy()
    read_G[sources_S] = True
    layout = _support_by_size(prior_RG)
    fit = _activities(cells, loading_RG, psi_G, read_G, num_sources)
    for _ in range(_ITERATIONS):
        loading_RG, psi_G = _loadings(fit, prior_RG, psi_G, layout, max(cells.num_cells, 1))
        flipped_S = loading_RG[at_own] < 0
        loading_RG[:num_sources][flipped_S] *= -1
        fit = _activities(cells, loading_RG, psi_G, read_G, num_sources)
    return fit


def _activities(
    cells: CoVariation, loading_RG: np.ndarray, psi_G: np.ndarray, read_G: np.ndarray, num_sources: int
) -> Fit:
    """E-step: posterior means of activities and factors as weights of genes, with their covariances."""
    scaled_RG = (loading_RG * (read_G / psi_G)).astype(np.float32)
    precision_RR = np.eye(len(loading_RG)) + (scaled_RG @ loading_RG.T).astype(np.float64)
    weight_GR = np.linalg.solve(precision_RR, scaled_RG).T.astype(np.float32)
    cross_RG = np.ascontiguousarray(cells.times(weight_GR).T)
    gram_RR = (cross_RG @ weight_GR).astype(np.float64)
    return Fit(weight_GR, cross_RG, (gram_RR + gram_RR.T) / 2, loading_RG, num_sources)


def _support_by_size(prior_RG: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Genes ``[N]`` that have equally many regressors, and these regressors ``[N, P]``."""
    gene_E, regressor_E = np.nonzero(prior_RG.T)
    size_G = np.bincount(gene_E, minlength=prior_RG.shape[1])
    first_G = np.append(0, np.cumsum(size_G))
    groups = []
    for size in np.unique(size_G[size_G > 0]):
        genes_N = np.flatnonzero(size_G == size)
        step = max(1, _BLOCK // int(size) ** 2)
        for start in range(0, len(genes_N), step):
            part_N = genes_N[start : start + step]
            groups.append((part_N, regressor_E[first_G[part_N][:, None] + np.arange(size)]))
    return groups


def _loadings(
    fit: Fit, prior_RG: np.ndarray, psi_G: np.ndarray, layout: list[tuple[np.ndarray, np.ndarray]], num_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """M-step: ridge regression of each gene on the activities of its support, and what it leaves unexplained."""
    loading_RG, new_psi_G = np.zeros_like(prior_RG), np.ones(len(psi_G))
    for genes_N, support_NP in layout:
        gram_NPP = fit.gram_RR[support_NP[:, :, None], support_NP[:, None, :]]
        cross_NP = fit.cross_RG[support_NP, genes_N[:, None]].astype(np.float64)
        penalty_NP = psi_G[genes_N, None] / (num_cells * prior_RG[support_NP, genes_N[:, None]])
        ridge_NPP = gram_NPP.copy()
        diagonal = np.arange(support_NP.shape[1])
        ridge_NPP[:, diagonal, diagonal] += penalty_NP
        found_NP = np.linalg.solve(ridge_NPP, cross_NP[..., None])[..., 0]
        loading_RG[support_NP, genes_N[:, None]] = found_NP
        explained_N = 2 * (found_NP * cross_NP).sum(axis=1) - np.einsum("np,npq,nq->n", found_NP, gram_NPP, found_NP)
        new_psi_G[genes_N] = np.clip(1 - explained_N, *_PSI_RANGE)
    return loading_RG, new_psi_G


def evidence(cells: CoVariation, fit: Fit, columns_N: np.ndarray | None = None) -> np.ndarray:
    """How well activities explain genes, each activity without the gene itself.

    Parameters
    ----------
    cells, fit
        Correlations and the fit.
    columns_N
        Genes; default: all.

    Returns
    -------
    numpy.ndarray
        float32 ``[3, S, N]``, none negative: :data:`CHANNELS` are the correlation of an activity with a gene, the same
        after the free factors are regressed out, and the coefficient of a joint ridge regression on all activities.
    """
    num_sources = fit.num_sources
    columns_N = np.arange(cells.num_genes) if columns_N is None else columns_N
    result_3SN = np.zeros((len(CHANNELS), num_sources, len(columns_N)), dtype=np.float32)
    size = len(fit.gram_RR)
    penalty = _JOINT_PENALTY * max(float(np.trace(fit.gram_RR)) / max(size, 1), 1e-12)
    joint_SR = np.linalg.inv(fit.gram_RR + penalty * np.eye(size))[:num_sources]
    step = max(1, _BLOCK // max(size * max(size - num_sources, 1), 1))
    for start in range(0, len(columns_N), step):
        block = slice(start, start + step)
        genes_N = columns_N[block]
        # An activity that was read from gene g less its share of g: var z = 1, and 0 for a constant gene.
        weight_RN = fit.weight_GR[genes_N].T.astype(np.float64) * cells.varies_G[genes_N]
        raw_RN = fit.cross_RG[:, genes_N].astype(np.float64)
        cross_RN = raw_RN - weight_RN
        variance_RN = np.diag(fit.gram_RR)[:, None] - 2 * weight_RN * raw_RN + weight_RN**2
        cross_SN, variance_SN = cross_RN[:num_sources], variance_RN[:num_sources]
        result_3SN[0, :, block] = _ratio(cross_SN, variance_SN, 1.0)
        left_SN, left_variance_SN, left_variance_N = _without_free(
            fit, weight_RN, raw_RN, cross_RN, variance_SN, cells.varies_G[genes_N]
        )
        result_3SN[1, :, block] = _ratio(left_SN, left_variance_SN, left_variance_N)
        result_3SN[2, :, block] = np.abs(joint_SR @ cross_RN)
    return result_3SN


def _without_free(
    fit: Fit,
    weight_RN: np.ndarray,
    raw_RN: np.ndarray,
    cross_RN: np.ndarray,
    variance_SN: np.ndarray,
    varies_N: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariances and variances ``[S, N]``, and the genes' variances ``[N]``, less what free factors explain."""
    num_sources = fit.num_sources
    num_free = len(fit.gram_RR) - num_sources
    if num_free == 0:
        return cross_RN[:num_sources], variance_SN, varies_N.astype(np.float64)

    def corrected(left: slice) -> np.ndarray:
        """Covariances of regressors with the free factors, both without the gene: ``[N, ., K]``."""
        free = slice(num_sources, None)
        gram = fit.gram_RR[left, free]
        weight_NL, raw_NL = weight_RN[left].T, raw_RN[left].T
        weight_NK, raw_NK = weight_RN[free].T, raw_RN[free].T
        return (
            gram
            - weight_NL[:, :, None] * raw_NK[:, None, :]
            - raw_NL[:, :, None] * weight_NK[:, None, :]
            + weight_NL[:, :, None] * weight_NK[:, None, :]
        )

    free_NKK = corrected(slice(num_sources, None))
    diagonal = np.arange(num_free)
    free_NKK[:, diagonal, diagonal] += 1e-6
    shared_NSK = corrected(slice(0, num_sources))
    gene_NK = cross_RN[num_sources:].T
    solved_NK = np.linalg.solve(free_NKK, gene_NK[..., None])[..., 0]
    solved_NKS = np.linalg.solve(free_NKK, shared_NSK.transpose(0, 2, 1))
    left_SN = cross_RN[:num_sources] - np.einsum("nsk,nk->sn", shared_NSK, solved_NK)
    left_variance_SN = variance_SN - np.einsum("nsk,nks->sn", shared_NSK, solved_NKS)
    return left_SN, left_variance_SN, varies_N - (gene_NK * solved_NK).sum(axis=1)


def _ratio(covariance_SN: np.ndarray, variance_SN: np.ndarray, variance_N: np.ndarray | float) -> np.ndarray:
    """Size of a correlation, 0 where something does not vary."""
    product_SN = variance_SN * variance_N
    size_SN = np.abs(covariance_SN) / np.sqrt(np.maximum(product_SN, 1e-12))
    return np.where(product_SN > 1e-9, np.minimum(size_SN, 1.0), 0.0)
