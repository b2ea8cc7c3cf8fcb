"""Two processes that share every step end where one process ends, for every schedule and every encoder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train
from tests.faults.child import Child, Outcome
from tests.integration.encoder_settings import SETTINGS
from tests.integration.group_child import CASES, STEPS, run_all, run_case
from tests.worlds import make_batched_world, tiny_recipe, write_recipe


def places(size: int = 2) -> list[dict[str, str]]:
    """The variables that torchrun sets, for each process of a group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{name: str(value) for name, value in {**place, "RANK": n, "LOCAL_RANK": n}.items()} for n in range(size)]


def forked(work: Callable[[], int], folder: Path) -> list[Outcome]:
    """``work`` in a group of forked processes, which need not import everything again."""

    def placed(place: dict[str, str]) -> int:
        os.environ.update(place)
        return work()

    children = [Child(partial(placed, place), folder) for place in places()]
    return [child.outcome(300) for child in children]


def start(arguments: list[str]) -> list[subprocess.Popen[str]]:
    """A group of real programs."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, *arguments]
    return [subprocess.Popen(command, env=os.environ | place, **pipes) for place in places()]  # type: ignore[call-overload]


def finish(processes: list[subprocess.Popen[str]], *, timeout: float = 300) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=timeout)
        found.append((process.returncode, out, err))
    return found


@pytest.fixture(scope="module")
def world(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of two batches."""
    return make_batched_world(tiny_world, tmp_path_factory.mktemp("several") / "prep")


@pytest.fixture(scope="module")
def shared(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case under two processes, which are started once."""
    folder = tmp_path_factory.mktemp("shared")
    for outcome in forked(partial(run_all, folder, world), folder):
        assert outcome.code == 0, outcome.err
    return folder


def losses(folder: Path) -> list[dict[str, float]]:
    """Losses, gradients' norms and metrics of every record; times left out."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "kind" and "_per_second" not in key}
        for line in lines
    ]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one(name: str, shared: Path, world: Path, tmp_path: Path) -> None:
    folder = shared / str(list(CASES).index(name))
    alone = run_case(CASES[name], world, tmp_path / "alone")
    one, two = losses(tmp_path / "alone"), losses(folder)
    assert len(one) == STEPS
    for mine, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5, abs=1e-5)
    first, second = (load_file(folder / f"{rank}.safetensors") for rank in (0, 1))
    for key, value in alone.model.state_dict().items():
        assert torch.equal(first[key], second[key]), key  # both processes hold the same model
        found = first[key]
        if key.endswith("qkv.bias"):
            # Attention does not depend on the keys' bias, so its gradient is rounding alone, which Adam magnifies.
            found, value = (torch.cat([bias.chunk(3)[0], bias.chunk(3)[2]]) for bias in (found, value))
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-5, msg=key)


def test_every_encoder_is_among_the_cases() -> None:
    assert set(SETTINGS) | {"transformer"} == set(CELL_ENCODERS.names())


def _children(recipe: Path, out: Path, *more: str) -> list[subprocess.Popen[str]]:
    return start(["-m", "grn_cotrain.cli", "train", str(recipe), "--out", str(out), *more])


def _record(run: Path) -> dict[str, Any]:
    return RunFolder.open(run).record()


@pytest.mark.slow
def test_a_whole_run_is_stopped_and_resumed_and_written_once(tiny_world: Path, tmp_path: Path) -> None:
    """SIGTERM to one process stops both after a step; resumed, they end where one process does."""
    options = {"accumulate": 2, "max_steps": 30, "validate_every": 15, "checkpoint_every": 30}
    recipe = tiny_recipe(tiny_world, train={**options, "schedule": {"name": "mlm_only"}})
    file, run = write_recipe(recipe, tmp_path / "recipe.yaml"), tmp_path / "two"
    processes = _children(file, run)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (run / "metrics.jsonl").is_file():
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGTERM)
    (code, out, err), (peer_code, peer_out, peer_err) = finish(processes)
    if code == 0:  # it was too fast
        pytest.fail("the run ended before the signal")
    assert (code, peer_code) == (143, 143), (err, peer_err)
    assert "stopped by SIGTERM after step" in out
    assert "Traceback" not in err + peer_err
    assert not peer_out + peer_err
    assert _record(run)["status"] == "interrupted"

    results = finish(_children(file, run, "--resume"))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "model kept" in results[0][1]
    assert results[1][1:] == ("", "")
    alone = train(recipe, tmp_path / "one")
    one, two = losses(alone.folder), losses(run)
    assert [row["step"] for row in one] == [row["step"] for row in two]
    for mine, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-4)
    assert _record(run)["probe"] == pytest.approx(alone.record()["probe"], abs=1e-4)


def test_bad_input_and_a_loss_that_fails_are_one_line(tiny_world: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny_world, train={"learning_rate": 1e30, "clip_norm": 1e30, "accumulate": 2})
    file = write_recipe(recipe, tmp_path / "recipe.yaml")
    for more, text in (
        (("--set", "train.nonsense=3"), "nonsense"),
        ((), "lower train.learning_rate"),
    ):
        work = partial(run_app, app, ["train", str(file), "--out", str(tmp_path / "run"), *more])
        results = forked(work, tmp_path)
        assert [outcome.code for outcome in results] == [2, 2], results
        lines = [line for outcome in results for line in outcome.err.splitlines() if line]
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert text in lines[0]
