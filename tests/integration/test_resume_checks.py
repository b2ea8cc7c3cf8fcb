"""What a resumed run and a cache find is compared with what was written, before it is used."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.apply import OpenRun
from grn_cotrain.controls.evidence import build_evidence
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.run import evaluate_cells, evaluate_prep
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.records import RunRecords
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe


@pytest.fixture(scope="module")
def stopped(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A recipe and a run of it that was stopped after step 5; the best model is of step 4."""
    recipe = tiny_recipe(tiny_world)
    run = tmp_path_factory.mktemp("stopped") / "run"

    class Stop(LogReporter):
        def step(self, step: int, record: dict) -> None:
            if step == 5:
                raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, run, reporter=Stop())
    return recipe, run


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))


def _flipped(name: str) -> Callable[[Path, Path], None]:
    return lambda run, other: flip(run / "model" / name, -40)


def _of_another(run: Path, other: Path) -> None:
    shutil.rmtree(run / "model")
    shutil.copytree(other / "model", run / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_flipped("model.safetensors"), r"model\.safetensors': damaged"),
        (_flipped("graph.safetensors"), r"graph\.safetensors': damaged"),
        (_flipped("config.json"), r"config\.json': damaged"),
        (_flipped("vocab.json"), r"vocab\.json': damaged"),
        (_of_another, r"model/ belongs to another run \([0-9a-f]+, this is run [0-9a-f]+\); copy the run again"),
    ],
    ids=["weights", "messages", "configuration", "vocabulary", "another run's"],
)
def test_a_best_model_of_another_hand_is_not_kept(
    stopped: tuple[Recipe, Path],
    tiny_world: Path,
    tmp_path: Path,
    change: Callable[[Path, Path], None],
    message: str,
) -> None:
    recipe, run = stopped[0], Path(shutil.copytree(stopped[1], tmp_path / "run"))
    other = train(tiny_recipe(tiny_world, seed=1, train={"max_steps": 2}), tmp_path / "other").folder
    change(run, other)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message) as caught:
        train(recipe, run, resume=True)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_records_that_were_changed_are_warned_of(
    stopped: tuple[Recipe, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = stopped[0]
    for changed in (False, True):
        run = Path(shutil.copytree(stopped[1], tmp_path / f"{changed}"))
        if changed:
            lines = (run / "metrics.jsonl").read_text().splitlines()
            first = json.loads(lines[0])
            first["loss/total"] = 1.0 + (first.get("loss/total") or 0)
            (run / "metrics.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
        caplog.clear()
        train(recipe, run, resume=True)
        said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert [("is not what training wrote up to step 4" in line) for line in said] == ([True] if changed else [])


def test_a_finished_run_tells_of_changed_records(
    tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    flip(run / "metrics.jsonl", 12)
    RunFolder.open(run)
    assert any("metrics.jsonl differs from the manifest" in record.message for record in caplog.records)


def test_what_could_not_be_written_first_is_told(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the table of records fails as well, later."""

    def full(name: str) -> Callable[..., None]:
        def write(*arguments: object, **options: object) -> None:
            raise UserError(f"output '{name}': cannot be written, the disk is full")

        return write

    monkeypatch.setattr(RunRecords, "append", full("metrics.jsonl"))
    monkeypatch.setattr(RunRecords, "write_csv", full("metrics.csv"))
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        train(tiny_recipe(tiny_world), tmp_path / "run")


def test_a_damaged_cache_is_computed_again(
    tiny_run: Path, tiny_world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunFolder(Path(shutil.copytree(tiny_run, tmp_path / "run")))
    prep = Prep.open(shutil.copytree(tiny_world, tmp_path / "prep"))
    opened = OpenRun(run, prep=prep.folder)
    first = evaluate_cells(opened)
    (cached,) = prep.folder.glob("controls/cells-*.json")
    pd.testing.assert_frame_equal(evaluate_cells(opened).drop(columns="seconds"), first.drop(columns="seconds"))
    text = cached.read_text()
    at = text.index('"value": 0.') + len('"value": 0.')
    cached.write_text(text[:at] + str(9 - int(text[at])) + text[at + 1 :])
    caplog.clear()
    pd.testing.assert_frame_equal(evaluate_cells(opened).drop(columns="seconds"), first.drop(columns="seconds"))
    assert any("computed again" in record.message for record in caplog.records)
    assert cached.read_text() != text[:at] + str(9 - int(text[at])) + text[at + 1 :]


def test_damaged_evidence_is_computed_again(tiny_world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prep = Prep.open(tiny_world)
    split = prep.split("random-seed0")
    first = build_evidence(["target_knn"], split, prep.cells, cache=tmp_path).to_arrays()
    (cached,) = tmp_path.glob("evidence-*.safetensors")
    whole = cached.read_bytes()
    flip(cached, -40)
    again = build_evidence(["target_knn"], split, prep.cells, cache=tmp_path).to_arrays()
    assert any("is damaged" in record.message for record in caplog.records)
    assert first.keys() == again.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert cached.read_bytes() == whole


@pytest.mark.parametrize(
    "name", ["links.json", "links.parquet", "links_per_tf.parquet", "links_curves.parquet", "links_replicates.npz"]
)
def test_a_changed_table_outside_a_run_is_refused(tiny_world: Path, tmp_path: Path, name: str) -> None:
    """It is in no manifest, so its own links.json lists the files beside it."""
    evaluate_prep(tiny_world, split="random-seed0", controls="random", out=tmp_path, bootstrap=20)
    table = LinkTable.read(tmp_path)
    assert "random" in set(table.frame["scorer"])
    if name == "links.json":
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace('"num_pairs": ', '"num_pairs": 1', 1))
    elif name.endswith(".npz"):
        np.savez_compressed(tmp_path / name, replicates=np.zeros_like(table.replicates_LB))
    else:
        frame = pd.read_parquet(tmp_path / name)
        frame.iloc[::-1].to_parquet(tmp_path / name, index=False)
    with pytest.raises(UserError, match=r"is not the file that was written|checksum"):
        LinkTable.read(tmp_path)
