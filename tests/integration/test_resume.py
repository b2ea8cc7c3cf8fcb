"""Kill a real process at any step, resume, and end with the same weights, bit for bit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.run import train
from tests.faults.child import run_forked
from tests.worlds import tiny_recipe


class Killer(LogReporter):
    """Kills its process after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, step: int, record: dict) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at(recipe: Recipe, out: Path, step: int) -> None:
    """Train (or resume) in ``out`` until the process kills itself after ``step``."""

    def work() -> int:
        train(recipe, out, resume=True, reporter=Killer(step))
        return 0

    outcome = run_forked(work, out.parent, limit=120)
    assert outcome.code == -signal.SIGKILL, outcome.err


def _lines(run: Path) -> list[dict]:
    skip = ("cells_per_second", "tokens_per_second")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in skip} for record in records]


@pytest.mark.parametrize(
    ("precision", "schedule", "kills"),
    [("fp32", "joint", (1, 5)), ("bf16", "joint", (3,)), ("fp32", "mlm_only", (7,))],
    ids=["fp32", "bf16", "probe"],
)
def test_a_killed_run_resumes_to_the_same_weights(
    tiny_world: Path, tmp_path: Path, precision: str, schedule: str, kills: tuple[int, ...]
) -> None:
    """Step 1 lies before the first checkpoint (every 2 steps), the others between two."""
    recipe = tiny_recipe(
        tiny_world,
        train={
            "precision": precision,
            "accumulate": 2,
            "schedule": {"name": schedule},
            "weighting": {"name": "uncertainty"},
        },
    )
    whole = train(recipe, tmp_path / "whole")
    for step in kills:
        killed_at(recipe, tmp_path / "killed", step)
        assert not (tmp_path / "killed" / "metrics.csv").exists() or step > 1
    resumed = train(recipe, tmp_path / "killed", resume=True)
    assert resumed.record()["resumed"]
    assert resumed.record()["weights_sha256"] == whole.record()["weights_sha256"]
    for name in ("model.safetensors", "graph.safetensors", "vocab.json"):
        assert (resumed.model / name).read_bytes() == (whole.model / name).read_bytes(), name
    assert _lines(resumed.folder) == _lines(whole.folder)


def test_same_seed_same_numbers_and_another_seed_others(tiny_world: Path, tmp_path: Path) -> None:
    hashes = [
        train(tiny_recipe(tiny_world, seed=seed, train={"max_steps": 2}), tmp_path / f"{i}").record()["weights_sha256"]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.fixture
def interrupted(tiny_world: Path, tmp_path: Path) -> tuple[Recipe, Path]:
    """A run that was stopped at its step 4 checkpoint."""
    recipe = tiny_recipe(tiny_world)

    class Stop(LogReporter):
        def step(self, step: int, record: dict) -> None:
            if step == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", reporter=Stop())
    return recipe, tmp_path / "run"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "state.json"])
def test_a_corrupted_checkpoint_is_one_clear_line(interrupted: tuple[Recipe, Path], name: str) -> None:
    recipe, run = interrupted
    latest = sorted((run / "checkpoints").glob("step-*"))[-1] / name
    data = bytearray(latest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    latest.write_bytes(bytes(data) if name != "state.json" else bytes(data[: len(data) // 2]))
    with pytest.raises(UserError, match=r"checkpoint '.*step-0000000\d'.*resume from step-0000000\d") as caught:
        train(recipe, run, resume=True)
    assert "\n" not in str(caught.value)


def test_resuming_needs_the_same_recipe_and_says_when_the_environment_changed(
    interrupted: tuple[Recipe, Path], tiny_world: Path
) -> None:
    recipe, run = interrupted
    with pytest.raises(UserError, match="holds a run already; add resume=True"):
        train(recipe, run)
    with pytest.raises(UserError, match="made by another recipe"):
        train(tiny_recipe(tiny_world, train={"learning_rate": 0.1}), run, resume=True)

    latest = sorted((run / "checkpoints").glob("step-*"))[-1] / "state.json"
    state = json.loads(latest.read_text())
    state["state"]["environment"]["threads"] = 64
    latest.write_text(json.dumps(state))
    notes: list[str] = []

    class Notes(LogReporter):
        def note(self, text: str) -> None:
            notes.append(text)

    train(recipe, run, resume=True, reporter=Notes())
    assert any("another environment (threads was 64, is 1)" in note for note in notes)


def test_a_finished_run_is_left_alone(tiny_world: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny_world, train={"max_steps": 2})
    run = train(recipe, tmp_path / "run")
    before = (run.model / "model.safetensors").stat().st_mtime_ns
    train(recipe, tmp_path / "run", resume=True)
    assert (run.model / "model.safetensors").stat().st_mtime_ns == before


def test_an_infinite_loss_stops_the_run_in_one_line(tiny_world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step \d+: .*(loss|gradient).*lower train.learning_rate"):
        train(tiny_recipe(tiny_world, train={"learning_rate": 1e30, "warmup_steps": 1}), tmp_path / "run")


def test_data_that_do_not_fit_leave_no_run_folder(tiny_world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split 'nothing-like-it'"):
        train(tiny_recipe(tiny_world, data={"split": "nothing-like-it"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
