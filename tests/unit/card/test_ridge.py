"""Cross-validated ridge against an explicit hat matrix; nothing of a fold reaches its own predictions."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.card.ridge import _PENALTIES, fold_numbers, out_of_fold


def reference(features: np.ndarray, target: np.ndarray, folds: np.ndarray, *, intercept: bool) -> np.ndarray:
    """One target, one fold at a time: generalised cross-validation with the hat matrix itself."""
    predicted = np.full(len(target), np.nan)
    for fold in np.unique(folds[folds >= 0]):
        train, test = (folds >= 0) & (folds != fold), folds == fold
        mean, level = features[train].mean(axis=0), target[train].mean()
        x, y = features[train] - mean, target[train] - level
        eigen = np.linalg.eigvalsh(x.T @ x)
        best = (np.inf, None)
        for factor in _PENALTIES:
            penalty = factor * eigen[eigen > 1e-9].mean()
            inner = np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1]))
            hat = x @ inner @ x.T
            error = np.sum((y - hat @ y) ** 2) / (len(y) - 1 - np.trace(hat)) ** 2
            if error < best[0]:
                best = (error, inner @ x.T @ y)
        predicted[test] = (features[test] - mean) @ best[1] + (level if intercept else 0)
    return predicted


@pytest.mark.parametrize("intercept", [False, True])
def test_equals_the_hat_matrix(intercept: bool) -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((90, 5)) + 2
    targets = np.stack([features @ generator.standard_normal(5), generator.standard_normal(90)], axis=1)
    targets[:, 0] += 0.5 * generator.standard_normal(90)
    folds = fold_numbers(np.zeros(90), seed=1)
    folds[:4] = -1
    found = out_of_fold(features, targets, folds, intercept=intercept)
    for k in range(2):
        expected = reference(features, targets[:, k], folds, intercept=intercept)
        np.testing.assert_allclose(found[:, k], expected, atol=1e-8)
    assert np.isnan(found[:4]).all()


def test_targets_do_not_see_each_other() -> None:
    generator = np.random.default_rng(2)
    features, targets = generator.standard_normal((60, 4)), generator.standard_normal((60, 3))
    folds = fold_numbers(np.zeros(60))
    together = out_of_fold(features, targets, folds)
    np.testing.assert_allclose(together[:, 1:2], out_of_fold(features, targets[:, 1:2], folds))


def test_labels_of_a_fold_never_reach_its_predictions() -> None:
    generator = np.random.default_rng(3)
    features, targets = generator.standard_normal((60, 4)), generator.standard_normal((60, 2))
    folds = fold_numbers(np.zeros(60))
    changed = targets.copy()
    changed[folds == 2] = 1e3
    before, after = (out_of_fold(features, t, folds, intercept=True) for t in (targets, changed))
    np.testing.assert_allclose(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds == 1], after[folds == 1])


def test_repeated_and_constant_columns_are_harmless() -> None:
    generator = np.random.default_rng(4)
    features, targets = generator.standard_normal((50, 3)), generator.standard_normal((50, 1))
    folds = fold_numbers(np.zeros(50))
    doubled = np.concatenate([features, features, np.ones((50, 1))], axis=1)
    assert np.isfinite(out_of_fold(doubled, targets, folds)).all()
    np.testing.assert_array_equal(out_of_fold(np.ones((50, 2)), targets, folds), np.zeros((50, 1)))


def test_folds_spread_every_stratum() -> None:
    strata = np.array(["a"] * 23 + ["b"] * 7 + ["c"] * 70)
    folds = fold_numbers(strata, seed=5)
    for name in "abc":
        counts = np.bincount(folds[strata == name], minlength=5)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(folds)) <= 1
    np.testing.assert_array_equal(folds, fold_numbers(strata, seed=5))
    assert (folds != fold_numbers(strata, seed=6)).any()
