"""The training table: rates, what is known, what hiding takes away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.data.edge_split import EdgeSplit
from tests.cases.controls import KINDS
from tests.cases.toy_links import NUM_GENES, toy_split


def labelled_split() -> EdgeSplit:
    """Published style: a third of the negatives are labelled, the rest is unknown."""
    split = toy_split("random")
    rng = np.random.default_rng(0)

    def negatives(part: str) -> np.ndarray:
        pairs = split.pairs(part)  # type: ignore[arg-type]
        negative_2N = pairs.pairs_2M[:, ~pairs.labels_M]
        return negative_2N[:, rng.random(negative_2N.shape[1]) < 0.3]

    named = {f"{part}_negatives_2N": negatives(part) for part in ("train", "validation", "test")}
    return dataclasses.replace(split, kind="published", name="published", **named)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_the_training_positives(kind: str) -> None:
    split = toy_split(kind)
    table = EdgeTable.of(split)
    row_E, target_E = np.nonzero(table.labels_SG)
    np.testing.assert_array_equal(np.stack([table.sources_S[row_E], target_E]), split.train_2E)
    np.testing.assert_array_equal(np.stack(table.adjacency_GG.nonzero()), split.train_2E)
    assert np.isin(split.test_2E[0], table.sources_S).all()
    assert table.complete
    known_2M = split.pairs("train").pairs_2M
    assert table.known_SG.sum() == known_2M.shape[1]
    assert table.known_SG[table.rows(known_2M[0])[0], known_2M[1]].all()


@pytest.mark.parametrize("kind", KINDS)
def test_rates_by_hand_and_prior_mean_for_hidden_genes(kind: str) -> None:
    split = toy_split(kind)
    table = EdgeTable.of(split)
    pairs = split.pairs("train")
    mean = pairs.labels_M.mean()
    assert table.mean_rate == pytest.approx(mean)
    for gene in range(NUM_GENES):
        of_gene = pairs.labels_M[pairs.pairs_2M[1] == gene]
        expected = (of_gene.sum() + 1) / (of_gene.size + 1 / mean)
        assert table.target_rate_G[gene] == pytest.approx(expected)
    np.testing.assert_allclose(table.target_rate_G[split.hidden_targets_N], mean)
    np.testing.assert_allclose(table.source_rate_S[np.isin(table.sources_S, split.hidden_sources_S)], mean)


def test_effects_of_the_held_out_side_are_zero() -> None:
    for kind, source_is_zero, target_is_zero in (
        ("random", False, False),
        ("unseen-tf", True, False),
        ("unseen-target", False, True),
        ("unseen-both", True, True),
    ):
        table = EdgeTable.of(toy_split(kind))
        assert (not table.source_effect_S.any()) == source_is_zero
        assert (not table.target_effect_G.any()) == target_is_zero


def test_labelled_pairs_are_all_that_is_known() -> None:
    split = labelled_split()
    table = EdgeTable.of(split)
    pairs = split.pairs("train")
    assert not table.complete
    assert table.known_SG.sum() == pairs.num_pairs
    assert table.mean_rate == pytest.approx(pairs.prevalence)


def test_hiding_takes_the_reverse_along_and_forgets() -> None:
    table = EdgeTable.of(toy_split("random"))
    both = table.adjacency_GG.toarray()
    source, target = np.argwhere((both * both.T) > 0)[0]  # an edge whose reverse is one too
    hidden = table.hide(columns_N=np.array([target]))
    reverse_row, forward_row = (table.rows(np.array([gene]))[0][0] for gene in (target, source))
    assert table.labels_SG[reverse_row, source] == 1
    assert hidden.labels_SG[forward_row, target] == 0
    assert hidden.labels_SG[reverse_row, source] == 0
    assert hidden.known_SG[reverse_row, source]
    assert not hidden.known_SG[:, target].any()
    assert not hidden.seen_G[target]
    assert hidden.target_rate_G[target] == pytest.approx(hidden.mean_rate)
    assert table.labels_SG[forward_row, target] == 1  # the table itself does not change


def test_hidden_pairs_of_an_unlabelled_split_look_like_any_other() -> None:
    table = EdgeTable.of(toy_split("random"))
    hidden_SG = table.labels_SG > 0
    known = table.hide(pairs_SG=hidden_SG, forget=False)
    forgotten = table.hide(pairs_SG=hidden_SG, forget=True)
    assert known.complete
    assert not known.labels_SG.any()
    assert not forgotten.known_SG[hidden_SG].any()
    assert known.mean_rate == 0
    assert np.isfinite(known.target_rate_G).all()


def test_rows_keep_their_rates_where_targets_are_held_out() -> None:
    columns_N = np.arange(20, 40)
    unseen_target = EdgeTable.of(toy_split("unseen-target"))
    np.testing.assert_array_equal(unseen_target.hide(columns_N=columns_N).source_rate_S, unseen_target.source_rate_S)
    random = EdgeTable.of(toy_split("random"))
    assert (random.hide(columns_N=columns_N).source_rate_S != random.source_rate_S).any()
