"""``grn-cotrain compare`` from the command line: one grid, one table, controls once for each split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.compare.grid import GRID_FILE
from grn_cotrain.evaluate import run as evaluation
from tests.faults.child import start_forked


@pytest.mark.usefixtures("tiny_run")  # a run in this process, so that its imports are there before the forks
def test_a_grid_over_two_splits_goes_on_where_it_stopped(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "grid"
    scored: list[str] = []
    whole = evaluation.evaluate_prep
    monkeypatch.setattr(
        evaluation,
        "evaluate_prep",
        lambda prep, **options: (scored.append(options["split"]), whole(prep, **options))[1],
    )
    vary = ["--vary", "data.split=unseen-target-seed0,random-seed0", "--vary", "graph.messages=true,none"]
    arguments = ["compare", str(recipe_file), *vary, "--seeds", "0", "--set", "evaluate.controls=degree_product,random"]
    with monkeypatch.context() as patched:
        patched.setattr("grn_cotrain.compare.processes._start", start_forked)
        assert run_app(app, [*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert scored == ["unseen-target-seed0", "random-seed0"]
    stored = json.loads((out / "compare.json").read_text())
    names = [row["arm"] for row in stored["rows"] if row["kind"] != "control"]
    assert names == [
        f"split={split}, messages={messages}"
        for split in ("unseen-target-seed0", "random-seed0")
        for messages in ("true", "none")
    ]
    assert stored["keys"] == ["data.split", "graph.messages"]
    assert stored["rows"][1]["against_first"]["num_seeds"] == 1
    assert stored["rows"][1]["against_first"]["reason"] == "no: 1 of at least 3 seeds"
    assert stored["rows"][2]["against_first"] is None  # another split
    assert printed.rstrip().rsplit("\n", 1)[1].startswith("next: grn-cotrain report ")
    assert stored["command"].startswith("grn-cotrain compare ")

    # One cell is taken away, as if the grid had been killed in it: that one alone runs again, in a program of its own.
    first = (out / stored["rows"][0]["run"]).parent
    (first / "cell.json").unlink()
    assert run_app(app, [*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("done before") == 3
    again = json.loads((out / "compare.json").read_text())
    assert again["rows"][0]["macro_auroc"] == stored["rows"][0]["macro_auroc"]

    assert run_app(app, [*arguments, "--out", str(out), "--set", "train.max_steps=3"]) == 2
    error = capsys.readouterr().err
    assert "train.max_steps is 2 there and 3 here" in error
    assert error.count("\n") == 1
    assert (out / GRID_FILE).is_file()
