"""From a recipe and data to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grn_cotrain.data.gene2vec import gene2vec
from grn_cotrain.data.grn import GRN
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.run_data import load_run_data, message_edges
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.train.build import build_model, weights_note
from tests.worlds import tiny_recipe


def _model(world: Path, schedule: str, init: str):
    recipe = tiny_recipe(world, model={"table": {"init": init}}, train={"schedule": {"name": schedule}})
    data = load_run_data(recipe)
    return data, build_model(recipe, data)


def test_random_rows_of_genes_that_no_step_touches_are_not_read(tiny_world: Path) -> None:
    data, model = _model(tiny_world, "link_only", "random")
    touched_G = np.isin(np.arange(data.vocab.num_features), data.split.train_2E)
    assert 0 < touched_G.sum() < len(touched_G)
    model.eval()
    before_GD = model.table()
    with torch.no_grad():
        model.table.id_GD.add_(1.0)
    moved_G = (model.table() != before_GD).any(dim=1).numpy()
    np.testing.assert_array_equal(moved_G, touched_G)


def test_cells_touch_genes_and_loadings_speak_for_themselves(tiny_world: Path) -> None:
    assert _model(tiny_world, "joint", "random")[1].table.known_G.all()
    assert _model(tiny_world, "link_only", "pca")[1].table.known_G.all()


def test_gene2vec_rows_are_those_of_the_training_cells(tiny_world: Path) -> None:
    data, model = _model(tiny_world, "joint", "gene2vec")
    expected_GR = gene2vec(Statistics(data.cells, data.cell_split.train_C), rank=16)
    assert 0 < np.any(expected_GR != 0, axis=1).sum() < len(expected_GR)
    rows_GD = model.eval().table().detach().numpy()
    paired_G = np.any(expected_GR != 0, axis=1)
    scale = np.sqrt(np.square(expected_GR).mean())
    np.testing.assert_allclose(rows_GD[paired_G], expected_GR[paired_G] / scale, rtol=1e-3, atol=1e-4)
    assert np.abs(rows_GD[~paired_G]).max() < 0.2  # small random rows, all different
    assert len(np.unique(rows_GD[~paired_G].round(6), axis=0)) == (~paired_G).sum()


def _note(world: Path, weight: Callable[[int], float], graph: dict[str, Any], encoder: str) -> str | None:
    recipe = tiny_recipe(world, graph=graph, model={"graph_encoder": encoder})
    prep = Prep.open(world)
    weights = [weight(i) for i in range(prep.grn.num_edges)]
    grn, data = GRN.from_frame(prep.grn.edges.assign(weight=weights), prep.vocab), load_run_data(recipe)
    messages = message_edges(recipe.graph.messages, data.split, grn, seed=0, weights=recipe.graph.weights)
    return weights_note(recipe, replace(data, messages=messages))


@pytest.mark.parametrize(
    ("weight", "graph", "encoder", "told"),
    [
        (lambda i: 1.0, {}, "gcn", None),
        (lambda i: 0.5, {}, "identity", None),
        (
            lambda i: 1.0 + i % 3,
            {},
            "gcn",
            "edge weights (1 to 3) are used by gcn, relative to the mean weight of the training edges",
        ),
        (
            lambda i: float(i > 1),
            {},
            "sage",
            "edge weights (0 to 1) are used by sage, relative to the mean weight of the training edges; 2 edges of"
            " weight 0 carry no message",
        ),
        (
            lambda i: 1.0 + i % 3,
            {},
            "identity",
            "edge weights (1 to 3) are not used by the graph encoder identity; gatv2, gcn, rgcn, sage use them",
        ),
        (lambda i: 1.0 + i, {"weights": False}, "gcn", "graph.weights is false"),
        (lambda i: 1.0 + i, {"messages": "none"}, "gcn", "are not used: graph.messages: none"),
    ],
)
def test_a_run_says_what_becomes_of_edge_weights(
    tiny_world: Path, weight: Callable[[int], float], graph: dict[str, Any], encoder: str, told: str | None
) -> None:
    found = _note(tiny_world, weight, graph, encoder)
    assert found == told if told is None or told.startswith("edge") else str(told) in str(found)


def test_weights_reach_training_and_equal_weights_are_no_weights(tiny_world: Path) -> None:
    """Models of the same recipe: another weight of the edges is another function of the same parameters."""
    recipe = tiny_recipe(tiny_world, model={"graph_encoder": "gcn"})
    data = load_run_data(recipe)
    rows = {}
    for name, weight in (("one", 1.0), ("half", 0.5), ("many", 0.01 + 10.0 * (np.arange(data.prep.grn.num_edges) % 7))):
        grn = GRN.from_frame(data.prep.grn.edges.assign(weight=weight), data.vocab)
        given = replace(data, messages=message_edges("true", data.split, grn, seed=0))
        rows[name] = build_model(recipe, given).eval().encode_graph().graph_GD.detach()
    assert torch.equal(rows["one"], rows["half"])
    assert not torch.allclose(rows["one"], rows["many"], atol=1e-3)
