"""Every shipped recipe takes three steps: on a small simulated world, with its own model, objectives and settings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from data_prep.simulate import simulate
from data_prep.splits import prepare_splits
from grn_cotrain.recipe import load_recipe
from grn_cotrain.train.run import train

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "experiments" / "configs").glob("*.yaml"))
SPLITS = {"unseen-tf": "unseen-tf-visible-seed0-fold0", "unseen-target": "unseen-target-seed0"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "prep"
    simulate(folder, seed=0, num_genes=120, num_tfs=20, num_cells=200)
    for kind in ("random", *SPLITS):
        prepare_splits(folder, kind, seed=0)
    return folder


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_three_steps(path: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRN_COTRAIN_DATA", str(tmp_path / "absent"))
    split = load_recipe(path).data.split
    small = next((name for kind, name in SPLITS.items() if split.startswith(kind)), "random-seed0")
    recipe = load_recipe(
        path,
        [
            "prep=null",
            f"data.prep={world}",
            f"data.split={small}",
            "train.max_steps=3",
            "train.warmup_steps=1",
            "train.tokens_per_batch=2048",
            "train.validate_every=3",
            "train.checkpoint_every=3",
        ],
    )
    run = train(recipe, tmp_path / "run")
    record = run.record()
    assert run.is_finished
    assert record["steps"] == 3
    assert record["best_value"] is None or math.isfinite(record["best_value"])
    assert (run.model / "model.safetensors").is_file()
