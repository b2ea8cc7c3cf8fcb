"""Ctrl-C and SIGTERM: a checkpoint is saved, the way on is printed, and the resumed run has the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.files import atomic_folder
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train
from grn_cotrain.train.stopping import TrainingStopped, stop_at_next_step, stop_cleanly
from tests.worlds import tiny_recipe, write_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recipe(tiny_world: Path) -> Recipe:
    """Long enough to be stopped, with neither validation nor checkpoint where the signal comes."""
    return tiny_recipe(tiny_world, train={"max_steps": 150, "validate_every": 150, "checkpoint_every": 150})


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the weights of the run that nobody stopped."""
    return str(train(recipe, tmp_path_factory.mktemp("whole") / "run").record()["weights_sha256"])


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_saves_a_checkpoint_and_the_printed_command_finishes_the_run(
    number: signal.Signals, name: str, recipe: Recipe, whole: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    file = write_recipe(recipe, tmp_path / "recipe.yaml")
    command = [sys.executable, "-m", "grn_cotrain.cli", "train", str(file), "--out", str(out)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "metrics.jsonl").is_file() or not (out / "metrics.jsonl").read_text().count("\n"):
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    child.send_signal(number)
    told, error = child.communicate(timeout=120)
    assert child.returncode == 128 + number
    assert "Traceback" not in error
    run = RunFolder.open(out)
    (checkpoint,) = run.checkpoints.glob("step-*")
    step = int(checkpoint.name[5:])
    assert 0 < step < 150
    expected = f"stopped by {name} after step {step} of 150, and a checkpoint was saved; continue with: "
    assert expected + run.how_to_resume() in told
    assert f"{name}: training stops after this step" in error
    assert run.record()["status"] == "interrupted"
    assert not list(out.rglob(".*")), "neither lock nor temporary files are left"

    line = f"run '{out}': training is not finished: step {step} of 150; training was interrupted; finish it with"
    for words in (["report", str(out), "--no-card", "--basis", "pca"], ["evaluate", "cells", str(out)]):
        capfd.readouterr()
        run_app(app, words)
        assert capfd.readouterr().out.startswith(line), words

    program, *words = run.how_to_resume().split()
    assert program == "grn-cotrain"
    assert run_app(app, words) == 0
    assert run.record()["weights_sha256"] == whole
    assert run.record()["resumed"] is True
    assert run.unfinished() is None


def test_a_second_signal_stops_at_once_and_handlers_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stop_at_next_step() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        assert stop.by == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert {number: signal.getsignal(number) for number in before} == before
    assert "training stops after this step; a second one stops it at once" in capfd.readouterr().err


def test_a_program_that_handles_signals_itself_keeps_its_handlers() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stop_at_next_step() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        assert stop.number is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_no_handler_is_set_outside_of_the_main_thread() -> None:
    found: list[object] = []

    def look() -> None:
        with stop_at_next_step():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


def test_what_is_written_whole_leaves_nothing_when_a_signal_comes(tmp_path: Path) -> None:
    """So fine-tuning ends, which has no checkpoints."""

    def work() -> None:
        with stop_cleanly("nothing was written"), atomic_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped, match="stopped by SIGTERM: nothing was written") as caught:
        work()
    assert caught.value.exit_code == 143
    assert list(tmp_path.iterdir()) == []
