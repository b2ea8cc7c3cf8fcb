"""Spectrum, neighbours and stability on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.card.neighbours import default_genes, neighbour_summary, neighbours_of
from grn_cotrain.card.spectrum import spectrum_of
from grn_cotrain.card.stability import agreement_of, shared_rows
from grn_cotrain.card.vectors import nearest
from grn_cotrain.errors import UserError
from tests.unit.card.toy import toy_inputs

GENERATOR = np.random.default_rng(0)


def test_effective_rank_of_equal_and_of_one_direction() -> None:
    rows = np.concatenate([np.eye(4), -np.eye(4)])  # four directions of equal variance
    found = spectrum_of(rows)
    assert found.effective_rank == pytest.approx(4)
    assert found.participation_ratio == pytest.approx(4)
    assert found.dimensions_for_90_percent == 4
    one = spectrum_of(np.outer(np.arange(10.0), np.ones(5)))
    assert one.effective_rank == pytest.approx(1)
    assert one.variance_shares[0] == pytest.approx(1)
    assert one.dimensions_for_90_percent == 1


def test_troubles_are_counted() -> None:
    rows = GENERATOR.standard_normal((20, 4))
    rows[:, 3] = 7
    rows[0] = np.nan
    rows[1, 2] = np.inf
    rows[5] = rows[6] = rows[4]
    found = spectrum_of(rows)
    assert found.num_not_finite == 2
    assert found.num_duplicate_rows == 2
    assert found.num_constant_dimensions == 1
    assert found.num_zero_rows == 0
    assert spectrum_of(np.zeros((4, 2))).num_zero_rows == 4
    assert spectrum_of(np.zeros((4, 2))).effective_rank == 0


def test_rows_that_share_a_direction_are_called_out() -> None:
    rows = GENERATOR.standard_normal((300, 6))
    assert abs(spectrum_of(rows).mean_cosine) < 0.02
    assert spectrum_of(rows).note == ""
    shifted = spectrum_of(rows + 5)
    assert shifted.mean_cosine > 0.9
    assert "subtract the mean row" in shifted.note


def test_neighbours_tell_their_edges() -> None:
    rows = GENERATOR.standard_normal((50, 6))
    rows[1] = rows[0] + 0.01
    rows[2] = rows[0] - 0.02
    rows[3] = rows[0] + 0.03
    inputs = toy_inputs(rows, np.array([[0, 2], [1, 0]]), np.array([[0], [3]]))
    (gene,) = neighbours_of(inputs, [0], k=3)
    assert {one.gene: one.edge for one in gene.embedding} == {
        "G1": "training: G0 → G1",
        "G2": "training: G2 → G0",
        "G3": "test: G0 → G3",
    }
    assert gene.is_tf
    assert (gene.training_targets, gene.training_regulators) == (1, 1)
    assert [one.cosine for one in gene.embedding] == sorted((one.cosine for one in gene.embedding), reverse=True)
    assert len(gene.pca) == 3


def test_default_genes_are_hubs_then_known_names() -> None:
    rows = GENERATOR.standard_normal((30, 4))
    edges = np.array([[4, 4, 4, 9, 9, 2], [1, 2, 3, 1, 2, 5]])
    assert default_genes(toy_inputs(rows, edges)) == [4, 9, 2]
    assert default_genes(toy_inputs(rows)) == [0, 1, 2, 3, 4]


def test_neighbourhoods_of_a_planted_network() -> None:
    """Genes 0-9 are the targets of gene 40, genes 10-19 those of 41, and lie together."""
    rows = 0.1 * GENERATOR.standard_normal((42, 8))
    rows[:10, 0] += 3
    rows[10:20, 1] += 3
    rows[40, 0] += 3
    edges = np.array([[40] * 10 + [41] * 10, list(range(20))])
    inputs = toy_inputs(rows, edges)
    found = {"embedding": nearest(inputs.values_GD, 10)[0], "pca": nearest(inputs.values_GD, 10)[0]}
    found["random"] = nearest(GENERATOR.standard_normal(rows.shape), 10)[0]
    summary = neighbour_summary(inputs, found)
    # Gene 40 and its ten targets have each other as neighbours: 10 + 10 of 420 pairs are an edge.
    assert summary.training_edge["embedding"] == pytest.approx(20 / 420)
    assert summary.shared_regulator["embedding"] > 0.9 > summary.shared_regulator["chance"]
    assert summary.overlap_with_pca == 1


def test_agreement_with_itself_turned_and_with_noise() -> None:
    rows = GENERATOR.standard_normal((300, 8))
    turned = 2 * rows @ np.linalg.qr(GENERATOR.standard_normal((8, 8)))[0]
    values, chance = agreement_of(rows, turned)
    assert all(value == pytest.approx(1, abs=1e-6) for value in values.values())
    assert chance["procrustes_r2"] < 0.15
    assert chance["neighbours_10"] == pytest.approx(10 / 299 / (2 - 10 / 299), abs=0.01)
    noise, chance = agreement_of(rows, GENERATOR.standard_normal((300, 8)))
    assert all(noise[key] == pytest.approx(chance[key], abs=0.05) for key in noise)


def test_runs_are_matched_by_name() -> None:
    mine = [("gene", name) for name in "abcdef"]
    other = [("gene", name) for name in "fxdcb"] + [("protein", "a")]
    a, b = shared_rows(mine, other, what="--others 'x'")
    assert [(mine[i], other[j]) for i, j in zip(a, b, strict=True)] == [(n, n) for n in mine if n[1] in "bcdf"]
    with pytest.raises(UserError, match="another vocabulary"):
        shared_rows(mine, [("gene", name) for name in "abvwxyz"], what="--others 'x'")
