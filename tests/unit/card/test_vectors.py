"""Geometry of rows against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import procrustes

from grn_cotrain.card import vectors
from grn_cotrain.card.vectors import linear_cka, nearest, overlap, procrustes_r2


def rotation(width: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((120, 6)) * [5, 3, 2, 1, 1, 0.5]


def test_procrustes_of_a_rotated_shifted_scaled_copy_is_one(rows: np.ndarray) -> None:
    assert procrustes_r2(rows, 3.7 * rows @ rotation(6) + 11) == pytest.approx(1, abs=1e-12)


def test_procrustes_is_one_minus_scipys_disparity(rows: np.ndarray) -> None:
    other = np.random.default_rng(2).standard_normal(rows.shape) + 0.5 * rows
    assert procrustes_r2(rows, other) == pytest.approx(1 - procrustes(rows, other)[2], abs=1e-12)


def test_independent_noise_is_near_its_chance_level() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.standard_normal((2, 2000, 8))
    # (sum of 8 singular values of a^T b / (|a| |b|))^2 with entries of variance 1/(8 G): of order D / G.
    assert 0 < procrustes_r2(a, b) < 0.02
    assert linear_cka(a, b) < 0.02


def test_widths_may_differ_as_if_filled_with_zeros(rows: np.ndarray) -> None:
    narrow = rows[:, :4]
    filled = np.concatenate([narrow, np.zeros((len(rows), 2))], axis=1)
    assert procrustes_r2(rows, narrow) == pytest.approx(procrustes_r2(rows, filled))
    assert procrustes_r2(rows, narrow) == pytest.approx(procrustes_r2(narrow, rows))


def test_cka_is_the_hsic_ratio_of_centred_grams(rows: np.ndarray) -> None:
    other = np.random.default_rng(4).standard_normal((len(rows), 3)) + rows[:, :3]
    centre = np.eye(len(rows)) - 1 / len(rows)
    gram_a, gram_b = (centre @ x @ x.T @ centre for x in (rows, other))
    expected = np.sum(gram_a * gram_b) / np.sqrt(np.sum(gram_a**2) * np.sum(gram_b**2))
    assert linear_cka(rows, other) == pytest.approx(expected)
    assert linear_cka(rows, -2 * rows @ rotation(6)) == pytest.approx(1)


def test_what_does_not_vary_agrees_with_nothing(rows: np.ndarray) -> None:
    constant = np.full_like(rows, 0.1)
    assert np.isnan(procrustes_r2(rows, constant))
    assert np.isnan(linear_cka(constant, rows))


@pytest.mark.parametrize("k", [1, 5, 119, 500])
def test_nearest_is_brute_force(rows: np.ndarray, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_BLOCK", 7)  # many blocks
    index, cosine = nearest(rows, k)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    expected = np.argsort(-similarity, axis=1)[:, : min(k, 119)]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(cosine, np.take_along_axis(similarity, expected, axis=1), atol=1e-6)


def test_nearest_from_chosen_genes(rows: np.ndarray) -> None:
    chosen = np.array([5, 80, 5])
    np.testing.assert_array_equal(nearest(rows, 4, chosen)[0], nearest(rows, 4)[0][chosen])


def test_rows_of_zeros_have_cosine_zero() -> None:
    rows = np.array([[1.0, 0], [0, 0], [-1, 0]])
    index, cosine = nearest(rows, 2)
    assert index[0].tolist() == [1, 2]
    assert cosine[0].tolist() == [0, -1]
    assert cosine[1].tolist() == [0, 0]


def test_overlap_is_jaccard() -> None:
    generator = np.random.default_rng(5)
    a, b = (np.stack([generator.permutation(30)[:8] for _ in range(40)]) for _ in range(2))
    expected = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(overlap(a, b), expected)
    np.testing.assert_array_equal(overlap(a, a[:, ::-1]), np.ones(40))
