"""Controls that read symbols, motifs and rows of other data sets: their values on networks small enough to count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import gene_summaries, unit_loadings
from grn_cotrain.controls._tf_knn import motif_weights
from grn_cotrain.controls.evidence import fit_channels
from grn_cotrain.controls.knn_target_stem import stem_features, stem_matrix
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.gene_features import GeneFeatures
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.splits import make_split
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.links import evaluate_links
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_known_cells, toy_split

SYMBOLS = ("STAT1", "GATA1", "CXCL9", "CXCL10", "CXCL11", "IL6", "IL10", "ACTB", "HLA-DRA", "HLA-DRB1")


def small_split(hidden: tuple[str, ...] = ("CXCL11", "HLA-DRB1")) -> tuple[EdgeSplit, MemoryStore]:
    """STAT1 -> CXCL9, CXCL10, HLA-DRA; GATA1 -> IL6; edges of the hidden genes are the test."""
    vocab = FeatureVocab.from_symbols(SYMBOLS, species="human")
    edges = [("STAT1", name) for name in ("CXCL9", "CXCL10", "CXCL11", "HLA-DRA", "HLA-DRB1")] + [("GATA1", "IL6")]
    grn = GRN.from_frame(pd.DataFrame(edges, columns=["source", "target"]), vocab)
    split = make_split(grn, "unseen-target", seed=0)[0]
    held_N = np.sort([vocab.index(name) for name in hidden])
    seen_N = np.setdiff1d(np.arange(len(SYMBOLS)), held_N)
    pairs_2E, is_held_E = grn.pairs_2E, np.isin(grn.pairs_2E[1], held_N)
    none_2E = pairs_2E[:, :0]
    split = replace(
        split, train_2E=pairs_2E[:, ~is_held_E], test_2E=pairs_2E[:, is_held_E], validation_2E=none_2E,
        withheld_2E=none_2E, train_targets_N=seen_N, validation_targets_N=held_N, test_targets_N=held_N,
        hidden_targets_N=held_N,
    )  # fmt: skip
    values = np.random.default_rng(0).poisson(2, (12, len(SYMBOLS)))
    return split, MemoryStore.build(vocab, values, kind="counts")


def test_rates_of_a_stem_are_counted_without_the_gene_itself() -> None:
    split, cells = small_split()
    table = EdgeTable.of(split)
    found_G2 = stem_features(table, stem_matrix(cells.vocab.symbols))
    at = {name: i for i, name in enumerate(SYMBOLS)}
    # 8 seen genes; 4 edges among 2 x 8 pairs less the two self-pairs.
    mean = 4 / 14
    assert table.mean_rate == pytest.approx(mean)
    np.testing.assert_allclose(found_G2[at["CXCL11"]], [(0.5 + 0.5 + mean) / 3, 2], rtol=1e-5)
    np.testing.assert_allclose(found_G2[at["CXCL9"]], [(0.5 + mean) / 2, 1], rtol=1e-5)
    np.testing.assert_allclose(found_G2[at["HLA-DRB1"]], [(0.5 + mean) / 2, 1], rtol=1e-5)
    np.testing.assert_allclose(found_G2[at["ACTB"]], [mean, 0], rtol=1e-5)


def test_a_tf_votes_by_its_targets_of_the_stem() -> None:
    split, cells = small_split()
    control = CONTROLS.build("knn_target_stem", {"prior_weights": [2.0], "prefix_weights": [0.0]}).fit(split, cells)
    table, at = EdgeTable.of(split), {name: i for i, name in enumerate(SYMBOLS)}
    stat1, gata1 = (int(table.rows(np.array([at[name]]))[0][0]) for name in ("STAT1", "GATA1"))
    mean = table.mean_rate
    stem_rate = (0.5 + 0.5 + mean) / 3
    for row, votes in ((stat1, 2), (gata1, 0)):
        expected = (votes + 2.0 * table.source_rate_S[row] * stem_rate / mean) / (2 + 2.0)
        assert control.scores_SG[row, at["CXCL11"]] == pytest.approx(expected, rel=1e-5)
        # Nobody shares the stem: the TF's own rate.
        assert control.scores_SG[row, at["ACTB"]] == pytest.approx(table.source_rate_S[row], rel=1e-5)


def test_first_letters_of_stems_add_to_the_weight() -> None:
    symbols = ("PSMA1", "PSMA3", "PSMB1", "ACTB", "IL6")
    both = stem_matrix(symbols, prefix=0.25).toarray()
    expected = np.diag([1.25] * 5)
    expected[0, 1] = expected[1, 0] = 1.25
    expected[0, 2] = expected[2, 0] = expected[1, 2] = expected[2, 1] = 0.25
    np.testing.assert_allclose(both @ both.T, expected, rtol=1e-6)
    with pytest.raises(UserError, match=r"prefix_weights: got .* give one or more numbers from 0 up"):
        CONTROLS.build("knn_target_stem", {"prefix_weights": [-1.0]})


def test_outdated_symbols_score_below_current_ones() -> None:
    cells, split = toy_known_cells(), toy_split("random")
    pairs_2M = np.stack([np.zeros(NUM_GENES, dtype=np.int64), np.arange(NUM_GENES)])
    scores_M = CONTROLS.build("symbol_outdated").fit(split, cells).score(pairs_2M)
    np.testing.assert_array_equal(np.flatnonzero(scores_M == 0), np.arange(70, 75))


def test_motifs_vote_by_their_similarity_above_a_half() -> None:
    found = motif_weights(np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.75], [0.5, 0.75, 1.0]]))
    expected = [[0, np.exp(-0.8), 0], [np.exp(-0.8), 0, np.exp(-2)], [0, np.exp(-2), 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_tf_is_scored_by_the_tfs_with_its_motif() -> None:
    """GENE0 and GENE2 have motifs of similarity .9; no other two TFs vote for each other."""
    split = toy_split("unseen-tf")
    control = CONTROLS.build("knn_motif", {"prior_weights": [1.0]}).fit(split, toy_known_cells())
    table = control.table
    weight = np.exp(-0.8)
    for row, other in ((0, 2), (2, 0)):
        weight_of = weight * table.seen_S[other]
        known_G = table.seen_G
        prior_G = table.target_rate_G
        expected_G = (weight_of * table.labels_SG[other] + prior_G) / (weight_of * known_G + 1.0)
        np.testing.assert_allclose(control.scores_SG[row], expected_G, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(control.scores_SG[5], table.target_rate_G, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["knn_motif", "knn_family_motif"])
def test_motifs_that_are_missing_are_asked_for(name: str) -> None:
    with pytest.raises(UserError, match=f"control '{name}': needs motifs and there are none") as caught:
        CONTROLS.build(name).fit(toy_split(), toy_cells())
    assert "\n" not in str(caught.value)


def test_the_table_leaves_out_by_name_what_the_data_lack() -> None:
    names = ("random", "knn_motif", "symbol_outdated")
    built = [CONTROLS.build(name) for name in names]
    table = evaluate_links(toy_split("random"), built, toy_cells(), bootstrap=0)
    assert set(table.frame["scorer"]) == {"random"}
    for name in names[1:]:
        assert any(note.startswith(f"{name} needs ") and note.endswith("left out") for note in table.notes)
    full = evaluate_links(toy_split("random"), built, toy_known_cells(), bootstrap=0)
    assert set(full.frame["scorer"]) == set(names)


def test_the_cosine_of_two_genes_is_the_mean_over_the_sets_that_hold_them() -> None:
    cells = toy_known_cells()
    own_GR = unit_loadings(toy_cells(), rank=10)
    both_GR = unit_loadings(cells, rank=10)
    rows = cells.vocab.features.of(cells.vocab.symbols)["other"]
    other_GR = rows.loadings_GR / np.maximum(np.linalg.norm(rows.loadings_GR, axis=1, keepdims=True), 1e-12)
    for a, b in ((1, 2), (1, 5), (5, 10)):  # every fifth gene is not in the other set
        total = own_GR[a] @ own_GR[b] + other_GR[a] @ other_GR[b]
        sets = np.sqrt((1 + rows.present_G[a]) * (1.0 + rows.present_G[b]))
        assert both_GR[a] @ both_GR[b] == pytest.approx(total / sets, abs=1e-5)
    summary_GF, names = gene_summaries(cells)
    assert names == (
        "mean",
        "deviation",
        "detected",
        "mean_other",
        "deviation_other",
        "detected_other",
        "present_other",
    )
    np.testing.assert_array_equal(summary_GF[:, 6], rows.present_G)


def test_boosted_trees_are_evidence_that_never_saw_the_label() -> None:
    split = toy_split("unseen-target")
    sources_S, train_SG, full_SG = fit_channels(["boosting_gene"], split, toy_cells())["boosting_gene"]
    booster = CONTROLS.build("boosting_gene").fit(split, toy_cells())
    assert isinstance(booster, PairBooster)
    np.testing.assert_array_equal(sources_S, booster.table.sources_S)
    known_SG = booster.table.known_SG
    rows_M, columns_M = np.nonzero(~known_SG)
    np.testing.assert_allclose(full_SG[~known_SG], booster.score(np.stack([sources_S[rows_M], columns_M])), rtol=1e-5)
    fold_SG = booster.features.folds.fold_SG
    assert booster.model is not None
    assert sorted(booster.model.models) == [0, 1, 2, 3, 4]
    rows_M, columns_M = np.nonzero((fold_SG == 2) & known_SG)
    pairs_2M = np.stack([sources_S[rows_M], columns_M])
    # Features of a gene alone hold no label: the fold's own model scores them as it scores new pairs.
    expected_M = booster.model.models[2].decision_function(booster.features.full(pairs_2M))
    np.testing.assert_allclose(train_SG[rows_M, columns_M], expected_M, rtol=1e-5)
    assert np.array_equal(train_SG[~known_SG], full_SG[~known_SG].astype(np.float32))


def test_an_empty_set_of_features_changes_nothing() -> None:
    cells = toy_cells()
    empty = cells.with_vocab(replace(cells.vocab, features=GeneFeatures(cells.vocab.symbols, {})))
    np.testing.assert_array_equal(unit_loadings(empty, rank=5), unit_loadings(cells, rank=5))
