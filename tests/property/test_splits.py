"""Splits of random networks: parts are disjoint, nothing is lost, hidden means hidden, draws are reproducible."""

from __future__ import annotations

import tempfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.leakage import audit
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.splits import make_split
from tests.cases.networks import random_grn

KINDS = ("random", "unseen-tf", "unseen-target", "unseen-both")
networks = st.builds(
    random_grn,
    num_genes=st.integers(35, 70),
    num_tfs=st.integers(11, 18),
    density=st.floats(0.02, 0.4),
    seed=st.integers(0, 10_000),
    undirected=st.booleans(),
)
kinds = st.sampled_from(KINDS)
tracks = st.sampled_from(["visible", "hidden"])


def as_set(pairs_2E: np.ndarray) -> set[tuple[int, int]]:
    return set(zip(*pairs_2E.tolist(), strict=True)) if pairs_2E.size else set()


@settings(deadline=None, max_examples=20)
@given(networks, kinds, tracks, st.integers(0, 50))
def test_parts_are_disjoint_and_lose_no_edge(grn: GRN, kind: str, track: str, seed: int) -> None:
    for split in make_split(grn, kind, seed=seed, track=track):
        parts = [as_set(p) for p in (split.train_2E, split.validation_2E, split.test_2E, split.withheld_2E)]
        assert sum(map(len, parts)) == grn.num_edges
        assert set().union(*parts) == as_set(grn.pairs_2E)
        assert audit(split, split.train_2E).findings == ()


@settings(deadline=None, max_examples=12)
@given(networks, kinds, tracks)
def test_no_reversed_copy_crosses_a_side(grn: GRN, kind: str, track: str) -> None:
    for split in make_split(grn, kind, track=track):
        train, validation, test = (as_set(p) for p in (split.train_2E, split.validation_2E, split.test_2E))
        assert not train & {(b, a) for a, b in validation | test}
        assert not validation & {(b, a) for a, b in test}


@settings(deadline=None, max_examples=12)
@given(networks, st.sampled_from(KINDS[1:]), st.integers(0, 50))
def test_the_hidden_track_leaves_no_edge(grn: GRN, kind: str, seed: int) -> None:
    for split in make_split(grn, kind, seed=seed, track="hidden"):
        train = split.train_2E
        if kind != "unseen-target":
            held = np.concatenate([split.test_sources_S, split.validation_sources_S])
            assert not np.isin(train, held).any()
        if kind != "unseen-tf":
            held = np.concatenate([split.test_targets_N, split.validation_targets_N])
            assert not np.isin(train, held).any()
        if kind == "unseen-tf":
            assert not np.isin(split.test_targets_N, split.test_sources_S).any()


@settings(deadline=None, max_examples=12)
@given(networks, kinds, tracks)
def test_candidates_by_brute_force(grn: GRN, kind: str, track: str) -> None:
    split = make_split(grn, kind, track=track)[0]
    every = as_set(split.all_positives())
    for part in ("validation", "test"):
        mine = as_set(split.positives(part))
        sources, targets = split.universe(part)
        expected = {
            (int(s), int(t)) for s in sources for t in targets if s != t and ((s, t) in mine or (s, t) not in every)
        }
        pairs = split.pairs(part)
        assert as_set(pairs.pairs_2M) == expected
        assert pairs.num_pairs == len(expected)
        assert as_set(pairs.pairs_2M[:, pairs.labels_M]) == mine
        assert split.counts(part) == (len(mine), len(expected))
    train = split.pairs("train")
    assert as_set(train.pairs_2M[:, train.labels_M]) == as_set(split.train_2E)


@settings(deadline=None, max_examples=8)
@given(networks, kinds, tracks, st.integers(0, 50))
def test_same_seed_same_split_in_any_order_of_the_file(grn: GRN, kind: str, track: str, seed: int) -> None:
    first, second = (make_split(grn, kind, seed=seed, track=track) for _ in range(2))
    assert [s.content_hash for s in first] == [s.content_hash for s in second]
    shuffled = replace(first[0], test_2E=first[0].test_2E[:, ::-1])
    assert shuffled.content_hash == first[0].content_hash
    if kind == "unseen-tf":
        assert len({s.content_hash for s in first}) == len(first)


@settings(deadline=None, max_examples=8)
@given(networks, kinds, tracks)
def test_save_and_load(grn: GRN, kind: str, track: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for split in make_split(grn, kind, track=track):
            split.save(folder)
            again = EdgeSplit.load(folder, split.name)
            assert again.content_hash == split.content_hash
            assert (again.name, again.fold, again.vocab_hash) == (split.name, split.fold, split.vocab_hash)
            assert again.train_negatives_2N is None
            np.testing.assert_array_equal(again.pairs("test").pairs_2M, split.pairs("test").pairs_2M)


@settings(deadline=None, max_examples=8)
@given(networks, st.data())
def test_the_hash_changes_with_any_content(grn: GRN, data: st.DataObject) -> None:
    split = make_split(grn, "unseen-target")[0]
    field = data.draw(st.sampled_from(["train_2E", "test_2E", "test_targets_N", "hidden_targets_N", "train_sources_S"]))
    value = getattr(split, field)
    assert replace(split, **{field: value[..., 1:]}).content_hash != split.content_hash
    assert replace(split, seed=split.seed + 1).content_hash != split.content_hash
    assert replace(split, name="other").content_hash == split.content_hash


@settings(deadline=None, max_examples=8)
@given(networks, kinds, st.integers(0, 20))
def test_matched_pairs_have_equal_marginals(grn: GRN, kind: str, seed: int) -> None:
    split = make_split(grn, kind)[0]
    matched = split.matched_pairs("test", seed)
    negative = matched.pairs_2M[:, ~matched.labels_M]
    positive = matched.pairs_2M[:, matched.labels_M]
    assert positive.shape == negative.shape
    assert not as_set(negative) & as_set(split.all_positives())
    assert (negative[0] != negative[1]).all()
    assert len(as_set(negative)) == negative.shape[1]
    candidates = pair_keys(split.pairs("test").pairs_2M, split.num_genes)
    assert np.isin(pair_keys(matched.pairs_2M, split.num_genes), candidates).all()
    np.testing.assert_array_equal(np.sort(positive[0]), np.sort(negative[0]))
    if positive.shape[1] == split.test_2E.shape[1]:
        np.testing.assert_array_equal(np.sort(positive[1]), np.sort(negative[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_universes_follow_the_table(kind: str) -> None:
    grn = random_grn(num_genes=80, num_tfs=20, seed=3)
    for split in make_split(grn, kind):
        tfs = np.unique(grn.pairs_2E[0])
        assert np.isin(split.test_sources_S, tfs).all()
        if kind in ("unseen-tf", "unseen-both"):
            assert not np.isin(split.train_sources_S, split.test_sources_S).any()
        if kind in ("unseen-target", "unseen-both"):
            assert not np.isin(split.train_targets_N, split.test_targets_N).any()
            assert split.test_targets_N.size == 16
        if kind in ("random", "unseen-tf"):
            assert split.test_targets_N.size == 80
