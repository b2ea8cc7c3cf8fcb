"""One process at a time trains in a run folder, and a run that did not end says so."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TrainConfig
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.launchers import Launch, PeerFailed, one_voice, refuse_several_processes
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

# -- the lock ----------------------------------------------------------------------------------------------------------


class _Waiting(LogReporter):
    """Trains one step, says so, and waits."""

    def __init__(self, started: object, go_on: object) -> None:
        self.started, self.go_on = started, go_on

    def step(self, step: int, record: dict) -> None:
        self.started.set()  # type: ignore[attr-defined]
        assert self.go_on.wait(60)  # type: ignore[attr-defined]


def _train_and_wait(world: Path, out: Path, started: object, go_on: object) -> None:
    train(tiny_recipe(world, train={"max_steps": 2}), out, reporter=_Waiting(started, go_on))


def _train_at(world: Path, out: Path, barrier: object, results: object) -> None:
    barrier.wait(60)  # type: ignore[attr-defined]
    try:
        train(tiny_recipe(world, train={"max_steps": 2}), out)
        results.put("trained")  # type: ignore[attr-defined]
    except UserError as error:
        results.put(str(error))  # type: ignore[attr-defined]


def test_a_second_training_in_one_folder_is_refused_with_the_name_of_the_first(
    tiny_world: Path, tmp_path: Path
) -> None:
    context, out = multiprocessing.get_context("fork"), tmp_path / "run"
    started, go_on = context.Event(), context.Event()
    first = context.Process(target=_train_and_wait, args=(tiny_world, out, started, go_on))
    first.start()
    assert started.wait(120)
    recipe = tiny_recipe(tiny_world, train={"max_steps": 2})
    for resume in (False, True):
        with pytest.raises(UserError, match=rf"run '{out}': process {first.pid} on host '.+' \(train, since"):
            train(recipe, out, resume=resume)
    assert f"process {first.pid}" in (RunFolder(out).unfinished() or "")
    with pytest.raises(UserError, match=f"process {first.pid}"):
        RunFolder(out).require_free("evaluate")
    first.kill()  # a dead process holds nothing
    first.join()
    assert "training was interrupted" in (RunFolder(out).unfinished() or "")
    assert train(recipe, out, resume=True).record()["status"] == "finished"


def test_two_trainings_that_start_at_one_moment_are_one(tiny_world: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    children = [
        context.Process(target=_train_at, args=(tiny_world, tmp_path / "run", barrier, results)) for _ in range(2)
    ]
    for child in children:
        child.start()
    told = sorted(results.get(timeout=120) for _ in children)
    for child in children:
        child.join()
    assert told[1] == "trained"
    assert "is writing into it" in told[0] or "holds a run already" in told[0]
    assert not list((tmp_path / "run").glob(".*"))


def test_what_a_killed_first_write_left_is_no_obstacle(tiny_world: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny_world, train={"max_steps": 2})
    expected = train(recipe, tmp_path / "whole").record()["weights_sha256"]
    for index, resume in enumerate((False, True)):
        out = tmp_path / f"{index}"
        (out / ".model.a1b2c3d4.part").mkdir(parents=True)
        (out / ".recipe.yaml.a1b2c3d4.part.yaml").write_text("name: ti")
        (out / ".lock").touch()
        assert train(recipe, out, resume=resume).record()["weights_sha256"] == expected
        assert not list(out.rglob(".*"))
    out = tmp_path / "recipe-alone"
    out.mkdir()
    RunFolder(out).write_recipe(recipe)
    with pytest.raises(UserError, match="add resume=True"):
        train(recipe, out)
    assert train(recipe, out, resume=True).record()["weights_sha256"] == expected
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        train(recipe, tmp_path / "foreign")
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "environment",
    [
        {"OMPI_COMM_WORLD_SIZE": "4"},
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"},
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"},
    ],
)
def test_one_of_several_processes_of_a_launcher_is_refused(
    environment: dict[str, str], tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"=\d: \w+ starts \d processes.*run `grn-cotrain train` once, without"):
        train(tiny_recipe(tiny_world), tmp_path / "run")
    assert not (tmp_path / "run").exists()


TORCHRUN = {
    "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1",
}  # fmt: skip


def test_torchrun_says_who_and_how_many() -> None:
    for devices in (None, 4):
        launch = Launch.of(TORCHRUN, TrainConfig(devices=devices))
        assert (launch.rank, launch.size, launch.local_size, launch.nodes) == (3, 4, 2, 2)
    assert Launch.of({}, TrainConfig(devices=1, strategy="ddp")) == Launch(0, 1, 1)


@pytest.mark.parametrize(
    ("environment", "devices", "text"),
    [
        (
            {"WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            None,
            "WORLD_SIZE=2: RANK, LOCAL_WORLD_SIZE, MASTER_ADDR",
        ),
        ({**TORCHRUN, "RANK": "4"}, None, "RANK=4.*do not fit together; start torchrun --nproc-per-node 4 -m"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "3"}, None, "LOCAL_WORLD_SIZE=3.*do not fit together"),
        (TORCHRUN, 2, "train.devices: 2, but torchrun started 4 processes; start torchrun --nproc-per-node 2 -m"),
        ({}, 2, "train.devices: 2, but this is one process; start torchrun --nproc-per-node 2 -m grn_cotrain train"),
    ],
)
def test_a_launch_that_does_not_fit_is_one_line(environment: dict[str, str], devices: int | None, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        Launch.of(environment, TrainConfig(devices=devices))
    assert "\n" not in str(caught.value)


def test_one_voice_reports_what_is_wrong_in_every_process() -> None:
    with pytest.raises(UserError, match="bad recipe"), one_voice({}):
        raise UserError("bad recipe")
    with pytest.raises(UserError, match="bad recipe"), one_voice({"WORLD_SIZE": "2", "RANK": "0"}):
        raise UserError("bad recipe")
    with pytest.raises(PeerFailed) as caught, one_voice({"WORLD_SIZE": "2", "RANK": "1"}):
        raise UserError("bad recipe")
    assert (caught.value.code, caught.value.text) == (2, "bad recipe")


def test_fine_tuning_is_for_one_process() -> None:
    with pytest.raises(UserError, match=r"WORLD_SIZE=4: torchrun starts 4 .* run `grn-cotrain finetune` once, without"):
        refuse_several_processes(TORCHRUN, command="grn-cotrain finetune")


@pytest.mark.parametrize("environment", [{"WORLD_SIZE": "1"}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, {}])
def test_one_process_is_one_process(environment: dict[str, str]) -> None:
    """A batch script of SLURM runs once, whatever the number of tasks of the job."""
    refuse_several_processes(environment)


# -- runs that did not end ---------------------------------------------------------------------------------------------


def test_a_failure_is_recorded_and_keeps_the_last_checkpoint(tiny_world: Path, tmp_path: Path) -> None:
    class Breaks(LogReporter):
        def step(self, step: int, record: dict) -> None:
            if step == 5:
                raise UserError("step 5: loss masked_value is nan")

    recipe = tiny_recipe(tiny_world)
    with pytest.raises(UserError, match="step 5"):
        train(recipe, tmp_path / "run", reporter=Breaks())
    run = RunFolder.open(tmp_path / "run")
    assert run.record()["status"] == "failed"
    assert run.unfinished() == (
        "training is not finished: step 4 of 8; training failed (step 5: loss masked_value is nan); finish it with:"
        f" grn-cotrain train {run.recipe_file} --out {run.folder} --resume"
    )
    whole = train(recipe, tmp_path / "whole").record()["weights_sha256"]
    assert train(recipe, run.folder, resume=True).record()["weights_sha256"] == whole
    assert run.unfinished() is None


def test_resuming_on_other_data_is_refused(tiny_world: Path, tmp_path: Path) -> None:
    from data_prep.simulate import simulate
    from data_prep.splits import prepare_splits

    class Stops(LogReporter):
        def step(self, step: int, record: dict) -> None:
            if step == 3:
                raise KeyboardInterrupt

    prep = Path(shutil.copytree(tiny_world, tmp_path / "prep"))
    recipe = tiny_recipe(prep)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", reporter=Stops())
    shutil.rmtree(prep)
    simulate(prep, num_genes=80, num_tfs=16, num_cells=150)
    prepare_splits(prep, "unseen-target", seed=0)
    with pytest.raises(UserError, match="other genes, cells or edges now than when training began"):
        train(recipe, tmp_path / "run", resume=True)
