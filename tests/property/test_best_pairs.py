"""The best pairs of tiles are the best pairs of the whole, ties and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.errors import UserError
from grn_cotrain.export.best_pairs import BestPairs, best


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    num_sources=st.integers(1, 9),
    num_targets=st.integers(1, 12),
    levels=st.integers(1, 6),
    tile=st.integers(1, 9),
    top=st.none() | st.integers(1, 60),
    most=st.none() | st.integers(0, 6),
)
def test_as_one_sort(
    seed: int, num_sources: int, num_targets: int, levels: int, tile: int, top: int | None, most: int | None
) -> None:
    rng = np.random.default_rng(seed)
    num_genes = 30
    sources_S = np.sort(rng.choice(num_genes, num_sources, replace=False))
    targets_N = np.sort(rng.choice(num_genes, num_targets, replace=False))
    scores_SN = rng.integers(levels, size=(num_sources, num_targets)).astype(float)  # few levels: many ties
    allowed_SN = rng.random((num_sources, num_targets)) < 0.7
    collected = BestPairs(num_genes, top=top, limit=10**6)
    for first in range(0, num_sources, tile):
        part = slice(first, first + tile)
        most_S = None if most is None else np.full(len(sources_S[part]), most)
        collected.add(sources_S[part], targets_N, scores_SN[part], allowed_SN[part], most_S=most_S)
    pairs_2M, scores_M = collected.sorted()

    expected = []
    for row, source in enumerate(sources_S):
        mine = [
            (-scores_SN[row, column], int(source), int(target))
            for column, target in enumerate(targets_N)
            if allowed_SN[row, column]
        ]
        expected += sorted(mine)[: len(mine) if most is None else most]
    expected = sorted(expected)[: len(expected) if top is None else top]
    assert list(zip((-scores_M).tolist(), *pairs_2M.tolist(), strict=True)) == expected


def test_limit() -> None:
    collected = BestPairs(100, top=None, limit=5)
    with pytest.raises(UserError, match="more than 5 pairs"):
        collected.add(np.arange(3), np.arange(50, 60), np.zeros((3, 10)), np.ones((3, 10), dtype=bool))


def test_best_of_nothing() -> None:
    assert best(np.zeros(0), 3).tolist() == []
    assert best(np.array([1.0, 2.0]), 0).tolist() == []
