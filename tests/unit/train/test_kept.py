"""Which step's model a run kept, finished or not, and what it was chosen by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.kept import kept_step, reached_step

LINKS, MACRO = "validation/links/selection", "validation/links/macro_auroc"


def run(folder: Path, record: dict[str, Any] | None, *records: dict[str, Any]) -> RunFolder:
    if record is not None:
        (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return RunFolder(folder)


def validation(step: int, best: int, value: float, macro: float | None = 0.7) -> dict[str, Any]:
    return {"kind": "validation", "step": step, "best_step": best, LINKS: value, MACRO: macro}


FINISHED = {"status": "finished", "steps": 300, "best_step": 50, "best_value": 0.71, "criterion": LINKS}


@pytest.mark.parametrize(
    ("macro", "said"),
    [
        (0.71, "step 50 of 300 (macro AUROC of validation links 0.710)"),
        (None, "step 50 of 300 (pooled AUROC of validation links 0.710)"),
    ],
)
def test_a_finished_run_names_its_step_and_what_chose_it(macro: float | None, said: str, tmp_path: Path) -> None:
    found = run(tmp_path, FINISHED, validation(50, 50, 0.71, macro), validation(300, 50, 0.6, macro))
    assert str(kept_step(found)) == said


def test_without_records_the_record_is_enough(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(FINISHED))
    assert str(kept_step(RunFolder(tmp_path))) == "step 50 of 300 (AUROC of validation links 0.710)"


def test_cells_choose_where_links_do_not(tmp_path: Path) -> None:
    record = {**FINISHED, "best_value": -0.9, "criterion": "validation/cells/selection"}
    assert str(kept_step(run(tmp_path, record))) == "step 50 of 300 (minus the loss on validation cells -0.900)"


def test_before_the_end_the_last_validation_names_it(tmp_path: Path) -> None:
    train = {"kind": "train", "step": 97}
    found = run(tmp_path, {"status": "running"}, validation(40, 40, 0.8), validation(80, 40, 0.75), train)
    assert str(kept_step(found)) == "step 40 of 97 (macro AUROC of validation links 0.800)"
    assert reached_step(found) == 97


def test_a_model_that_nothing_chose_has_no_value(tmp_path: Path) -> None:
    assert str(kept_step(run(tmp_path, {**FINISHED, "best_value": None}))) == "step 50 of 300"


def test_nothing_is_kept_before_the_first_validation(tmp_path: Path) -> None:
    assert kept_step(run(tmp_path, None)) is None
    assert kept_step(run(tmp_path, {"status": "running"}, {"kind": "train", "step": 3})) is None
    assert reached_step(RunFolder(tmp_path)) == 3
