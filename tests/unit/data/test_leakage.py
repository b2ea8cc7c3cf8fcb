"""Planted leaks: one of every kind, each must be found under its name; a clean split has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.leakage import assert_no_leak, audit
from grn_cotrain.data.rewire import random_graph, rewired
from grn_cotrain.data.splits import make_split
from grn_cotrain.errors import UserError
from tests.cases.networks import labelled_split, random_grn

Planted = tuple[EdgeSplit, dict[str, Any]]


def clean(kind: str = "unseen-tf", track: str = "visible") -> EdgeSplit:
    return make_split(random_grn(num_genes=60, num_tfs=15, density=0.2, seed=2), kind, track=track)[0]  # type: ignore[arg-type]


def joined(*pairs: np.ndarray) -> np.ndarray:
    return np.concatenate(pairs, axis=1)


def column(pairs_2E: np.ndarray, number: int = 0) -> np.ndarray:
    return pairs_2E[:, number : number + 1]


def plant_reversed() -> Planted:
    split = clean("random")
    return replace(split, train_2E=joined(split.train_2E, column(split.test_2E)[::-1])), {}


def plant_duplicated() -> Planted:
    split = clean("random")
    return replace(split, train_2E=joined(split.train_2E, column(split.test_2E))), {}


def plant_duplicated_in_validation() -> Planted:
    split = clean("random")
    return replace(split, validation_2E=joined(split.validation_2E, column(split.test_2E))), {}


def plant_train_positive_as_negative() -> Planted:
    split = labelled_split()
    return replace(split, test_negatives_2N=joined(split.test_negatives_2N, column(split.train_2E))), {}


def plant_test_positive_as_train_negative() -> Planted:
    split = labelled_split()
    return replace(split, train_negatives_2N=joined(split.train_negatives_2N, column(split.test_2E))), {}


def plant_test_negative_in_training() -> Planted:
    split = labelled_split()
    return replace(split, train_negatives_2N=joined(split.train_negatives_2N, column(split.test_negatives_2N))), {}


def plant_held_out_tf_in_training() -> Planted:
    split = clean()
    free = np.setdiff1d(np.arange(60), split.test_2E[1])
    edge = np.array([[split.test_sources_S[0]], [free[free >= 15][0]]])
    return replace(split, train_2E=joined(split.train_2E, edge)), {}


def plant_held_out_tf_in_messages() -> Planted:
    split = clean()
    return split, {"message_2E": joined(split.train_2E, column(split.test_2E))}


def plant_in_edge_of_a_hidden_tf() -> Planted:
    split = clean(track="hidden")
    return split, {"message_2E": np.array([[split.train_sources_S[0]], [split.test_sources_S[0]]])}


def plant_in_edge_of_a_hidden_gene() -> Planted:
    split = clean("unseen-target")
    return split, {"message_2E": joined(split.train_2E, column(split.test_2E))}


def plant_out_edge_of_a_hidden_gene() -> Planted:
    split = clean("unseen-target", "hidden")
    return split, {"message_2E": np.array([[split.hidden_targets_N[0]], [split.train_targets_N[0]]])}


def plant_foreign_message() -> Planted:
    split = clean("random")
    candidates = split.pairs("test")
    return split, {"message_2E": joined(split.train_2E, column(candidates.pairs_2M[:, ~candidates.labels_M]))}


def plant_test_message() -> Planted:
    split = clean("random")
    return split, {"message_2E": joined(split.train_2E, column(split.test_2E))}


def plant_reversed_message() -> Planted:
    split = clean("random")
    return split, {"message_2E": joined(split.train_2E, column(split.test_2E)[::-1])}


def plant_repeated_message() -> Planted:
    split = clean("random")
    return split, {"message_2E": joined(split.train_2E, column(split.train_2E))}


def plant_supervised_message() -> Planted:
    split = clean("random")
    return split, {"message_2E": split.train_2E, "supervision_2P": column(split.train_2E, 3)}


def plant_reversed_supervised_message() -> Planted:
    split = clean("random")
    return split, {"message_2E": split.train_2E, "supervision_2P": column(split.train_2E, 3)[::-1]}


def plant_idle_candidate() -> Planted:
    split = clean("random")
    return replace(split, test_sources_S=np.append(split.test_sources_S, 59)), {}


def plant_positive_outside() -> Planted:
    split = clean("random")
    return replace(split, test_targets_N=np.setdiff1d(split.test_targets_N, split.test_2E[1, :1])), {}


def plant_self_pair() -> Planted:
    split = clean("random")
    return replace(split, train_2E=joined(split.train_2E, np.array([[7], [7]]))), {}


def plant_index_beyond_the_vocabulary() -> Planted:
    split = clean("random")
    return split, {"message_2E": joined(split.train_2E, np.array([[3], [-1]]))}


def plant_held_out_source_of_negatives() -> Planted:
    split = clean()
    return replace(split, train_sources_S=np.append(split.train_sources_S, split.test_sources_S[0])), {}


def plant_hidden_target_of_negatives() -> Planted:
    split = clean("unseen-target")
    return replace(split, train_targets_N=np.append(split.train_targets_N, split.test_targets_N[0])), {}


def plant_seen_test_tf() -> Planted:
    split = clean()
    return replace(split, test_sources_S=np.append(split.test_sources_S, split.train_sources_S[0])), {}


def plant_seen_test_gene() -> Planted:
    split = clean("unseen-target")
    return replace(split, test_targets_N=np.append(split.test_targets_N, split.train_targets_N[0])), {}


def plant_other_vocabulary() -> Planted:
    return clean(), {"vocab_hash": "another"}


def plant_other_network() -> Planted:
    return clean(), {"grn_hash": "another"}


PLANTED: list[tuple[Callable[[], Planted], str]] = [
    (plant_reversed, "reversed-edge"),
    (plant_duplicated, "duplicated-edge"),
    (plant_duplicated_in_validation, "duplicated-edge"),
    (plant_train_positive_as_negative, "duplicated-label"),
    (plant_test_positive_as_train_negative, "positive-as-train-negative"),
    (plant_test_negative_in_training, "negative-in-training"),
    (plant_held_out_tf_in_training, "held-out-tf-reachable"),
    (plant_held_out_tf_in_messages, "held-out-tf-reachable"),
    (plant_in_edge_of_a_hidden_tf, "held-out-tf-reachable"),
    (plant_in_edge_of_a_hidden_gene, "hidden-gene-reachable"),
    (plant_out_edge_of_a_hidden_gene, "hidden-gene-reachable"),
    (plant_foreign_message, "message-not-in-training"),
    (plant_test_message, "held-out-message"),
    (plant_reversed_message, "reversed-message"),
    (plant_repeated_message, "duplicated-message"),
    (plant_supervised_message, "supervision-is-message"),
    (plant_reversed_supervised_message, "supervision-is-message"),
    (plant_idle_candidate, "candidate-without-edge"),
    (plant_positive_outside, "positive-outside-candidates"),
    (plant_self_pair, "self-pair"),
    (plant_index_beyond_the_vocabulary, "index-out-of-range"),
    (plant_held_out_source_of_negatives, "held-out-tf-in-training-negatives"),
    (plant_hidden_target_of_negatives, "hidden-gene-in-training-negatives"),
    (plant_seen_test_tf, "test-tf-not-held-out"),
    (plant_seen_test_gene, "test-gene-not-hidden"),
    (plant_other_vocabulary, "vocabulary-mismatch"),
    (plant_other_network, "network-mismatch"),
]
PLANTED = [(plant, "train-positive-as-negative" if name == "duplicated-label" else name) for plant, name in PLANTED]


@pytest.mark.parametrize(("plant", "name"), PLANTED, ids=[plant.__name__[6:] for plant, _ in PLANTED])
def test_a_planted_leak_is_found(plant: Callable[[], Planted], name: str) -> None:
    split, options = plant()
    report = audit(split, **options)
    assert name in {finding.name for finding in report.findings if finding.severity == "error"}
    assert not report.ok
    assert name in report.summary()
    with pytest.raises(UserError, match=name):
        assert_no_leak(split, **options)


def test_every_check_has_a_planted_leak() -> None:
    split = labelled_split()
    report = audit(split, split.train_2E, supervision_2P=split.train_2E[:, :0], vocab_hash="x", grn_hash="x")
    checked = set(report.checked)
    for kind in ("unseen-tf", "unseen-both"):
        checked |= set(audit(clean(kind)).checked)
    assert checked == {name for _, name in PLANTED}


@pytest.mark.parametrize("kind", ["random", "unseen-tf", "unseen-target", "unseen-both"])
@pytest.mark.parametrize("track", ["visible", "hidden"])
def test_a_clean_split_and_its_control_graphs_pass(kind: str, track: str) -> None:
    split = clean(kind, track)
    hashes = {"vocab_hash": split.vocab_hash, "grn_hash": split.grn_hash}
    assert assert_no_leak(split, split.train_2E, **hashes).findings == ()
    for graph_2E in (
        rewired(split.train_2E, 0),
        random_graph(split.train_2E, 60, 0, targets_N=split.train_targets_N),
    ):
        report = assert_no_leak(split, graph_2E, control_graph=True)
        assert {finding.name for finding in report.findings} <= {
            "message-not-in-training",
            "held-out-message",
            "reversed-message",
        }
        with pytest.raises(UserError, match="message-not-in-training"):
            assert_no_leak(split, graph_2E)


def test_what_published_files_contain_is_a_note() -> None:
    split = labelled_split()
    split = replace(split, train_2E=joined(split.train_2E, column(split.test_2E)[::-1]))
    report = assert_no_leak(split, split.train_2E, symbols=[f"G{i}" for i in range(8)])
    notes = {finding.name: finding for finding in report.findings}
    assert set(notes) == {"reversed-edge", "reversed-message"}
    assert notes["reversed-edge"].severity == "note"
    assert notes["reversed-edge"].examples == ("G0 -> G6",)
    assert "no leak" in report.summary()
    assert report.to_dict()["ok"] is True
