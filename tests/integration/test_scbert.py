"""scBERT in whole runs: features drawn anew in training, gene2vec rows, and a run that is broken off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from grn_cotrain.model_io import load_network
from grn_cotrain.nn.performer import PerformerBlock
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

SCBERT = {
    "table": {"init": "gene2vec"},
    "cell_encoder": {"name": "scbert", "num_layers": 1, "num_heads": 2, "redraw_every": 3},
    "tokens": {"zeros_per_cell": "all", "num_bins": 5},
}


class _Stop(LogReporter):
    def step(self, step: int, record: dict) -> None:
        if step == 6:
            raise KeyboardInterrupt


def test_a_broken_run_resumes_with_the_same_draws_of_features(tiny_world: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tiny_world, model=SCBERT, objectives={"masked_value": {"loss": "cross_entropy"}, "link_prediction": {}}
    )
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken", reporter=_Stop())
    resumed = train(recipe, tmp_path / "broken", resume=True)
    assert resumed.record()["resumed"]
    assert resumed.record()["weights_sha256"] == whole.record()["weights_sha256"]
    model = load_network(whole.folder)
    block = model.cell_encoder.trunk.blocks[0]
    assert isinstance(block, PerformerBlock)
    calls = int(block.favor.num_calls)
    assert calls > 3  # drawn anew at least once
    again = PerformerBlock(16, 2, 8, 0.0).favor
    again.seed.copy_(block.favor.seed)
    for number in (0, (calls - 1) // 3):
        again._draw(number)
        assert torch.equal(block.favor.projection_MK, again.projection_MK) == (number > 0)
