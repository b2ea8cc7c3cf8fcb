"""Folds follow the split's regime, and what is fitted out of fold cannot know the labels of its fold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._table_control import TableControl
from grn_cotrain.controls.evidence import fit_channels
from grn_cotrain.controls.out_of_fold import Folds, make_folds
from grn_cotrain.controls.pair_features import PairFeatures
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.errors import UserError
from grn_cotrain.metrics.links import auroc
from tests.cases.controls import KINDS
from tests.cases.toy_links import NUM_GENES, NUM_TFS, toy_cells, toy_known_cells, toy_split, toy_splits
from tests.unit.controls.test_edge_table import labelled_split

SPLITS = [*(toy_split(kind) for kind in KINDS), labelled_split()]
SPLITS += [toy_splits(kind, 0, "hidden")[0] for kind in ("unseen-tf", "unseen-target", "unseen-both")]
IDS = [f"{split.kind}-{split.track}" for split in SPLITS]
TABLE_CONTROLS = [c.name for c in CONTROLS.components() if issubclass(c.cls, TableControl)]


def folds_of(split: EdgeSplit, seed: int = 0) -> Folds:
    return make_folds(split, EdgeTable.of(split), seed=seed)


@pytest.mark.parametrize("split", SPLITS, ids=IDS)
def test_folds_part_the_training_entries(split: EdgeSplit) -> None:
    folds = folds_of(split)
    times_SG = np.zeros(folds.table.labels_SG.shape, dtype=int)
    for number, fold in enumerate(folds):
        inside_SG = np.zeros(times_SG.shape, dtype=bool)
        inside_RN = True if fold.inside_RN is None else fold.inside_RN
        inside_SG[np.ix_(fold.rows_R, fold.columns_N)] = inside_RN
        np.testing.assert_array_equal(folds.fold_SG == number, inside_SG)
        times_SG += inside_SG
    assert (times_SG[folds.table.known_SG] == 1).all()
    assert times_SG.max() == 1


@pytest.mark.parametrize("split", SPLITS, ids=IDS)
def test_no_fold_knows_its_own_positives_or_their_reverse(split: EdgeSplit) -> None:
    folds = folds_of(split)
    for number, fold in enumerate(folds):
        mine_SG = (folds.fold_SG == number) & (folds.table.labels_SG > 0)
        assert mine_SG.any()
        row_E, target_E = np.nonzero(mine_SG)
        adjacency_GG = fold.table.adjacency_GG.toarray()
        assert not adjacency_GG[folds.table.sources_S[row_E], target_E].any()
        assert not adjacency_GG[target_E, folds.table.sources_S[row_E]].any()


def test_folds_hide_what_the_split_hides() -> None:
    for fold in folds_of(toy_split("unseen-tf")):
        assert not fold.table.seen_S[fold.rows_R].any()
        assert fold.table.seen_G.all()
    for fold in folds_of(toy_split("unseen-target")):
        assert not fold.table.seen_G[fold.columns_N].any()
        assert fold.table.seen_S.all()
    for fold in folds_of(toy_splits("unseen-tf", 0, "hidden")[0]):
        assert not fold.table.seen_G[fold.table.sources_S[fold.rows_R]].any()
    for fold in folds_of(toy_splits("unseen-target", 0, "hidden")[0]):
        held = np.isin(fold.table.sources_S, fold.columns_N)
        assert held.any()
        assert not fold.table.seen_S[held].any()
    for fold in folds_of(toy_split("random")):
        assert fold.table.complete
    for fold in folds_of(labelled_split()):
        assert not fold.table.known_SG[fold.inside_RN].any()


def test_an_edge_and_its_reverse_fall_into_one_fold() -> None:
    folds = folds_of(toy_split("random"))
    between_SS = folds.fold_SG[:, folds.table.sources_S]
    np.testing.assert_array_equal(between_SS, between_SS.T)
    assert len(np.unique(between_SS)) == 5
    assert (folds_of(toy_split("random"), seed=1).fold_SG != folds.fold_SG).any()


def moved(split: EdgeSplit, folds: Folds) -> tuple[EdgeSplit, int]:
    """Move positives of fold 0 to other targets of the same TF and fold; targets that are TFs stay out of it."""
    allowed_SG = (folds.fold_SG == 0) & folds.table.known_SG
    allowed_SG[:, :NUM_TFS] = False
    source_E, target_E = (row.copy() for row in split.train_2E)
    count = 0
    for row in range(len(folds.table.sources_S)):
        source = folds.table.sources_S[row]
        free = np.flatnonzero(allowed_SG[row] & (folds.table.labels_SG[row] == 0))
        taken = np.flatnonzero((source_E == source) & allowed_SG[row][target_E])
        number = min(len(free), len(taken))
        target_E[taken[:number]] = free[:number]
        count += number
    return dataclasses.replace(split, train_2E=np.stack([source_E, target_E])), count


@pytest.mark.parametrize("split", [s for s in SPLITS if not s.labelled], ids=IDS[:4] + IDS[5:])
def test_out_of_fold_features_do_not_know_which_target_is_the_positive(split: EdgeSplit) -> None:
    folds = folds_of(split)
    other, count = moved(split, folds)
    assert count > 5
    entries = np.nonzero((folds.fold_SG == 0) & folds.table.known_SG)
    groups = ("graph", "gene", "expression")
    before, after = (PairFeatures(s, toy_cells(), groups).out_of_fold(*entries) for s in (split, other))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    # The check can fail: features of the full fit do know.
    pairs_2M = np.stack([folds.table.sources_S[entries[0]], entries[1]])
    full = [PairFeatures(s, toy_cells(), groups).full(pairs_2M) for s in (split, other)]
    assert np.abs(full[0] - full[1]).max() > 0.01


@pytest.mark.parametrize("name", TABLE_CONTROLS)
@pytest.mark.parametrize("kind", KINDS)
def test_out_of_fold_scores_do_not_know_which_target_is_the_positive(name: str, kind: str) -> None:
    split = toy_split(kind)
    folds = folds_of(split)
    other, _ = moved(split, folds)
    mine_SG = (folds.fold_SG == 0) & folds.table.known_SG
    control = CONTROLS.build(name).fit(split, toy_known_cells())
    again = CONTROLS.build(name).fit(other, toy_known_cells())
    assert isinstance(control, TableControl)
    assert isinstance(again, TableControl)
    again.option = control.option  # the choice of constants may differ; that is no leak of a label
    scores_SG = control.out_of_fold(folds)
    np.testing.assert_allclose(
        again.out_of_fold(make_folds(other, again.table))[mine_SG], scores_SG[mine_SG], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_has_both_versions(kind: str) -> None:
    split = toy_split(kind)
    sources_S, train_SG, full_SG = fit_channels(["kernel_ridge"], split, toy_cells())["kernel_ridge"]
    table = EdgeTable.of(split)
    np.testing.assert_array_equal(sources_S, table.sources_S)
    assert train_SG.shape == full_SG.shape == (len(sources_S), NUM_GENES)
    assert train_SG.dtype == full_SG.dtype == np.float32
    seen_SG = folds_of(split).fold_SG >= 0
    assert (train_SG[seen_SG] != full_SG[seen_SG]).mean() > 0.9
    np.testing.assert_array_equal(train_SG[~seen_SG], full_SG[~seen_SG])
    control = CONTROLS.build("kernel_ridge").fit(split, toy_cells())
    test_2M = split.pairs("test").pairs_2M
    rows_M, _ = table.rows(test_2M[0])
    np.testing.assert_allclose(full_SG[rows_M, test_2M[1]], control.score(test_2M), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_trees_score_training_pairs_by_fits_that_saw_the_other_edges_of_both_genes(kind: str) -> None:
    split = toy_split(kind)
    _, _, full_SG = fit_channels(["boosting_graph"], split, toy_cells())["boosting_graph"]
    control = CONTROLS.build("boosting_graph").fit(split, toy_cells())
    assert isinstance(control, PairBooster)
    known_SG = control.table.known_SG
    rows_M, columns_M = np.nonzero(~known_SG)
    new_2M = np.stack([control.table.sources_S[rows_M], columns_M])
    np.testing.assert_array_equal(full_SG[~known_SG], control.score(new_2M).astype(np.float32))
    by_pairs = CONTROLS.build("boosting_graph").fit(toy_split("random"), toy_cells())
    assert isinstance(by_pairs, PairBooster)
    if kind == "random":
        expected_SG = by_pairs.out_of_fold(by_pairs.features.folds)
        np.testing.assert_array_equal(full_SG[known_SG], expected_SG[known_SG])
    if kind == "unseen-target":  # folds of targets hide what the graph shows of a target: its other edges
        hidden_SG = control.out_of_fold(control.features.folds)
        labels_M = control.table.labels_SG[known_SG] > 0
        assert auroc(full_SG[known_SG], labels_M) > auroc(hidden_SG[known_SG], labels_M) + 0.02


def test_what_cannot_be_refitted_is_refused() -> None:
    with pytest.raises(UserError, match=r"evidence 'pearson'.*kernel_ridge"):
        fit_channels(["pearson"], toy_split(), toy_cells())


def test_features_of_entries_outside_the_folds_are_refused() -> None:
    split = toy_split("unseen-target")
    features = PairFeatures(split, toy_cells(), ("gene",))
    with pytest.raises(ValueError, match="training entries only"):
        features.out_of_fold(np.array([0]), split.hidden_targets_N[:1])
