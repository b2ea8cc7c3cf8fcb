"""Cross-validated ridge regression of many targets at once: one eigen-decomposition a fold serves all of them.

A gene card asks the same question hundreds of times (is gene g a target of TF k?), with the same features. In closed
form the features are decomposed once a fold, every target shares the result, and each target gets its own penalty by
generalised cross-validation on the training folds (Golub, Heath & Wahba 1979), so that the tested genes choose nothing.
On labels of two classes this is a regularised linear discriminant: the direction does not depend on their balance.

Dimension letters: G genes, N training genes, D features, K targets, L penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

__all__ = ["NUM_FOLDS", "fold_numbers", "out_of_fold"]

NUM_FOLDS = 5
_PENALTIES = 10.0 ** np.arange(-5, 4)  # times the mean eigenvalue of the training folds' Gram matrix
_RANK_TOLERANCE = 1e-12  # of the sum of squares: directions below hold rounding only


def fold_numbers(strata_G: np.ndarray, *, num_folds: int = NUM_FOLDS, seed: int = 0) -> np.ndarray:
    """Fold of each gene, int64 ``[G]``, drawn within strata so that each stratum is spread evenly over the folds.

    Parameters
    ----------
    strata_G
        Any labels; give zeros for plain random folds.
    """
    generator = np.random.default_rng(seed)
    order_G = generator.permutation(len(strata_G))
    _, codes_G = np.unique(np.asarray(strata_G), return_inverse=True)
    order_G = order_G[np.argsort(codes_G[order_G], kind="stable")]
    folds_G = np.empty(len(strata_G), dtype=np.int64)
    folds_G[order_G] = np.arange(len(strata_G)) % num_folds
    return folds_G


def out_of_fold(
    features_GD: np.ndarray, targets_GK: np.ndarray, folds_G: np.ndarray, *, intercept: bool = False
) -> np.ndarray:
    """Predictions for every gene from a model fitted without its fold.

    Parameters
    ----------
    features_GD
        Finite features. The penalty treats all columns alike: bring columns of different units to one scale first.
    targets_GK
        Numbers, or 0 and 1.
    folds_G
        From :func:`fold_numbers`; genes of fold -1 are neither fitted on nor predicted.
    intercept
        Add the mean of the training folds' targets (regression). Leave it out where genes are ranked: with few
        positives the mean of the other folds counts *against* a fold that holds more of them.

    Returns
    -------
    numpy.ndarray
        float64 ``[G, K]``, NaN for genes of fold -1.
    """
    features_GD = np.asarray(features_GD, dtype=np.float64)
    targets_GK = np.asarray(targets_GK, dtype=np.float64)
    if features_GD.shape[1] > len(features_GD):  # rotate onto the rows' own space: the same fit in fewer columns
        left_GR, singular_R, _ = np.linalg.svd(features_GD - features_GD.mean(axis=0), full_matrices=False)
        features_GD = left_GR * singular_R
    predicted_GK = np.full(targets_GK.shape, np.nan)
    parts = {fold: _Moments.of(features_GD[folds_G == fold], targets_GK[folds_G == fold]) for fold in _folds(folds_G)}
    for fold in parts:
        others = [part for other, part in parts.items() if other != fold]
        if not others:
            continue
        train = _Moments.add(others)
        test_G = folds_G == fold
        mean_D, mean_K = train.feature_D / train.count, train.target_K / train.count
        predicted_GK[test_G] = (features_GD[test_G] - mean_D) @ _fit(train)
        if intercept:
            predicted_GK[test_G] += mean_K
    return predicted_GK


def _folds(folds_G: np.ndarray) -> list[int]:
    return [int(fold) for fold in np.unique(folds_G[folds_G >= 0])]


@dataclass(frozen=True)
class _Moments:
    """Sums over genes, which add up over folds: each gene is multiplied once, not once a fold."""

    count: int
    feature_D: np.ndarray
    target_K: np.ndarray
    square_K: np.ndarray
    gram_DD: np.ndarray
    cross_DK: np.ndarray

    @classmethod
    def of(cls, features_ND: np.ndarray, targets_NK: np.ndarray) -> _Moments:
        return cls(
            len(features_ND),
            features_ND.sum(axis=0),
            targets_NK.sum(axis=0),
            (targets_NK**2).sum(axis=0),
            features_ND.T @ features_ND,
            features_ND.T @ targets_NK,
        )

    @classmethod
    def add(cls, parts: Sequence[_Moments]) -> _Moments:
        return cls(*(sum(getattr(part, field.name) for part in parts) for field in fields(cls)))


def _fit(train: _Moments) -> np.ndarray:
    """Weights ``[D, K]`` of centred targets on centred features, each target with the penalty of least GCV error."""
    gram_DD = train.gram_DD - np.outer(train.feature_D, train.feature_D) / train.count
    cross_DK = train.cross_DK - np.outer(train.feature_D, train.target_K) / train.count
    total_K = train.square_K - train.target_K**2 / train.count
    eigen_D, vectors_DD = np.linalg.eigh(gram_DD)
    kept_D = eigen_D > _RANK_TOLERANCE * max(float(np.trace(train.gram_DD)), np.finfo(float).tiny)
    eigen_D, vectors_DD = eigen_D[kept_D], vectors_DD[:, kept_D]
    if not len(eigen_D):
        return np.zeros(cross_DK.shape)
    moment_DK = vectors_DD.T @ cross_DK
    power_DK = moment_DK**2 / eigen_D[:, None]  # squared coordinates of the targets on the left singular vectors
    penalty_L = _PENALTIES * eigen_D.mean()
    error_LK = np.empty((len(penalty_L), len(total_K)))
    for row, penalty in enumerate(penalty_L):
        shrink_D = eigen_D / (eigen_D + penalty)
        residual_K = total_K - (2 * shrink_D - shrink_D**2) @ power_DK
        # At least one degree of freedom is left: an interpolating fit must not look perfect.
        error_LK[row] = np.maximum(residual_K, 0) / max(train.count - 1 - shrink_D.sum(), 1.0) ** 2
    chosen_K = penalty_L[error_LK.argmin(axis=0)]
    return vectors_DD @ (moment_DK / (eigen_D[:, None] + chosen_K))
