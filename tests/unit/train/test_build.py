"""From a recipe and data to a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from grn_cotrain.data.gene2vec import gene2vec
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.train.build import build_model
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
    expected_GR = gene2vec(data.cells, rank=16, rows=data.cell_split.train_C)
    assert 0 < np.any(expected_GR != 0, axis=1).sum() < len(expected_GR)
    rows_GD = model.eval().table().detach().numpy()
    paired_G = np.any(expected_GR != 0, axis=1)
    scale = np.sqrt(np.square(expected_GR).mean())
    np.testing.assert_allclose(rows_GD[paired_G], expected_GR[paired_G] / scale, rtol=1e-3, atol=1e-4)
    assert np.abs(rows_GD[~paired_G]).max() < 0.2  # small random rows, all different
    assert len(np.unique(rows_GD[~paired_G].round(6), axis=0)) == (~paired_G).sum()
