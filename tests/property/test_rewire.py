"""Control graphs of random graphs: degrees held exactly, simple graphs come out, sources and sizes are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.rewire import exchange_targets, random_graph, rewired, share_moved
from grn_cotrain.errors import UserError
from tests.cases.networks import random_grn, simple_graphs


def assert_simple(pairs_2E: np.ndarray, num_genes: int) -> None:
    assert (pairs_2E[0] != pairs_2E[1]).all()
    assert np.unique(pair_keys(pairs_2E, num_genes)).size == pairs_2E.shape[1]


@settings(deadline=None, max_examples=25)
@given(simple_graphs(), st.integers(0, 1000))
def test_rewired_keeps_every_degree(graph: tuple[int, np.ndarray], seed: int) -> None:
    num_genes, pairs_2E = graph
    result_2E = rewired(pairs_2E, seed)
    assert_simple(result_2E, num_genes)
    np.testing.assert_array_equal(result_2E[0], pairs_2E[0])
    for row in (0, 1):
        np.testing.assert_array_equal(
            np.bincount(result_2E[row], minlength=num_genes), np.bincount(pairs_2E[row], minlength=num_genes)
        )
    np.testing.assert_array_equal(result_2E, rewired(pairs_2E, seed))


@settings(deadline=None, max_examples=25)
@given(simple_graphs(), st.integers(0, 1000))
def test_random_graph_keeps_size_and_sources(graph: tuple[int, np.ndarray], seed: int) -> None:
    num_genes, pairs_2E = graph
    result_2E = random_graph(pairs_2E, num_genes, seed)
    assert_simple(result_2E, num_genes)
    assert result_2E.shape == pairs_2E.shape
    assert set(result_2E[0].tolist()) <= set(pairs_2E[0].tolist())
    np.testing.assert_array_equal(result_2E, random_graph(pairs_2E, num_genes, seed))


@settings(deadline=None, max_examples=25)
@given(simple_graphs(), st.integers(0, 1000))
def test_exchanged_targets_avoid_what_is_forbidden(graph: tuple[int, np.ndarray], seed: int) -> None:
    num_genes, pairs_2E = graph
    forbidden = np.unique(pair_keys(pairs_2E, num_genes))
    targets_E, solved_E = exchange_targets(pairs_2E, num_genes, np.random.default_rng(seed), forbidden=forbidden)
    np.testing.assert_array_equal(np.sort(targets_E), np.sort(pairs_2E[1]))
    new_2E = np.stack([pairs_2E[0], targets_E])[:, solved_E]
    assert not np.isin(pair_keys(new_2E, num_genes), forbidden).any()
    assert_simple(new_2E, num_genes)


def test_rewiring_moves_a_sparse_network() -> None:
    pairs_2E = random_grn(num_genes=200, num_tfs=30, density=0.03).pairs_2E
    result_2E = rewired(pairs_2E, 0)
    assert share_moved(pairs_2E, result_2E) > 0.8
    assert not np.array_equal(result_2E, rewired(pairs_2E, 1))
    assert share_moved(pairs_2E, pairs_2E) == 0


def test_a_star_has_no_freedom_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    star_2E = np.stack([np.zeros(5, dtype=np.int64), np.arange(1, 6)])
    np.testing.assert_array_equal(np.sort(rewired(star_2E, 0)[1]), star_2E[1])
    assert "0.0 % of 5 edges moved" in caplog.text


def test_random_targets_stay_in_the_given_universe() -> None:
    pairs_2E = random_grn().pairs_2E
    targets_N = np.arange(20, 60)
    assert np.isin(random_graph(pairs_2E, 60, 0, targets_N=targets_N)[1], targets_N).all()
    with pytest.raises(UserError, match="do not fit"):
        random_graph(pairs_2E, 60, 0, targets_N=np.array([59]))


@pytest.mark.parametrize(("pairs", "message"), [([[0, 1], [0, 2]], "self-loop"), ([[0, 0], [1, 1]], "duplicated")])
def test_rewiring_refuses_what_is_not_simple(pairs: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rewired(np.array(pairs), 0)
