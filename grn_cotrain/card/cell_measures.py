"""Measures of an embedding of cells: what explains it, and which labels can be read from it.

Dimension letters: C cells, D width, P components, K neighbours, F columns of a factor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grn_cotrain.card.ridge import fold_numbers, out_of_fold

__all__ = [
    "factor_columns",
    "held_out_r2",
    "knn_accuracy_C",
    "nearest_CK",
    "principal_components",
    "shared_neighbours",
    "variance_explained",
]

_BLOCK = 512


def principal_components(values_CD: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """First principal components of the cells.

    Returns
    -------
    scores_CP
        float64 scores, the component of the largest variance first.
    share_P
        Share of the variance that each component has.
    """
    centred_CD = np.asarray(values_CD, dtype=np.float64)
    centred_CD = centred_CD - centred_CD.mean(axis=0)
    left_CP, size_P, _ = np.linalg.svd(centred_CD, full_matrices=False)
    total = float((size_P**2).sum()) or 1.0
    return (left_CP * size_P)[:, :count], (size_P**2 / total)[:count]


def factor_columns(values: Sequence[object] | np.ndarray) -> np.ndarray:
    """Columns of a factor, float64 ``[C, F]``: a number standardised, or an indicator for each category but the first.

    Parameters
    ----------
    values
        Numbers, or labels.
    """
    array = np.asarray(values)
    if array.dtype.kind in "fiu":
        spread = float(array.std())
        return ((array - array.mean()) / (spread or 1.0))[:, None].astype(np.float64)
    _, code_C = np.unique(array.astype(str), return_inverse=True)
    return np.eye(int(code_C.max(initial=0)) + 1)[code_C][:, 1:]


def variance_explained(values_CD: np.ndarray, factor_CF: np.ndarray) -> float:
    """Share of the total variance of the embedding that a linear function of the factor explains, in sample."""
    centred_CD = values_CD - values_CD.mean(axis=0)
    design_CF = factor_CF - factor_CF.mean(axis=0)
    if not design_CF.shape[1]:
        return 0.0
    fitted_CD = design_CF @ np.linalg.lstsq(design_CF, centred_CD, rcond=None)[0]
    total = float((centred_CD**2).sum())
    return float((fitted_CD**2).sum()) / total if total else 0.0


def held_out_r2(values_CD: np.ndarray, number_C: np.ndarray, *, seed: int = 0) -> float:
    """R2 of a number from all dimensions by ridge regression, each cell predicted without its fold; below 0 is 0."""
    number_C = np.asarray(number_C, dtype=np.float64)
    spread_D = np.asarray(values_CD, dtype=np.float64).std(axis=0)
    scaled_CD = np.asarray(values_CD, dtype=np.float64) / np.where(spread_D > 0, spread_D, 1.0)
    folds_C = fold_numbers(np.zeros(len(number_C)), seed=seed)
    found_C = out_of_fold(scaled_CD, number_C[:, None], folds_C, intercept=True)[:, 0]
    total = float(((number_C - number_C.mean()) ** 2).sum())
    return max(0.0, 1 - float(((number_C - found_C) ** 2).sum()) / total) if total else 0.0


def nearest_CK(values_CD: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` nearest other cells of each cell by Euclidean distance, int64 ``[C, K]``, the nearest first."""
    values_CD = np.asarray(values_CD, dtype=np.float64)
    values_CD = values_CD - values_CD.mean(axis=0)
    square_C = (values_CD**2).sum(axis=1)
    parts = []
    for start in range(0, len(values_CD), _BLOCK):
        rows_BD = values_CD[start : start + _BLOCK]
        distance_BC = square_C - 2 * rows_BD @ values_CD.T
        distance_BC[np.arange(len(rows_BD)), start + np.arange(len(rows_BD))] = np.inf
        best_BK = np.argpartition(distance_BC, count - 1, axis=1)[:, :count]
        order_BK = np.take_along_axis(distance_BC, best_BK, axis=1).argsort(axis=1, kind="stable")
        parts.append(np.take_along_axis(best_BK, order_BK, axis=1))
    return np.concatenate(parts)


def knn_accuracy_C(near_CK: np.ndarray, labels_C: Sequence[object] | np.ndarray) -> np.ndarray:
    """Whether the commonest label among a cell's neighbours is its own, bool ``[C]``.

    No cell is its own neighbour, so nothing is fitted. Where two labels are equally common, that of
    the nearer cell counts.
    """
    _, code_C = np.unique(np.asarray(labels_C).astype(str), return_inverse=True)
    votes_CL = np.zeros((len(code_C), int(code_C.max(initial=0)) + 1))
    for rank in range(near_CK.shape[1]):
        # The nearer a neighbour, the more its vote is above 1; all of them together never outweigh one more vote.
        votes_CL[np.arange(len(code_C)), code_C[near_CK[:, rank]]] += 1 + 0.5 ** (rank + 2)
    return np.asarray(votes_CL.argmax(axis=1) == code_C)


def shared_neighbours(one_CK: np.ndarray, other_CK: np.ndarray) -> float:
    """Mean share of a cell's neighbours that two embeddings have in common."""
    size = len(one_CK)
    offset_C1 = np.arange(size)[:, None] * size
    return float(np.isin(one_CK + offset_C1, other_CK + offset_C1).mean())
