"""Transfer splits: genes aligned by symbol, shared edges trained on, reversed ones withheld."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.leakage import assert_no_leak
from grn_cotrain.data.splits import transfer_split
from grn_cotrain.errors import UserError
from tests.cases.networks import grn_of, random_grn, vocab_of


def test_edges_are_aligned_by_symbol_and_shared_edges_are_not_tested(caplog: pytest.LogCaptureFixture) -> None:
    grn = grn_of(np.array([[0, 0, 1, 2], [5, 6, 5, 1]]), 8)
    other = vocab_of(12)
    # The same symbols in reverse order, and genes that this vocabulary lacks.
    other = type(other)(other.symbols[::-1], other.ids, other.modality, other.is_token, other.species)
    edges = [("GENE0", "GENE5"), ("GENE1", "GENE2"), ("GENE3", "GENE7"), ("GENE3", "GENE11")]
    train = GRN.from_frame(pd.DataFrame(edges, columns=["source", "target"]), other)
    split = transfer_split(grn, train)
    held = np.concatenate([split.train_2E, split.validation_2E], axis=1)
    assert {tuple(p) for p in held.T.tolist()} == {(0, 5), (3, 7)}
    assert {tuple(p) for p in split.test_2E.T.tolist()} == {(0, 6), (1, 5), (2, 1)}
    assert {tuple(p) for p in split.withheld_2E.T.tolist()} == {(1, 2)}
    assert "1 of 4 training edges leave" in caplog.text
    assert_no_leak(split, split.train_2E)


def test_a_tenth_validates_and_nothing_leaks() -> None:
    split = transfer_split(random_grn(seed=0), random_grn(seed=1, undirected=True), seed=3)
    assert assert_no_leak(split, split.train_2E).findings == ()
    total = split.train_2E.shape[1] + split.validation_2E.shape[1]
    assert split.validation_2E.shape[1] == pytest.approx(0.1 * total, rel=0.3)
    assert (
        split.content_hash
        == transfer_split(random_grn(seed=0), random_grn(seed=1, undirected=True), seed=3).content_hash
    )


def test_what_the_training_network_does_not_know_is_held_out() -> None:
    grn = grn_of(np.array([[0, 0, 1, 2], [5, 6, 5, 1]]), 8)
    train = GRN.from_frame(pd.DataFrame({"source": ["GENE0", "GENE3"], "target": ["GENE1", "GENE2"]}), vocab_of(6))
    split = transfer_split(grn, train)
    assert split.hidden_sources_S.tolist() == [1, 2]  # tested, without a training edge
    assert split.hidden_targets_N.tolist() == [6, 7]  # outside the vocabulary of the training network
    assert split.train_targets_N.tolist() == [0, 1, 2, 3, 4, 5]
    assert split.held_out == "none"
    assert transfer_split(grn_of(np.array([[4], [5]]), 8), train).held_out == "source"
    assert_no_leak(split, split.train_2E)


def test_strangers_and_twins_are_refused() -> None:
    grn = random_grn()
    with pytest.raises(UserError, match="nothing to test"):
        transfer_split(grn, grn)
    foreign = vocab_of(4, prefix="STRANGER")
    train = GRN.from_frame(pd.DataFrame({"source": ["STRANGER0"], "target": ["STRANGER1"]}), foreign)
    with pytest.raises(UserError, match="another species"):
        transfer_split(grn, train)
