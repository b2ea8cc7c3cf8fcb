"""Message edges of a run: the training edges, or control graphs drawn from them alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.run_data import message_edges


@pytest.fixture(scope="module")
def prep(tiny_world: Path) -> Prep:
    return Prep.open(tiny_world)


def test_true_messages_are_the_training_edges_with_their_signs(prep: Prep) -> None:
    split = prep.split("unseen-target-seed0")
    messages = message_edges("true", split, prep.grn, seed=0)
    np.testing.assert_array_equal(messages.pairs_2E, split.train_2E)
    sign = dict(zip(map(tuple, prep.grn.pairs_2E.T.tolist()), prep.grn.sign_E.tolist(), strict=True))
    assert [sign[tuple(pair)] for pair in messages.pairs_2E.T.tolist()] == messages.sign_E.tolist()
    assert set(messages.sign_E.tolist()) >= {-1, 1}


@pytest.mark.parametrize("kind", ["rewired", "random"])
def test_control_graphs_keep_the_number_of_edges_and_touch_no_hidden_gene(prep: Prep, kind: str) -> None:
    split = prep.split("unseen-target-seed0")
    messages = message_edges(kind, split, prep.grn, seed=0)
    assert messages.pairs_2E.shape == split.train_2E.shape
    assert not np.isin(messages.pairs_2E[1], split.hidden_targets_N).any()
    moved = ~np.isin(pair_keys(messages.pairs_2E, split.num_genes), pair_keys(split.train_2E, split.num_genes))
    assert moved.mean() > 0.3
    if kind == "rewired":
        for side in (0, 1):
            np.testing.assert_array_equal(np.bincount(messages.pairs_2E[side]), np.bincount(split.train_2E[side]))


def test_stand_ins_of_supervised_edges_rest_too(prep: Prep) -> None:
    split = prep.split("unseen-target-seed0")
    messages = message_edges("rewired", split, prep.grn, seed=0)
    dropped = messages.dropped_by(split.train_2E[:, 3:5])
    np.testing.assert_array_equal(dropped[:, :2], split.train_2E[:, 3:5])
    np.testing.assert_array_equal(dropped[:, 2:], messages.pairs_2E[:, 3:5])


def weighted(prep: Prep, weight_E: np.ndarray) -> GRN:
    return GRN.from_frame(prep.grn.edges.assign(weight=weight_E), prep.vocab)


@pytest.mark.parametrize("scale", [1.0, 0.002, 500.0])
def test_weights_are_those_of_the_edges_relative_to_their_mean(prep: Prep, scale: float) -> None:
    split = prep.split("unseen-target-seed0")
    given_E = scale * (1 + np.arange(prep.grn.num_edges) % 7)
    weight = dict(zip(map(tuple, prep.grn.pairs_2E.T.tolist()), given_E, strict=True))
    expected_E = np.array([weight[tuple(pair)] for pair in split.train_2E.T.tolist()])
    found = message_edges("true", split, weighted(prep, given_E), seed=0)
    np.testing.assert_allclose(found.weight_E, expected_E / expected_E.mean(), rtol=1e-6)
    for kind in ("rewired", "random"):  # a stand-in has the weight of the edge that it stands for
        np.testing.assert_array_equal(
            message_edges(kind, split, weighted(prep, given_E), seed=0).weight_E, found.weight_E
        )
    assert message_edges("true", split, weighted(prep, given_E), seed=0, weights=False).weight_E is None
    assert message_edges("none", split, weighted(prep, given_E), seed=0).weight_E is None


def test_equal_weights_are_no_weights(prep: Prep) -> None:
    split = prep.split("unseen-target-seed0")
    for value in (1.0, 0.37, 219.0):
        grn = weighted(prep, np.full(prep.grn.num_edges, value))
        assert message_edges("true", split, grn, seed=0).weight_E is None


def test_a_training_edge_outside_the_network_has_the_mean_weight(prep: Prep) -> None:
    split = prep.split("random-seed0")
    grn = weighted(prep, 1.0 + np.arange(prep.grn.num_edges) % 5)
    less = GRN.from_frame(grn.edges.iloc[::2], prep.vocab)
    weight_E = message_edges("true", split, less, seed=0).weight_E
    assert weight_E is not None
    outside_E = ~np.isin(pair_keys(split.train_2E, split.num_genes), pair_keys(less.pairs_2E, split.num_genes))
    assert (weight_E[outside_E] == 1).all()
    assert weight_E[~outside_E].mean() == pytest.approx(1)


def test_no_messages(prep: Prep) -> None:
    split = prep.split("random-seed0")
    assert message_edges("none", split, prep.grn, seed=0).pairs_2E.shape == (2, 0)
