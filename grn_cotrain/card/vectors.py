"""Geometry of rows: unit vectors, nearest neighbours by cosine, overlap of neighbourhoods, similarity of two spaces.

Dimension letters: G genes, D and E widths, N chosen genes, K neighbours.
"""

from __future__ import annotations

import numpy as np

__all__ = ["linear_cka", "nearest", "overlap", "procrustes_r2", "unit_rows"]

_BLOCK = 1024  # genes compared with all others at once


def unit_rows(values_GD: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32; rows of length 0 stay 0."""
    values_GD = np.asarray(values_GD, dtype=np.float64)
    norm_G = np.linalg.norm(values_GD, axis=1, keepdims=True)
    return np.divide(values_GD, norm_G, out=np.zeros_like(values_GD), where=norm_G > 0).astype(np.float32)


def nearest(values_GD: np.ndarray, k: int, rows_N: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``k`` genes of largest cosine to each chosen gene, itself left out.

    Computed by blocks of rows, so memory is a block times G, not G times G.

    Parameters
    ----------
    k
        At most G - 1 are returned.
    rows_N
        Genes to look from; default all.

    Returns
    -------
    tuple
        int64 positions and float32 cosines, both ``[N, K]``, by falling cosine.
    """
    unit_GD = unit_rows(values_GD)
    chosen_N = np.arange(len(unit_GD)) if rows_N is None else np.asarray(rows_N, dtype=np.int64)
    k = max(0, min(k, len(unit_GD) - 1))
    index_NK = np.empty((len(chosen_N), k), dtype=np.int64)
    cosine_NK = np.empty((len(chosen_N), k), dtype=np.float32)
    if not k:
        return index_NK, cosine_NK
    for first in range(0, len(chosen_N), _BLOCK):
        block_B = chosen_N[first : first + _BLOCK]
        cosine_BG = unit_GD[block_B] @ unit_GD.T
        cosine_BG[np.arange(len(block_B)), block_B] = -np.inf
        top_BK = np.argpartition(cosine_BG, cosine_BG.shape[1] - k, axis=1)[:, -k:]
        value_BK = np.take_along_axis(cosine_BG, top_BK, axis=1)
        order_BK = np.lexsort((top_BK, -value_BK), axis=1)
        index_NK[first : first + len(block_B)] = np.take_along_axis(top_BK, order_BK, axis=1)
        cosine_NK[first : first + len(block_B)] = np.take_along_axis(value_BK, order_BK, axis=1)
    return index_NK, cosine_NK


def overlap(a_NK: np.ndarray, b_NK: np.ndarray) -> np.ndarray:
    """Jaccard overlap of the two neighbour sets of each gene: shared / either, float64 ``[N]``."""
    shared_N = np.zeros(len(a_NK))
    for column in range(a_NK.shape[1]):
        shared_N += (a_NK[:, column, None] == b_NK).any(axis=1)
    either_N = a_NK.shape[1] + b_NK.shape[1] - shared_N
    return np.divide(shared_N, either_N, out=np.zeros(len(a_NK)), where=either_N > 0)


def procrustes_r2(a_GD: np.ndarray, b_GE: np.ndarray) -> float:
    """Share of the variance of ``a`` that the best rotation, shift and scaling of ``b`` explains.

    ``1 - disparity`` of orthogonal Procrustes analysis (Gower 1975): with both centred and scaled to unit length it is
    the squared sum of the singular values of ``a^T b``. 1: equal up to rotation, shift and scale. Symmetric; widths
    may differ. NaN where one of them does not vary.
    """
    a_GD, b_GE = _centred(a_GD), _centred(b_GE)
    scale = float(np.linalg.norm(a_GD) * np.linalg.norm(b_GE))
    if scale == 0:
        return float("nan")
    return float(min((np.linalg.svd(a_GD.T @ b_GE, compute_uv=False).sum() / scale) ** 2, 1.0))


def linear_cka(a_GD: np.ndarray, b_GE: np.ndarray) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019): 1 for equal spaces up to rotation and scale.

    NaN where one of them does not vary.
    """
    a_GD, b_GE = _centred(a_GD), _centred(b_GE)
    scale = float(np.linalg.norm(a_GD.T @ a_GD) * np.linalg.norm(b_GE.T @ b_GE))
    return float(np.linalg.norm(a_GD.T @ b_GE) ** 2 / scale) if scale else float("nan")


def _centred(values_GD: np.ndarray) -> np.ndarray:
    values_GD = np.asarray(values_GD, dtype=np.float64)
    centred_GD = values_GD - values_GD.mean(axis=0)
    # Rounding of a constant is not variance.
    return (
        centred_GD if np.abs(centred_GD).max(initial=0) > 1e-12 * np.abs(values_GD).max(initial=0) else 0 * centred_GD
    )
