"""The pairs' share of the scores, and own minus other: 0 for one list of all TFs, 1 for lists that are the truth."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.evaluate.bootstrap import Bootstrap, Sample
from grn_cotrain.evaluate.specificity import additive_residual, best_of_rows, specificity

S, N = 12, 400


def measured(score_SN: np.ndarray, label_SN: np.ndarray, keep_SN: np.ndarray, *, two_way: bool) -> dict[str, Sample]:
    rows_M, columns_M = np.nonzero(keep_SN)
    targets = columns_M + 5 if two_way else None
    plan = Bootstrap(rows_M * 3, targets, replicates=200)
    return specificity(rows_M * 3, columns_M + 5, label_SN[keep_SN], score_SN[keep_SN], plan, min_positives=3)


@pytest.fixture
def truth_SN() -> np.ndarray:
    label_SN = np.zeros((S, N), dtype=bool)
    for row in range(S):
        label_SN[row, 30 * row : 30 * row + 30] = True
    return label_SN


@pytest.mark.parametrize("two_way", [False, True])
def test_one_list_for_all_tfs_is_not_specific(truth_SN: np.ndarray, two_way: bool) -> None:
    popularity_N = np.random.default_rng(0).normal(size=N)
    score_SN = np.arange(S)[:, None] + popularity_N
    found = measured(score_SN, truth_SN, np.ones((S, N), bool), two_way=two_way)
    assert found["pair_share"].values_C[0] == pytest.approx(0, abs=1e-12)
    assert found["own_minus_other"].values_C[0] == pytest.approx(0, abs=1e-12)
    low, high = found["own_minus_other"].interval()[1:]
    assert low < 0 < high


@pytest.mark.parametrize("two_way", [False, True])
def test_the_truth_is_all_its_own(truth_SN: np.ndarray, two_way: bool) -> None:
    """Thirty of the fifty best are the TF's own, the other twenty are tied over the rest of the row."""
    found = measured(truth_SN.astype(float), truth_SN, np.ones((S, N), bool), two_way=two_way)
    tied = 20 / (N - 30)
    expected = 30 / 50 - 30 * tied / 50
    assert found["own_minus_other"].values_C[0] == pytest.approx(expected, abs=1e-5)
    assert found["own_minus_other"].num_tfs == S
    assert found["own_minus_other"].interval().low > 0.4
    additive_SN = truth_SN - truth_SN.mean(1, keepdims=True) - truth_SN.mean(0) + truth_SN.mean()
    assert found["pair_share"].values_C[0] == pytest.approx(
        (additive_SN**2).sum() / truth_SN.size / truth_SN.var(), abs=1e-4
    )


def test_own_training_targets_of_another_tf_are_not_held_against_a_list(truth_SN: np.ndarray) -> None:
    """Each TF has known targets among the most popular genes, which are no candidates of it."""
    keep_SN = np.random.default_rng(1).random((S, N)) > 0.3
    score_SN = np.tile(-np.arange(N, dtype=float), (S, 1))
    random_SN = np.random.default_rng(2).random((S, N)) < 0.2
    found = measured(score_SN, random_SN & keep_SN, keep_SN, two_way=False)
    assert abs(found["own_minus_other"].values_C[0]) < 0.02


def test_shares_of_variance_on_a_table_with_gaps() -> None:
    generator = np.random.default_rng(3)
    rows_S1, columns_N = generator.normal(size=(S, 1)), generator.normal(size=N)
    keep_SN = generator.random((S, N)) > 0.3
    left_SN = additive_residual(rows_S1 + columns_N, keep_SN)
    np.testing.assert_allclose(left_SN, 0, atol=1e-6)
    found = measured(rows_S1 + columns_N, keep_SN & (generator.random((S, N)) < 0.1), keep_SN, two_way=True)
    assert found["pair_share"].values_C[0] == pytest.approx(0, abs=1e-9)


def test_constant_scores_have_no_share(truth_SN: np.ndarray) -> None:
    found = measured(np.full((S, N), 3.0), truth_SN, np.ones((S, N), bool), two_way=False)
    assert np.isnan(found["pair_share"].values_C[0])
    assert found["own_minus_other"].values_C[0] == pytest.approx(0, abs=1e-12)


def test_ties_share_the_last_places() -> None:
    best_SN = best_of_rows(np.array([[3.0, 1.0, 1.0, 1.0, -np.inf], [0.0, 0.0, 2.0, 1.0, 5.0]]), 2).toarray()
    np.testing.assert_allclose(best_SN, [[1, 1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 1, 0, 1]])
