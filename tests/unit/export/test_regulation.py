"""Vectors of genes by their known and predicted regulators, against dense algebra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.apply import OpenRun
from grn_cotrain.errors import UserError
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.export.regulation import completed_network, network_directions, network_table, regulation_rows
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe


def table(num_tfs: int = 6, num_genes: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.3, size=(num_tfs, num_genes)).astype(np.float32)


def test_vectors_have_the_distances_of_the_normalised_table() -> None:
    weight_SG = table()
    row_S, column_G = weight_SG.sum(1), weight_SG.sum(0)
    scaled_SG = weight_SG / np.sqrt(
        (row_S + 0.25 * row_S.mean())[:, None] * (column_G + 0.25 * column_G.mean())[None, :]
    )
    rows_GD = network_directions(weight_SG, width=64)
    assert rows_GD.shape == (20, 6)  # as many columns as TFs
    np.testing.assert_allclose(rows_GD @ rows_GD.T, scaled_SG.T @ scaled_SG, atol=1e-5)
    few_GD = network_directions(weight_SG, width=2)
    values = np.linalg.svd(scaled_SG, compute_uv=False)
    np.testing.assert_allclose((few_GD**2).sum(0), values[:2] ** 2, rtol=1e-4)


def test_genes_without_a_regulator_get_zeros_from_the_known_edges_alone() -> None:
    weight_SG = table()
    weight_SG[:, 3] = 0
    np.testing.assert_allclose(network_directions(weight_SG, width=4)[3], 0, atol=1e-12)


def test_predicted_edges_weigh_as_much_as_known_ones() -> None:
    generator = np.random.default_rng(1)
    known_SG = (generator.random((8, 50)) < 0.05).astype(np.float32)
    logits_SG = generator.normal(-1, 4, known_SG.shape).astype(np.float32)
    weight_SG = completed_network(known_SG, logits_SG)
    predicted_SG = weight_SG - known_SG
    assert predicted_SG.sum() == pytest.approx(known_SG.sum(), rel=1e-3)
    offset = np.log(predicted_SG / (1 - predicted_SG)) - logits_SG
    assert np.ptp(offset[predicted_SG > 1e-3]) < 1e-2, "one offset for all pairs"
    assert (np.argsort(logits_SG, axis=None) == np.argsort(predicted_SG.astype(np.float64), axis=None))[-100:].all()


def test_a_run_gives_the_vectors_of_its_completed_network(tiny_run: Path) -> None:
    run = OpenRun(tiny_run, side="links")
    found = gene_embeddings(tiny_run, kind="regulation")
    train_2E = run.data().split.train_2E
    sources_S = np.unique(train_2E[0])
    num_genes = run.model.nodes.num_genes
    pairs_2M = np.stack([np.repeat(sources_S, num_genes), np.tile(np.arange(num_genes), len(sources_S))])
    logits_SG = run.model.link_logits(run.encoder.genes, pairs_2M).reshape(len(sources_S), -1).astype(np.float32)
    known_SG = network_table(train_2E, sources_S, num_genes)
    assert known_SG.sum() == train_2E.shape[1]
    expected_GD = network_directions(completed_network(known_SG, logits_SG), width=run.model.config.width)
    np.testing.assert_allclose(found.matrix(), expected_GD, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gene_embeddings(tiny_run, kind="regulation").matrix(), found.matrix())
    unknown_G = np.setdiff1d(np.arange(num_genes), train_2E[1])
    assert len(unknown_G)
    assert (np.abs(found.matrix()[unknown_G]).max(axis=1) > 0).all(), "they have predicted regulators"


def test_control_messages_are_not_taken_for_the_network(tiny_world: Path, tmp_path: Path) -> None:
    settings = {"graph": {"messages": "rewired"}, "train": {"max_steps": 2, "validate_every": 2, "threads": 1}}
    run = OpenRun(train(tiny_recipe(tiny_world, **settings), tmp_path / "run").folder, side="links")
    train_2E = run.data().split.train_2E
    sources_S = np.unique(train_2E[0])
    assert regulation_rows(run).shape[1] == min(run.model.config.width, len(sources_S))
    apart = OpenRun(tmp_path / "run", prep=tmp_path / "nowhere", side="links")
    with pytest.raises(UserError, match="nowhere"):
        regulation_rows(apart)
