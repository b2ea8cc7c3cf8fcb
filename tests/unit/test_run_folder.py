"""A run's files belong together, its data are found from anywhere, and one process at a time writes.

Dimension letters: E edges.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from grn_cotrain import run_files
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.export import export_genes
from grn_cotrain.files import sha256_file
from grn_cotrain.manifest import MODEL_MANIFEST, RUN_MANIFEST, Manifest
from grn_cotrain.model_io import load_model, load_network, save_network
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    """Warnings are logged once a process."""
    run_files._told.clear()


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def other_run(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under another seed. Read only."""
    return train(tiny_recipe(tiny_world, seed=1), tmp_path_factory.mktemp("other") / "run").folder


def evaluated(run: Path, **options: object) -> LinkTable:
    return evaluate_run(run, controls="none", bootstrap=0, **options)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_recipe(run: Path, **changes: object) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    for key, value in changes.items():
        block, _, name = key.partition("__")
        if name:
            recipe[block][name] = value
        else:
            recipe[block] = value
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))


# -- the manifest ------------------------------------------------------------------------------------------------------


def test_a_finished_run_lists_every_file_and_names_itself(run: Path) -> None:
    manifest, model = Manifest.read(run / RUN_MANIFEST), Manifest.read(run / "model" / MODEL_MANIFEST)
    assert set(manifest.files) == {
        *("recipe.yaml", "run.json", "metrics.csv", "metrics.jsonl"),
        f"model/{MODEL_MANIFEST}",
    }
    assert {*model.files, MODEL_MANIFEST} == {path.name for path in (run / "model").iterdir()}
    record = json.loads((run / "run.json").read_text())
    assert manifest.facts["run_id"] == model.facts["run_id"] == record["run_id"]
    assert manifest.facts["recipe_hash"] == model.facts["recipe_hash"] == record["recipe_hash"]
    assert manifest.facts["split_hash"] == model.facts["split_hash"]
    assert manifest.facts["vocab_hash"] == model.facts["vocab_hash"]
    assert manifest.facts["finished"] is True
    assert not [path for path in run.rglob("*") if path.name.startswith(".")], "locks and temporary files are gone"


#: What is done to a finished run, and what the one line names.
TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "seed": (lambda r: edit_recipe(r, seed=7), "recipe.yaml differs from the manifest"),
    "split": (lambda r: edit_recipe(r, data__split="random-seed0"), "recipe.yaml differs from the manifest"),
    "run.json": (lambda r: edit_json(r / "run.json", cells_hash="of others"), "run.json differs from the manifest"),
    "name": (lambda r: edit_json(r / "run.json", seed=7), "run.json differs from the manifest"),
    "platt.json": (
        lambda r: edit_json(r / "model" / "platt.json", slope=9.0),
        "platt.json': damaged (checksum differs",
    ),
    "config.json": (lambda r: edit_json(r / "model" / "config.json", bidirectional=False), "config.json': damaged"),
    "vocab.json": (lambda r: edit_json(r / "model" / "vocab.json", species="mouse"), "vocab.json"),
    "without run.json": (lambda r: (r / "run.json").unlink(), "run.json': missing"),
    "without vocab.json": (lambda r: (r / "model" / "vocab.json").unlink(), "vocab.json"),
    "without graph": (lambda r: (r / "model" / "graph.safetensors").unlink(), "graph.safetensors': missing"),
    "without model manifest": (lambda r: (r / "model" / MODEL_MANIFEST).unlink(), f"{MODEL_MANIFEST}': missing"),
    "manifest": (lambda r: edit_json(r / RUN_MANIFEST, facts={}), "its content does not have its checksum"),
    "head of another": (lambda r: (r / "classes.json").write_text("{}"), "classes.json is not in the manifest"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_file_that_was_changed_is_named_in_one_line(case: str, run: Path) -> None:
    change, message = TAMPERED[case]
    change(run)
    with pytest.raises(UserError) as caught:
        evaluated(run)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_model_of_another_run_is_refused(run: Path, other_run: Path) -> None:
    mine = json.loads((run / "run.json").read_text())["run_id"]
    other = json.loads((other_run / "run.json").read_text())["run_id"]
    shutil.rmtree(run / "model")
    shutil.copytree(other_run / "model", run / "model")
    with pytest.raises(UserError, match=rf"the model is of run {other}, this is run {mine}"):
        evaluated(run)
    with pytest.raises(UserError, match="the model is of run"):
        load_network(run)
    # In a run that is not finished the model changes, and is compared by the run that it names.
    RunFolder(run).begin(Manifest.read(run / RUN_MANIFEST).facts)
    with pytest.raises(UserError, match=r"model/ does not belong to it \(the model is of run"):
        RunFolder.open(run)


def test_platt_scaling_of_another_hand_is_refused(run: Path, tiny_world: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    model, config = load_model(run / "model")
    save_network(tmp_path / "copy" / "model", model)
    shutil.copy(run / "model" / "platt.json", tmp_path / "copy" / "model" / "platt.json")
    with pytest.raises(UserError, match=r"platt\.json': damaged .*is not in the manifest"):
        load_model(tmp_path / "copy" / "model")
    assert config["meta"]["run_id"] == model.meta["run_id"]


def repair(run: Path, name: str) -> None:
    """What somebody does who repairs every checksum on the way up."""
    edit_json(
        run / "model" / "config.json",
        sha256={
            **json.loads((run / "model" / "config.json").read_text())["sha256"],
            name: sha256_file(run / "model" / name),
        },
    )
    path = run / "model" / MODEL_MANIFEST
    manifest = Manifest.read(path)
    manifest.with_files(run / "model", list(manifest.files)).write(path)
    RunFolder(run).seal()


def test_messages_that_hold_test_edges_are_found_whatever_the_checksums_say(run: Path) -> None:
    data = RunFolder.open(run).load_data()
    path = run / "model" / "graph.safetensors"
    arrays = load_file(path)
    leaked_2E = data.split.test_2E[:, :3]
    more = {
        "message_2E": np.ascontiguousarray(np.concatenate([arrays["message_2E"], leaked_2E], axis=1)),
        "sign_E": np.ascontiguousarray(np.concatenate([arrays["sign_E"], np.zeros(3, arrays["sign_E"].dtype)])),
        "weight_E": np.ascontiguousarray(np.concatenate([arrays["weight_E"], np.ones(3, np.float32)])),
    }
    save_file({**arrays, **more}, path)
    with pytest.raises(UserError, match=r"graph\.safetensors': damaged"):
        evaluated(run)
    repair(run, path.name)
    symbols = data.vocab.symbols
    pair = " -> ".join(symbols[int(gene)] for gene in leaked_2E[:, 0])
    expected = rf"3 more edges, 3 of them validation or test positives, 0 fewer \(.*{pair}"
    with pytest.raises(UserError, match=expected) as caught:
        evaluated(run)
    assert "\n" not in str(caught.value)
    # Other edges than the recipe's are found as well, and other signs.
    save_file({**arrays, "message_2E": arrays["message_2E"][::-1].copy()}, path)
    repair(run, path.name)
    with pytest.raises(UserError, match="its messages are not those of the run"):
        evaluated(run)
    save_file({**arrays, "sign_E": -arrays["sign_E"]}, path)
    repair(run, path.name)
    with pytest.raises(UserError, match="its signs are not those of the run"):
        evaluated(run)
    save_file({**arrays, "weight_E": np.ascontiguousarray(arrays["weight_E"][::-1])}, path)
    repair(run, path.name)
    with pytest.raises(UserError, match="its edge weights are not those of the run"):
        evaluated(run)
    save_file(arrays, path)
    repair(run, path.name)
    audit = evaluated(run).audits["unseen-target-seed0"]
    assert "no leak" in audit
    assert len(Manifest.read(run / RUN_MANIFEST).files) > 5


def test_a_recipe_of_another_split_is_found_whatever_the_checksums_say(run: Path) -> None:
    edit_recipe(run, data__split="random-seed0")
    RunFolder(run).seal()
    with pytest.raises(UserError, match="other edges in its split now"):
        evaluated(run)


def test_tables_name_the_model_that_they_were_made_from(run: Path) -> None:
    evaluated(run)
    weights = json.loads((run / "model" / "config.json").read_text())["sha256"]["model.safetensors"]
    manifest = Manifest.read(run / RUN_MANIFEST)
    names = (
        "links.json",
        "links.parquet",
        "links_per_tf.parquet",
        "links_curves.parquet",
        "cells.parquet",
        "cells.json",
    )
    assert {manifest.files[name]["model"] for name in names} == {weights}
    RunFolder.open(run)  # run.json, which the evaluation changed, is listed as it is now
    LinkTable.read(run)
    rows = {**manifest.files, "links.json": {**manifest.files["links.json"], "model": "f" * 64}}
    replace(manifest, files=rows).write(run / RUN_MANIFEST)
    with pytest.raises(UserError, match=r"links\.json was made from another model \(ffffffffffff"):
        LinkTable.read(run)


def test_a_changed_table_is_refused_by_its_readers_and_written_again_by_evaluate(
    run: Path, other_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluated(run)
    edit_json(run / "links.json", warnings=[])
    with pytest.raises(UserError, match=r"links\.json differs from the manifest: .*; evaluate the run again"):
        LinkTable.read(run)
    with caplog.at_level(logging.WARNING):
        RunFolder.open(run)
    assert "links.json differs from the manifest" in caplog.text
    evaluated(run)
    LinkTable.read(run)
    (run / "cells_by_hand.json").write_text("{}")
    with pytest.raises(UserError, match="is not in the manifest"):
        RunFolder.open(run).check_tables(["cells_by_hand.json"])


def test_a_run_of_an_earlier_version_opens_with_a_note(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / RUN_MANIFEST).unlink()
    (run / "model" / MODEL_MANIFEST).unlink()
    for path, key in ((run / "run.json", "run_id"), (run / "model" / "config.json", "manifest")):
        content = json.loads(path.read_text())
        del content[key]
        path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        evaluated(run)
        evaluated(run)
    assert caplog.text.count("was made before runs had a manifest") == 1
    LinkTable.read(run)


def test_a_run_whose_manifest_is_gone_opens_with_a_warning_and_still_knows_its_model(
    run: Path, other_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / RUN_MANIFEST).unlink()
    with caplog.at_level(logging.WARNING):
        RunFolder.open(run)
    assert f"{RUN_MANIFEST} is missing: whether its files belong together cannot be checked" in caplog.text
    shutil.rmtree(run / "model")
    shutil.copytree(other_run / "model", run / "model")
    with pytest.raises(UserError, match=r"model/ does not belong to it \(the model is of run"):
        RunFolder.open(run)


def test_a_new_place_of_the_data_in_the_recipe_is_no_other_run(run: Path, tiny_world: Path, tmp_path: Path) -> None:
    new = shutil.copytree(tiny_world, tmp_path / "new")
    edit_recipe(run, data__prep=str(new))
    assert RunFolder.open(run).load_data().prep.folder == new
    edit_recipe(run, data__prep=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere' \(the recipe's path, which was changed after training\)"):
        evaluated(run)


def test_a_kill_between_a_file_and_its_row_leaves_the_run_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(run)
    record = folder.record()

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_files, "write_text", killed)  # the manifest is written, run.json is not
        with pytest.raises(KeyboardInterrupt):
            folder.write_record({**record, "cells": {"r2": 1.0}})
    RunFolder.open(run)
    (run / "run.json").write_text(json.dumps({**record, "cells": {"r2": 1.0}}, indent=1) + "\n")
    RunFolder.open(run)  # the file is written, its row is not yet
    folder.write_record({**record, "cells": {"r2": 2.0}})
    RunFolder.open(run)


def test_a_model_folder_alone_is_enough_to_export(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run / "model", tmp_path / "elsewhere" / "model")
    expected = load_network(tiny_run).encode_graph().graph_GD
    for place in (tmp_path / "elsewhere", tmp_path / "elsewhere" / "model"):
        assert load_network(place).encode_graph().graph_GD.equal(expected)


# -- where the data are ------------------------------------------------------------------------------------------------


@pytest.fixture
def moved(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> Path:
    """Run and prepared folder side by side, trained from the folder above by a relative path; then all of it moved."""
    home = tmp_path / "home"
    shutil.copytree(tiny_world, home / "demo" / "prepared")
    before = Path.cwd()
    os.chdir(home)
    try:
        train(tiny_recipe(Path("demo/prepared"), train={"max_steps": 2}), "demo/runs/one")
    finally:
        os.chdir(before)
    return Path(shutil.move(home, tmp_path / "moved")) / "demo" / "runs" / "one"


def test_a_run_finds_its_prepared_folder_from_any_working_folder(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluated(moved, out=tmp_path / "tables").headline_split == "unseen-target-seed0"
    # A run of an earlier version recorded no place: the folders above the run are looked at.
    record = json.loads((moved / "run.json").read_text())
    RunFolder(moved).write_record({key: value for key, value in record.items() if key != "prep"})
    assert RunFolder.open(moved).load_data().prep.folder == moved.parents[1] / "prepared"


def test_a_prepared_folder_that_is_gone_is_named_with_all_places(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new = Path(shutil.move(moved.parents[1] / "prepared", tmp_path / "new"))
    with pytest.raises(UserError) as caught:
        evaluated(moved)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        f"'{moved.parents[1] / 'prepared'}' (as it was from the run folder)",
        f"'{tmp_path / 'home' / 'demo' / 'prepared'}' (where it was in training)",
        f"'{tmp_path / 'demo' / 'prepared'}' (the recipe's path from the working folder)",
        "prep='DIR'",
    ):
        assert part in message, part
    assert evaluated(moved, prep=new, out=tmp_path / "tables").headline_split == "unseen-target-seed0"
    # The run folder alone is enough for these.
    export_genes(moved, format="tsv", out=tmp_path / "g.tsv", say=lambda line: None)
    ModelScorer(moved).score(np.array([[0], [1]]))
