"""A run keeps the best model of links and the best model of cells, and each command applies its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.export.cells import cell_embeddings
from grn_cotrain.export.extend import extend_run
from grn_cotrain.hub.stage import stage_run
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.kept import kept_side, kept_step
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

SIDE = {"links": "cells", "cells": "links"}


def trained(world: Path, folder: Path, select_on: str, **changes: object) -> RunFolder:
    return train(tiny_recipe(world, train={"select_on": select_on, "validate_every": 2, **changes}), folder)


@pytest.fixture(scope="module", params=["links", "cells"])
def run(request: pytest.FixtureRequest, tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return trained(tiny_world, folder, request.param, learning_rate=2e-2)


def best(run: RunFolder, side: str) -> int:
    """The step of the highest validation value of a side, from the records; the first of equals."""
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    values = {r["step"]: r[f"validation/{side}/selection"] for r in records if r["kind"] == "validation"}
    return max(values, key=lambda step: (values[step], -step))


def test_each_side_has_the_model_of_its_own_best_step(run: RunFolder) -> None:
    selects = run.recipe().train.select_on
    other = SIDE[selects]
    _, config = load_model(run.model)
    _, second = load_model(run.side_model(other))
    assert config["meta"]["step"] == best(run, selects) == kept_step(run).step
    assert second["meta"]["step"] == best(run, other)
    assert kept_side(run) == (other, kept_side(run)[1])
    assert kept_side(run)[1].step == best(run, other)
    assert not run.side_model(selects).exists()
    assert config["meta"]["run_id"] == second["meta"]["run_id"]


def test_embeddings_and_scores_come_from_the_model_of_their_side(run: RunFolder) -> None:
    adata = run.require_prep().to_anndata()
    found = cell_embeddings(run.folder, counts_from_anndata(adata[:5].copy()), keep_depth=True)
    model, config = load_model(run.model_for("cells"))
    prep = Prep.open(run.require_prep().folder)
    batch = model.tokenizer(prep.cells).batch(np.arange(5)).pack()
    with torch.no_grad():
        expected_BD = model.encode_cells(batch, model.encode_graph()).cells_BD.numpy()
    np.testing.assert_allclose(found.values_CD, expected_BD, atol=1e-5)
    assert ModelScorer(run.folder).config["meta"]["step"] == best(run, "links")
    assert OpenRun(run, side="cells").config["meta"]["step"] == config["meta"]["step"] == best(run, "cells")
    # Probabilities belong to the model that scores links.
    assert (run.model_for("links") / "platt.json").is_file()


def test_a_second_model_that_was_changed_or_lost_is_refused(run: RunFolder, tmp_path: Path) -> None:
    side = SIDE[run.recipe().train.select_on]
    shutil.copytree(run.folder, tmp_path / "copy")
    weights = tmp_path / "copy" / f"model_{side}" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(UserError, match=f"model_{side}/model.safetensors': damaged"):
        RunFolder.open(tmp_path / "copy")
    shutil.rmtree(weights.parent)
    with pytest.raises(UserError, match=f"model_{side}/model_manifest.json': missing; the run is incomplete"):
        RunFolder.open(tmp_path / "copy")


def test_a_pushed_run_has_both_models(run: RunFolder, tmp_path: Path) -> None:
    stage_run(run.folder, tmp_path / "staged")
    staged = RunFolder.open(tmp_path / "staged")
    assert [folder.name for folder in staged.model_folders] == [folder.name for folder in run.model_folders]
    assert len(staged.model_folders) == 2


def test_an_extended_run_has_both_models(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("NEW1\nNEW2\n")
    extend_run(run.folder, None, tmp_path / "extended", features=tmp_path / "names.txt", say=lambda text: None)
    extended = RunFolder.open(tmp_path / "extended")
    assert len(extended.model_folders) == 2
    for side in ("cells", "links"):
        before, after = (load_model(one.model_for(side))[0] for one in (run, extended))
        assert after.vocab.num_features == before.vocab.num_features + 2
        assert after.meta["step"] == before.meta["step"] == best(run, side)


def test_one_side_alone_has_one_model(tiny_world: Path, tmp_path: Path) -> None:
    for name in ("link_only", "mlm_only"):
        done = train(tiny_recipe(tiny_world, train={"schedule": {"name": name}, "max_steps": 4}), tmp_path / name)
        assert [folder.name for folder in done.model_folders] == ["model"]
        assert kept_side(done) is None
        assert done.model_for("cells") == done.model_for("links") == done.model


def test_a_resumed_run_keeps_the_same_two_models(tiny_world: Path, tmp_path: Path) -> None:
    changes = {"learning_rate": 2e-2}
    whole = trained(tiny_world, tmp_path / "whole", "links", **changes)
    cut = trained(tiny_world, tmp_path / "cut", "links", **changes)
    (cut.checkpoints / "latest.json").write_text(json.dumps({"step": 6}))
    cut.write_record(cut.record() | {"status": "interrupted"})
    again = train(cut.recipe(), cut.folder, resume=True)
    assert kept_side(again) == kept_side(whole)
    for side in ("cells", "links"):
        paths = [one.model_for(side) / "model.safetensors" for one in (whole, again)]
        assert paths[0].read_bytes() == paths[1].read_bytes(), side


def test_a_lost_second_model_is_kept_again_when_the_run_continues(tiny_world: Path, tmp_path: Path) -> None:
    run = trained(tiny_world, tmp_path / "run", "links")
    (run.checkpoints / "latest.json").write_text(json.dumps({"step": 6}))
    run.write_record(run.record() | {"status": "interrupted"})
    shutil.rmtree(run.side_model("cells"))
    again = train(run.recipe(), run.folder, resume=True)
    assert load_model(again.side_model("cells"))[1]["meta"]["step"] == kept_side(again)[1].step == 8
