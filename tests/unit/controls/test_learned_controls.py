"""Boosters, logistic combination, NetMF, GAE and GRNBoost2: what they learn, and what they must leave alone."""

from __future__ import annotations

import dataclasses

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from grn_cotrain.controls import CONTROLS, Control
from grn_cotrain.controls._boosting import training_entries, validation_pairs
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._graph_features import GRAPH_FEATURES, graph_features
from grn_cotrain.controls._selection import macro_auroc
from grn_cotrain.controls.pair_features import GROUPS, PairFeatures
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.errors import UserError
from tests.cases.controls import KINDS
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_split, toy_vocab

LEARNED = ("boosting_graph", "boosting_gene", "boosting_all", "logistic_combination", "netmf", "gae")


def macro(control: Control, split: EdgeSplit) -> float:
    pairs = split.pairs("test")
    return macro_auroc(control.score(pairs.pairs_2M), pairs.labels_M, pairs.pairs_2M[0])


def test_expression_tells_unseen_targets_apart_and_the_graph_does_not() -> None:
    split = toy_split("unseen-target")
    by_name = {
        name: macro(CONTROLS.build(name, {"max_trees": 40}).fit(split, toy_cells()), split)
        for name in ("boosting_graph", "boosting_all")
    }
    assert by_name["boosting_all"] > 0.62
    assert by_name["boosting_all"] > by_name["boosting_graph"] + 0.05
    assert macro(CONTROLS.build("logistic_combination").fit(split, toy_cells()), split) > 0.62


def test_walks_find_structure_on_random_edges() -> None:
    split = toy_split("random")
    assert macro(CONTROLS.build("netmf", {"dimensions": 8}).fit(split, None), split) > 0.55
    options = {"epochs": 100, "width": 16}
    assert macro(CONTROLS.build("gae", options).fit(split, toy_cells()), split) > 0.55


@pytest.mark.parametrize("name", LEARNED)
def test_no_training_edge_no_opinion(name: str) -> None:
    split = toy_split("random")
    empty = dataclasses.replace(split, train_2E=split.train_2E[:, :0])
    scores_M = CONTROLS.build(name).fit(empty, toy_cells()).score(split.pairs("test").pairs_2M)
    assert not scores_M.any()


def test_training_entries_hold_all_positives_and_few_negatives() -> None:
    table = EdgeTable.of(toy_split("unseen-target"))
    rows_M, columns_M, labels_M = training_entries(table, 50, np.random.default_rng(0))
    assert labels_M.sum() == table.labels_SG.sum()
    assert (~labels_M).sum() == 50
    np.testing.assert_array_equal(table.labels_SG[rows_M, columns_M] > 0, labels_M)
    assert table.known_SG[rows_M, columns_M].all()
    everything = training_entries(table, 10**6, np.random.default_rng(0))[2]
    assert len(everything) == table.known_SG.sum()


def test_validation_pairs_need_both_classes() -> None:
    split = toy_split("random")
    found = validation_pairs(split, 30, np.random.default_rng(0))
    assert found is not None
    assert found[1].sum() == split.validation_2E.shape[1]
    assert (~found[1]).sum() == 30
    without = dataclasses.replace(split, validation_2E=split.validation_2E[:, :0])
    assert validation_pairs(without, 30, np.random.default_rng(0)) is None
    control = CONTROLS.build("boosting_graph", {"max_trees": 3}).fit(without, None)
    assert control.score(split.test_2E).any()


@pytest.mark.parametrize("kind", KINDS)
def test_graph_features_by_networkx(kind: str) -> None:
    table = EdgeTable.of(toy_split(kind))
    graph = nx.from_scipy_sparse_array(table.adjacency_GG, create_using=nx.DiGraph)
    undirected = graph.to_undirected()
    rng = np.random.default_rng(1)
    rows_M, columns_M = rng.integers(0, len(table.sources_S), 60), rng.integers(0, NUM_GENES, 60)
    found = dict(zip(GRAPH_FEATURES, graph_features(table, rows_M, columns_M).T, strict=True))
    for m, (row, target) in enumerate(zip(rows_M, columns_M, strict=True)):
        source = int(table.sources_S[row])
        into_s, out_s = set(graph.predecessors(source)), set(graph.successors(source))
        into_t, out_t = set(graph.predecessors(target)), set(graph.successors(target))
        assert found["source_out_rate"][m] == pytest.approx(table.source_rate_S[row])
        assert found["target_in_rate"][m] == pytest.approx(table.target_rate_G[target])
        assert found["source_in_rate"][m] == pytest.approx(table.target_rate_G[source])
        is_source = target in table.sources_S
        rate = table.source_rate_S[np.searchsorted(table.sources_S, target)] if is_source else 0.0
        assert found["target_out_rate"][m] == pytest.approx(rate)
        assert found["reversed"][m] == graph.has_edge(target, source)
        assert found["path_through"][m] == len(out_s & into_t)
        assert found["shared_targets"][m] == len(out_s & out_t)
        assert found["shared_regulators"][m] == len(into_s & into_t)
        assert found["path_back"][m] == len(into_s & out_t)
        common = set(undirected[source]) & set(undirected[target])
        assert found["common_neighbours"][m] == len(common)
        adamic = sum(1 / np.log(undirected.degree(x)) for x in common if undirected.degree(x) > 1)
        if source != target:
            assert found["adamic_adar"][m] == pytest.approx(adamic, rel=1e-5)
        similar = 0.0
        for other in map(int, table.sources_S):
            if other != source and graph.has_edge(other, target) and out_s:
                theirs = set(graph.successors(other))
                similar += len(out_s & theirs) / np.sqrt(len(out_s) * len(theirs))
        assert found["similar_regulons"][m] == pytest.approx(similar, rel=1e-5)


def test_an_unseen_target_has_the_prior_mean_as_its_rate() -> None:
    split = toy_split("unseen-target")
    features = PairFeatures(split, None, ("graph",))
    hidden_2M = np.stack([np.full(len(split.hidden_targets_N), features.table.sources_S[0]), split.hidden_targets_N])
    column = features.names.index("target_in_rate")
    np.testing.assert_allclose(features.full(hidden_2M)[:, column], features.table.mean_rate, rtol=1e-5)
    # In training every target is as unseen as those of the test, or the trees would learn to lean on the rate.
    entries = np.nonzero(features.table.known_SG)
    assert np.ptp(features.out_of_fold(*entries)[:, column]) < 0.5 * features.table.mean_rate


def test_groups_have_named_features() -> None:
    split = toy_split("random")
    for group in GROUPS:
        features = PairFeatures(split, toy_cells(), (group,))
        assert features.full(split.test_2E).shape == (split.test_2E.shape[1], len(features.names))
        assert len(set(features.names)) == len(features.names)
    with pytest.raises(UserError, match="no cells"):
        PairFeatures(split, None, ("gene",))


def test_netmf_embeds_the_deepwalk_matrix() -> None:
    split = toy_split("random")
    control = CONTROLS.build("netmf", {"dimensions": NUM_GENES, "window": 3}).fit(split, None)
    graph = nx.from_edgelist(split.train_2E.T.tolist(), create_using=nx.Graph)
    nodes = sorted(graph)
    adjacency = nx.to_numpy_array(graph, nodelist=nodes)
    degree = adjacency.sum(axis=1)
    step = adjacency / degree[:, None]
    walks = sum(np.linalg.matrix_power(step, r) for r in (1, 2, 3))
    expected = np.log(np.maximum(adjacency.sum() / 3 * walks / degree, 1))
    # With every dimension kept, embeddings give back the size of each eigenvalue: E E' = |M|.
    value, vector = np.linalg.eigh(expected)
    embedding = control.embedding_GR[nodes]
    np.testing.assert_allclose(embedding @ embedding.T, (vector * np.abs(value)) @ vector.T, atol=1e-8)
    assert not control.embedding_GR[np.setdiff1d(np.arange(NUM_GENES), nodes)].any()


def test_gae_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    CONTROLS.build("gae", {"epochs": 2}, seed=9).fit(toy_split(), toy_cells())
    assert torch.equal(torch.rand(3), expected)


def test_grnboost2_finds_the_driver() -> None:
    rng = np.random.default_rng(0)
    values_CG = rng.gamma(1.0, 1.0, size=(150, NUM_GENES))
    values_CG[:, 70] = values_CG[:, 4] + 0.1 * values_CG[:, 71]
    values_CG[:, 72] = 1.0
    cells = MemoryStore.build(toy_vocab(), values_CG, kind="log")
    control = CONTROLS.build("grnboost2", {"max_trees": 30}).fit(toy_split(), cells)
    sources_S = control.sources_S
    scores_S = control.score(np.stack([sources_S, np.full_like(sources_S, 70)]))
    assert sources_S[scores_S.argmax()] == 4
    assert not control.score(np.stack([sources_S, np.full_like(sources_S, 72)])).any()  # constant: nothing to explain
    own = control.score(np.array([[4], [4]]))
    assert own == 0  # a TF does not explain itself
    assert set(control.importance) == {70, 72, 4}  # only what was asked for was regressed


def test_boosters_are_ranked_by_their_log_odds() -> None:
    split = toy_split("random")
    control = CONTROLS.build("boosting_graph", {"max_trees": 20}).fit(split, None)
    pairs = split.pairs("train")
    assert roc_auc_score(pairs.labels_M, control.score(pairs.pairs_2M)) > 0.6
