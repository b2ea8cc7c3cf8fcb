"""Split files, their guards, and the rules that a table of small cases can state."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.edge_split import EdgeSplit, Track
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.pairs import pair_keys, pairs_from_keys
from grn_cotrain.data.splits import is_undirected, make_split, reciprocity, split_name
from grn_cotrain.errors import UserError
from tests.cases.networks import grn_of, labelled_split, random_grn


def test_keys_there_and_back() -> None:
    pairs_2M = np.array([[3, 0, 7], [1, 5, 7]])
    np.testing.assert_array_equal(pairs_from_keys(pair_keys(pairs_2M, 8), 8), pairs_2M)


def test_labelled_candidates_are_the_labelled_pairs(tmp_path: Path) -> None:
    split = labelled_split()
    test = split.pairs("test")
    np.testing.assert_array_equal(test.pairs_2M, [[0, 0, 1, 1], [6, 7, 6, 7]])
    np.testing.assert_array_equal(test.labels_M, [True, False, False, True])
    assert split.prevalence("test") == 0.5
    split.save(tmp_path)
    again = EdgeSplit.load(tmp_path, "published")
    assert again.content_hash == split.content_hash
    np.testing.assert_array_equal(again.train_negatives_2N, split.train_negatives_2N)
    matched = split.matched_pairs("test")
    np.testing.assert_array_equal(matched.pairs_2M[:, ~matched.labels_M], [[0, 1], [7, 6]])


@pytest.mark.parametrize("pair", [[3, -1], [3, 8]])
def test_an_index_of_another_vocabulary_is_refused(pair: list[int]) -> None:
    with pytest.raises(UserError, match="train_2E holds indices"):
        replace(labelled_split(), train_2E=np.array(pair).reshape(2, 1))


def test_arrays_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        labelled_split().test_2E[0, 0] = 1


def test_a_third_of_each_tf_is_tested_and_a_tenth_of_the_rest_validates() -> None:
    # A bipartite network has no reversed edges, so the shares are exact.
    pairs_2E = np.stack([np.repeat(np.arange(5), 30), 10 + np.tile(np.arange(30), 5)])
    split = make_split(grn_of(pairs_2E, 40), "random")[0]
    np.testing.assert_array_equal(np.bincount(split.test_2E[0]), [10] * 5)
    assert split.validation_2E.shape[1] == 10
    assert split.prevalence("test") == 50 / (5 * 39 - 100)


def test_the_two_directions_of_an_edge_move_together_on_random_edges() -> None:
    grn = random_grn(num_genes=40, num_tfs=15, density=0.3, undirected=True)
    split = make_split(grn, "random")[0]
    side = {(int(a), int(b)): p for p in ("train", "validation", "test") for a, b in split.positives(p).T}  # type: ignore[arg-type]
    both = [(pair, side[pair[::-1]]) for pair in side if pair[::-1] in side]
    assert both
    assert all(side[pair] == other for pair, other in both)


def test_folds_partition_the_tfs_with_five_targets() -> None:
    pairs = [(tf, gene) for tf in range(12) for gene in range(20, 26)] + [(12, gene) for gene in range(20, 24)]
    splits = make_split(grn_of(np.array(pairs).T, 30), "unseen-tf")
    tested = np.concatenate([split.test_sources_S for split in splits])
    assert sorted(tested) == list(range(12))
    assert all(12 in split.train_sources_S for split in splits)
    for split in splits:
        # Selection mimics the test: validation TFs are held out from training, too.
        assert not np.isin(split.train_2E[0], split.validation_sources_S).any()
        assert split.validation_sources_S.size == 3


def test_visible_in_edges_stay_and_hidden_ones_leave() -> None:
    grn = random_grn(num_genes=60, num_tfs=15, density=0.25, seed=1)
    visible, hidden = (make_split(grn, "unseen-tf", track=track)[0] for track in ("visible", "hidden"))
    into = np.isin(visible.train_2E[1], visible.test_sources_S)
    assert into.any()
    assert not np.isin(hidden.train_2E[1], hidden.test_sources_S).any()
    assert visible.hidden_targets_N.size == 0
    np.testing.assert_array_equal(hidden.hidden_targets_N, hidden.hidden_sources_S)


def test_an_undirected_network_is_noticed_said_and_cold_on_both_tracks(caplog: pytest.LogCaptureFixture) -> None:
    grn = random_grn(undirected=True)
    assert reciprocity(grn.pairs_2E, 60) == 1
    with caplog.at_level(logging.INFO):
        split = make_split(grn, "unseen-tf")[0]
    assert "undirected" in caplog.text
    np.testing.assert_array_equal(split.hidden_targets_N, split.hidden_sources_S)
    assert split.test_targets_N.size == 60
    assert not is_undirected(random_grn().pairs_2E, 60)
    assert reciprocity(np.array([[0], [1]]), 2) == 0


def test_self_loops_leave_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    class Loopy:
        vocab = random_grn().vocab
        num_genes = random_grn().num_genes
        content_hash = "x"
        pairs_2E = np.concatenate([random_grn().pairs_2E, [[3], [3]]], axis=1)

    split = make_split(Loopy, "random")[0]  # type: ignore[arg-type]
    assert "1 self-loops" in caplog.text
    assert (split.all_positives()[0] != split.all_positives()[1]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "unseen_tf"}, "did you mean 'unseen-tf'"),
        ({"kind": "published"}, "kind 'published'"),
        ({"kind": "random", "track": "seen"}, "track 'seen'"),
        ({"kind": "unseen-tf", "folds": 1}, "folds: got 1"),
        ({"kind": "unseen-tf", "folds": 99}, "99 folds need at least 99 TFs"),
        ({"kind": "unseen-target", "folds": 500}, "cannot be held out"),
        ({"kind": "random", "every_fold": True}, "every_fold: a split of kind random has no folds"),
        ({"kind": "unseen-both", "every_fold": True}, "every_fold: a split of kind unseen-both has no folds"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_split(random_grn(), **options)


@pytest.mark.parametrize("track", ["visible", "hidden"])
def test_every_fold_holds_out_every_gene_once(track: Track) -> None:
    splits = make_split(random_grn(), "unseen-target", track=track, every_fold=True)
    assert [split.fold for split in splits] == [0, 1, 2, 3, 4]
    held_out = np.concatenate([split.test_targets_N for split in splits])
    np.testing.assert_array_equal(np.sort(held_out), np.arange(60))
    single = make_split(random_grn(), "unseen-target", track=track)[0]
    for part in ("train_2E", "validation_2E", "test_2E", "hidden_targets_N"):
        np.testing.assert_array_equal(getattr(splits[0], part), getattr(single, part))
    assert splits[0].name == split_name("unseen-target", track, 0, 0)
    for split in splits:
        assert not np.isin(split.validation_targets_N, split.test_targets_N).any()
        assert_no_leak(split, split.train_2E)


def test_names() -> None:
    assert split_name("unseen-tf", "visible", 0, 3) == "unseen-tf-visible-seed0-fold3"
    assert split_name("unseen-target", "visible", 1) == "unseen-target-seed1"
    assert split_name("unseen-both", "hidden", 1) == "unseen-both-hidden-seed1"
    assert split_name("random", "visible", 0) == "random-seed0"
    assert split_name("published", "visible", 0) == "published"


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(UserError, match="part 'valid'"):
        labelled_split().pairs("valid")  # type: ignore[arg-type]


class TestFiles:
    def saved(self, folder: Path) -> EdgeSplit:
        split = make_split(random_grn(), "unseen-target")[0]
        split.save(folder)
        return split

    def test_the_sidecar_tells_counts_and_prevalence(self, tmp_path: Path) -> None:
        split = self.saved(tmp_path)
        sidecar = json.loads((tmp_path / f"{split.name}.json").read_text())
        test = split.pairs("test")
        assert sidecar["counts"]["test"] == {"positives": int(test.labels_M.sum()), "pairs": test.num_pairs}
        assert sidecar["prevalence"]["test"] == pytest.approx(test.prevalence)
        assert sorted(p.name for p in tmp_path.iterdir()) == [f"{split.name}.json", f"{split.name}.parquet"]

    def test_a_missing_split(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="split 'nothing'"):
            EdgeSplit.load(tmp_path, "nothing")

    @pytest.mark.parametrize("suffix", [".parquet", ".json"])
    def test_a_truncated_file(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"{self.saved(tmp_path).name}{suffix}"
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(UserError, match="split 'unseen-target-seed0'"):
            EdgeSplit.load(tmp_path, "unseen-target-seed0")

    def test_pairs_of_another_split(self, tmp_path: Path) -> None:
        split = self.saved(tmp_path)
        other = replace(split, test_2E=split.test_2E[:, 1:])
        other.save(tmp_path / "other")
        (tmp_path / "other" / f"{split.name}.parquet").replace(tmp_path / f"{split.name}.parquet")
        with pytest.raises(UserError, match="do not belong together"):
            EdgeSplit.load(tmp_path, split.name)
