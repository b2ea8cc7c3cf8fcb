"""Checkpoints that were damaged, written by older versions, or did not fit on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from grn_cotrain.errors import UserError
from grn_cotrain.train.checkpoint import Checkpoints, TrainState, weights_hash
from tests.unit.test_files import files_of_at_most


class Parts:
    """A model, a weighting and an optimiser, with values of their own."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model, self.weighting = nn.Linear(40, 40), nn.Linear(1, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters())

    def save(self, checkpoints: Checkpoints, step: int) -> None:
        state = TrainState(step=step, stream={"epoch": step}, recipe_hash="r")
        checkpoints.save(state, self.model, self.weighting, self.optimizer)

    def load(self, checkpoints: Checkpoints, step: int) -> TrainState:
        return checkpoints.load(step, self.model, self.weighting, self.optimizer)


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    """Checkpoints of the steps 2 and 4; the weights of step N are those of seed N."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (2, 4):
        Parts(step).save(checkpoints, step)
    return checkpoints


def test_saved_and_loaded(saved: Checkpoints) -> None:
    assert saved.latest() == 4
    parts = Parts(0)
    assert parts.load(saved, 4) == TrainState(step=4, stream={"epoch": 4}, recipe_hash="r")
    assert weights_hash(parts.model) == weights_hash(Parts(4).model)


@pytest.mark.parametrize(
    ("old", "new"), [('"step": 4', '"step": 5'), ('"epoch": 4', '"epoch": 5'), ('"stale": 0', '"stale": 1')]
)
def test_a_changed_state_is_refused_with_the_way_on(saved: Checkpoints, old: str, new: str) -> None:
    path = saved.folder / "step-00000004" / "state.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=r"does not have its own checksum.*to resume from step-00000002") as caught:
        Parts(0).load(saved, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"step": "4"}', '{"step": 99}', '{"step": 2, "checksum": "0"}', "[" * 100_000]
)
def test_a_damaged_pointer_is_said_and_the_newest_checkpoint_taken(
    saved: Checkpoints, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (saved.folder / "latest.json").write_text(content)
    assert saved.latest() == 4
    assert "resuming from the newest checkpoint, step-00000004" in caplog.text
    for path in saved.folder.glob("step-*"):
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(UserError, match="no checkpoint is left: remove the run folder and train again"):
        saved.latest()


def test_checkpoints_of_older_versions_have_no_checksum_and_are_read(
    saved: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved.folder / "step-00000004" / "state.json"
    record = json.loads(path.read_text())
    del record["state_sha256"]
    path.write_text(json.dumps(record))
    (saved.folder / "latest.json").write_text('{"step": 4}')
    assert saved.latest() == 4
    assert Parts(0).load(saved, 4).step == 4
    assert caplog.text == ""


def test_a_full_disk_keeps_the_previous_checkpoint(saved: Checkpoints) -> None:
    for size in (0, 100, 5000):
        with pytest.raises(UserError, match=r"step-00000006.*the disk is full"), files_of_at_most(size):
            Parts(6).save(saved, 6)
        assert sorted(path.name for path in saved.folder.iterdir()) == ["latest.json", "step-00000002", "step-00000004"]
        assert saved.latest() == 4
    parts = Parts(0)
    parts.load(saved, saved.latest() or 0)
    assert weights_hash(parts.model) == weights_hash(Parts(4).model)


def test_weights_of_another_model_are_one_line(saved: Checkpoints) -> None:
    parts = Parts(0)
    parts.model = nn.Linear(3, 3)
    with pytest.raises(UserError, match=r"checkpoint '.*': cannot be read \(it does not fit the model"):
        parts.load(saved, 4)
