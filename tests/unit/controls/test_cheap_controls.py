"""Cheap controls against brute force, networkx, scipy and scikit-learn."""

from __future__ import annotations

import dataclasses

import networkx as nx
import numpy as np
import pytest
from scipy.stats import kstest, pearsonr, spearmanr
from sklearn.linear_model import LogisticRegression

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls.additive_logistic import GRID, Biases, fit_table
from grn_cotrain.controls.pair_rows import score_by_rows
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.errors import UserError
from grn_cotrain.metrics import links as metrics
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_split

EVERY_PAIR = np.stack([np.repeat(np.arange(NUM_GENES), NUM_GENES), np.tile(np.arange(NUM_GENES), NUM_GENES)])


def scores(name: str, split: EdgeSplit, options: dict[str, float] | None = None, seed: int = 0) -> np.ndarray:
    """Scores of every pair, ``[G, G]``."""
    fitted = CONTROLS.build(name, options, seed=seed).fit(split, toy_cells())
    return fitted.score(EVERY_PAIR).reshape(NUM_GENES, NUM_GENES)


def train_graph(split: EdgeSplit) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(NUM_GENES))
    graph.add_edges_from(split.train_2E.T.tolist())
    return graph


def test_random_is_uniform_and_depends_on_seed_and_direction() -> None:
    first, second = scores("random", toy_split()), scores("random", toy_split(), seed=1)
    assert kstest(first.ravel(), "uniform").pvalue > 0.001
    assert len(np.unique(first)) == first.size
    for other in (second, first.T):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05


def test_degrees_are_those_of_the_training_graph() -> None:
    split = toy_split("random")
    graph = train_graph(split)
    into = np.array([graph.in_degree(g) for g in range(NUM_GENES)])
    out = np.array([graph.out_degree(g) for g in range(NUM_GENES)])
    assert (scores("target_degree", split) == into[None, :]).all()
    np.testing.assert_allclose(scores("degree_product", split), out[:, None] * (into + 0.5)[None, :])


def test_hidden_genes_have_the_prior_mean_not_zero() -> None:
    split = toy_split("unseen-both")
    into = np.bincount(split.train_2E[1], minlength=NUM_GENES)
    prior = into[split.train_targets_N].mean()
    assert prior > 0
    by_degree = scores("target_degree", split)
    assert np.unique(by_degree[:, split.hidden_targets_N]) == pytest.approx(prior)
    assert (by_degree[:, split.train_targets_N] == into[split.train_targets_N]).all()
    product = scores("degree_product", split)[np.ix_(split.hidden_sources_S, split.hidden_targets_N)]
    out = np.bincount(split.train_2E[0], minlength=NUM_GENES)[split.train_sources_S].mean()
    assert np.unique(product.round(9)) == pytest.approx(out * (prior + 0.5))


def test_neighbours_equal_networkx() -> None:
    split = toy_split("unseen-tf")
    graph = train_graph(split).to_undirected()
    common, adamic = scores("common_neighbours", split), scores("adamic_adar", split)
    pairs = [(s, t) for s in range(NUM_GENES) for t in range(NUM_GENES) if s != t]
    for s, t in pairs:
        assert common[s, t] == len(list(nx.common_neighbors(graph, s, t)))
    for s, t, value in nx.adamic_adar_index(graph, pairs):
        assert adamic[s, t] == pytest.approx(value)
    assert common.max() > 3


def test_reversed_edge_is_the_transposed_training_graph() -> None:
    split = toy_split()
    expected = np.zeros((NUM_GENES, NUM_GENES))
    expected[split.train_2E[1], split.train_2E[0]] = 1
    assert (scores("reversed_edge", split) == expected).all()


def test_reversed_edge_shows_a_planted_leak() -> None:
    """Where both copies of an undirected edge are split apart, reversed edges alone find the test edges."""
    split = toy_split()
    leaking = dataclasses.replace(split, train_2E=np.concatenate([split.train_2E, split.test_2E[::-1]], axis=1))
    test = split.pairs("test")
    for one, low, high in ((split, 0.45, 0.55), (leaking, 0.97, 1.0)):
        found = CONTROLS.build("reversed_edge").fit(one, None).score(test.pairs_2M)
        assert low <= metrics.auroc(found, test.labels_M) <= high


@pytest.mark.parametrize(("name", "reference"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_correlations_equal_scipy(name: str, reference) -> None:  # type: ignore[no-untyped-def]
    found = scores(name, toy_split())
    values = toy_cells().normalised().toarray().astype(np.float64)
    for s, t in ((0, 1), (5, 70), (12, 13), (40, 2)):
        assert found[s, t] == pytest.approx(abs(reference(values[:, s], values[:, t]).statistic), abs=1e-4)
    assert (found[33] == 0).all()  # never seen: correlates with nothing
    assert (found >= 0).all()
    assert found.max() <= 1 + 1e-6


def one_hot(sources: np.ndarray, targets: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.eye(shape[0])[sources], np.eye(shape[1])[targets]], axis=1)


@pytest.mark.parametrize("C", [0.05, 1.0, 20.0])
def test_table_fit_equals_scikit_learn_on_every_cell(C: float) -> None:
    rng = np.random.default_rng(0)
    shape = (9, 30)
    labels, allowed = rng.random(shape) < 0.2 * rng.random(30), rng.random(shape) < 0.9
    labels &= allowed
    labels[3] = False  # a TF and targets without positives
    found = fit_table(labels, allowed, C)
    sources, targets = np.nonzero(allowed)
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(
        one_hot(sources, targets, shape), labels[sources, targets]
    )
    expected = reference.decision_function(one_hot(*(a.ravel() for a in np.indices(shape)), shape)).reshape(shape)
    mine = found.intercept + found.source_S[:, None] + found.target_N[None, :]
    np.testing.assert_allclose(mine, expected, atol=2e-4)
    warm = fit_table(labels, allowed, C, start=fit_table(labels, allowed, 3 * C))
    np.testing.assert_allclose(warm.target_N, found.target_N, atol=1e-6)


def test_a_column_may_stand_for_equal_targets() -> None:
    rng = np.random.default_rng(1)
    labels, allowed = rng.random((6, 12)) < 0.3, np.ones((6, 12), dtype=bool)
    labels[:, 8:] = False
    whole = fit_table(labels, allowed, 0.7)
    short = fit_table(labels[:, :9], allowed[:, :9], 0.7, repeats_N=np.array([1.0] * 8 + [4.0]))
    np.testing.assert_allclose(whole.target_N, [*short.target_N, *short.target_N[[8] * 3]], atol=1e-6)
    np.testing.assert_allclose(whole.source_S + whole.intercept, short.source_S + short.intercept, atol=1e-6)


def test_table_fit_survives_no_positives_and_all_positives() -> None:
    allowed = np.ones((3, 5), dtype=bool)
    for labels in (np.zeros((3, 5), dtype=bool), allowed):
        found = fit_table(labels, allowed, 1.0)
        assert isinstance(found, Biases)
        assert np.isfinite([found.intercept, *found.source_S, *found.target_N]).all()


def test_additive_logistic_trains_on_every_allowed_pair() -> None:
    """Test positives stay among the unlabelled pairs: training labels are exactly the training positives."""
    split = toy_split("unseen-target")
    train = split.pairs("train")
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(
        one_hot(*train.pairs_2M, (NUM_GENES, NUM_GENES)), train.labels_M
    )
    expected = reference.decision_function(one_hot(*EVERY_PAIR, (NUM_GENES, NUM_GENES)))
    found = scores("additive_logistic", split, {"C": 1.0})
    np.testing.assert_allclose(found, expected.reshape(NUM_GENES, NUM_GENES), atol=1e-3)
    assert (found[:, split.hidden_targets_N] == found[:, split.hidden_targets_N[:1]]).all()


def test_additive_logistic_on_labelled_pairs_is_scikit_learns() -> None:
    split = labelled_split()
    train = split.pairs("train")
    reference = LogisticRegression(C=1.0, max_iter=1000).fit(
        one_hot(*train.pairs_2M, (NUM_GENES, NUM_GENES)), train.labels_M
    )
    expected = reference.decision_function(one_hot(*EVERY_PAIR, (NUM_GENES, NUM_GENES)))
    found = scores("additive_logistic", split, {"C": 1.0}).ravel()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def labelled_split() -> EdgeSplit:
    split = toy_split()
    rng = np.random.default_rng(0)
    negatives = {}
    for part in ("train", "validation", "test"):
        pairs = split.pairs(part)  # type: ignore[arg-type]
        known = np.isin(
            pairs.pairs_2M[0] * NUM_GENES + pairs.pairs_2M[1],
            split.all_positives()[0] * NUM_GENES + split.all_positives()[1],
        )
        mine = np.flatnonzero(~known & (pairs.pairs_2M.sum(axis=0) % 3 == ("train", "validation", "test").index(part)))
        negatives[f"{part}_negatives_2N"] = pairs.pairs_2M[:, rng.permutation(mine)[:200]]
    return dataclasses.replace(split, kind="published", **negatives)


def test_C_is_tuned_on_validation_and_only_there() -> None:
    for split in (toy_split(), labelled_split()):
        tuned = CONTROLS.build("additive_logistic").fit(split, None)
        validation = split.pairs("validation")
        quality = {}
        for C in GRID:
            fitted = CONTROLS.build("additive_logistic", {"C": C}).fit(split, None)
            quality[C] = metrics.auroc(fitted.score(validation.pairs_2M), validation.labels_M)
        assert quality[tuned.C] == pytest.approx(max(quality.values()), abs=1e-9)
        assert len(set(quality.values())) > 1
    empty = dataclasses.replace(
        split, validation_2E=split.validation_2E[:, :0], validation_negatives_2N=split.validation_2E[:, :0]
    )
    assert CONTROLS.build("additive_logistic").fit(empty, None).C == 1.0
    with pytest.raises(UserError, match="C: got 0"):
        CONTROLS.build("additive_logistic", {"C": 0.0})


def test_rows_are_computed_in_blocks_and_gathered_in_any_order() -> None:
    table = np.random.default_rng(0).normal(size=(20, 30))
    pairs = np.random.default_rng(1).integers(0, 20, size=(2, 400))
    calls = []

    def rows(sources_S: np.ndarray) -> np.ndarray:
        calls.append(sources_S)
        return table[sources_S]

    np.testing.assert_array_equal(score_by_rows(pairs, rows, block_size=6), table[pairs[0], pairs[1]])
    assert [len(call) for call in calls] == [6, 6, 6, 2]
    assert score_by_rows(np.zeros((2, 0), dtype=np.int64), rows).shape == (0,)
