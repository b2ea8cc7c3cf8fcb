"""Measures of cell embeddings against cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.card.cell_measures import (
    factor_columns,
    held_out_r2,
    knn_accuracy_C,
    nearest_CK,
    principal_components,
    shared_neighbours,
    variance_explained,
)


def test_components_are_ordered_and_carry_their_share() -> None:
    rng = np.random.default_rng(0)
    values_CD = rng.standard_normal((300, 4)) * np.array([4.0, 2.0, 1.0, 0.5])
    score_CP, share_P = principal_components(values_CD, 3)
    variance_D = values_CD.var(axis=0)
    np.testing.assert_allclose(share_P, np.sort(variance_D)[::-1][:3] / variance_D.sum(), atol=0.02)
    np.testing.assert_allclose(score_CP.var(axis=0) / variance_D.sum(), share_P, rtol=1e-6)
    assert abs(np.corrcoef(score_CP[:, 0], values_CD[:, 0])[0, 1]) > 0.99


def test_a_factor_explains_what_was_built_from_it() -> None:
    rng = np.random.default_rng(1)
    depth_C, noise_CD = rng.standard_normal(2000), rng.standard_normal((2000, 3))
    values_CD = np.column_stack([2 * depth_C, noise_CD])  # variance 4 of 4 + 3
    assert variance_explained(values_CD, factor_columns(depth_C)) == pytest.approx(4 / 7, abs=0.03)
    labels_C = np.array(["a", "b", "c"])[rng.integers(0, 3, 2000)]
    assert variance_explained(noise_CD, factor_columns(labels_C)) < 0.01
    assert variance_explained((labels_C == "b")[:, None].astype(float), factor_columns(labels_C)) == pytest.approx(1)
    assert factor_columns(labels_C).shape == (2000, 2)


def test_a_number_is_readable_out_of_fold_alone() -> None:
    rng = np.random.default_rng(2)
    values_CD = rng.standard_normal((200, 60))
    assert held_out_r2(values_CD, rng.standard_normal(200)) < 0.1  # in sample it would be 0.3
    assert held_out_r2(values_CD, values_CD @ rng.standard_normal(60)) > 0.95
    # One small dimension is enough: the scale of a dimension is no reason to miss it.
    assert held_out_r2(np.column_stack([values_CD[:, :3], 1e-4 * values_CD[:, 3]]), values_CD[:, 3]) > 0.95
    assert held_out_r2(values_CD, np.ones(200)) == 0


def test_neighbours_leave_the_cell_itself_out_and_are_exact() -> None:
    values_CD = np.random.default_rng(3).standard_normal((700, 5))  # more than one block
    distance_CC = ((values_CD[:, None] - values_CD[None]) ** 2).sum(-1)
    np.fill_diagonal(distance_CC, np.inf)
    assert np.array_equal(nearest_CK(values_CD, 4), distance_CC.argsort(axis=1)[:, :4])


def test_accuracy_of_neighbours_is_a_vote_in_which_the_nearer_breaks_ties() -> None:
    labels = ["a", "a", "b", "b", "c"]
    near_CK = np.array([[1, 2], [0, 2], [3, 0], [0, 2], [0, 2]])
    # Cell 0: a before b; 3: a before b, so it is taken for a; 4: neither is c.
    assert knn_accuracy_C(near_CK, labels).tolist() == [True, True, True, False, False]
    votes_CK = np.array([[1, 2, 3], [0, 2, 3]])
    assert knn_accuracy_C(np.repeat(votes_CK[:1], 5, axis=0), labels).tolist() == [False, False, True, True, False]


def test_shared_neighbours() -> None:
    one_CK, other_CK = np.array([[1, 2], [2, 0], [0, 1]]), np.array([[1, 0], [2, 0], [2, 2]])
    assert shared_neighbours(one_CK, one_CK) == 1
    assert shared_neighbours(one_CK, other_CK) == pytest.approx(0.5)
