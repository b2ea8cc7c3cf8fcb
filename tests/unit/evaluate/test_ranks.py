"""Ranks against brute force; a constant scorer cannot look good."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.evaluate.ranks import expected_hits, expected_reciprocal_rank
from tests.references import filtered_ranks


def brute_force(
    scores: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> list[tuple[int, float, float, float, int]]:
    """(group, optimistic, realistic, pessimistic, candidates) of each positive, sorted."""
    ranks = []
    for i in np.flatnonzero(labels):
        rivals = scores[(groups == groups[i]) & ~labels]
        if len(rivals):
            ahead, tied = int((rivals > scores[i]).sum()), int((rivals == scores[i]).sum())
            ranks.append((int(groups[i]), 1.0 + ahead, 1 + ahead + tied / 2, 1.0 + ahead + tied, len(rivals) + 1))
    return sorted(ranks)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_ranks_equal_brute_force(levels: int) -> None:
    rng = np.random.default_rng(levels)
    scores, groups = rng.integers(0, levels, 300).astype(float), rng.integers(0, 9, 300)
    labels = rng.random(300) < 0.2
    labels[groups == 4] = True  # no negative: unrankable
    ranks = filtered_ranks(scores, labels, groups)
    mine = sorted(
        zip(
            ranks.group_P.tolist(),
            ranks.optimistic_P,
            ranks.realistic_P,
            ranks.pessimistic_P,
            ranks.num_candidates_P.astype(int),
            strict=True,
        )
    )
    assert mine == brute_force(scores, labels, groups)


def test_other_positives_are_no_rivals() -> None:
    ranks = filtered_ranks(np.array([3.0, 2.0, 1.0]), np.array([True, True, False]), np.zeros(3, dtype=int))
    assert ranks.realistic_P.tolist() == [1.0, 1.0]


def test_constant_scorer_is_chance_or_worse() -> None:
    labels = np.zeros(1000, dtype=bool)
    labels[:50] = True
    ranks = filtered_ranks(np.zeros(1000), labels, np.arange(1000) % 10)
    assert ranks.adjusted_mean_rank_index() == pytest.approx(0)
    assert ranks.hits_at(10) == 0
    assert ranks.hits_at(10, adjusted=True) < 0
    assert ranks.mean_reciprocal_rank(adjusted=True) < 0
    assert (ranks.optimistic_P == 1).all()
    assert (ranks.pessimistic_P == ranks.num_candidates_P).all()


def test_perfect_scorer_is_one() -> None:
    labels = np.arange(100) < 10
    ranks = filtered_ranks(labels.astype(float), labels, np.arange(100) % 5)
    for adjusted in (False, True):
        assert ranks.mean_reciprocal_rank(adjusted=adjusted) == pytest.approx(1)
        assert ranks.hits_at(1, adjusted=adjusted) == pytest.approx(1)
    assert ranks.adjusted_mean_rank_index() == pytest.approx(1)


def test_expectations_are_means_over_all_ranks() -> None:
    for n in (1, 2, 17):
        all_ranks = np.arange(1, n + 1)
        assert expected_reciprocal_rank(np.array([float(n)]))[0] == pytest.approx((1 / all_ranks).mean())
        assert expected_hits(np.array([float(n)]), 10)[0] == pytest.approx((all_ranks <= 10).mean())


def test_nothing_to_rank() -> None:
    ranks = filtered_ranks(np.ones(4), np.ones(4, dtype=bool), np.zeros(4, dtype=int))
    assert len(ranks.realistic_P) == 0
