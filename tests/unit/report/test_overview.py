"""The first section says how far a run is before anything else; the data section counts what was merged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import yaml

from grn_cotrain.files import read_json, write_json
from grn_cotrain.report.inputs import ReportInputs, open_runs
from grn_cotrain.report.page import Page, render_page
from grn_cotrain.report.sections import data, overview
from tests.unit.report.html_checks import Parsed


def stopped_at_six(run: Path, status: str) -> None:
    record = json.loads((run / "run.json").read_text())
    for key in ("steps", "best_step", "best_value", "criterion"):
        record.pop(key)
    (run / "run.json").write_text(json.dumps({**record, "status": status}))
    lines = [line for line in (run / "metrics.jsonl").read_text().splitlines() if json.loads(line)["step"] <= 6]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def first_words(runs: list[Path]) -> str:
    """The text of the overview, without its heading."""
    html = render_page(Page("t", "s", [overview.section(ReportInputs(open_runs(runs)))], version="1"))
    found = re.search(r'<section id="overview".*?</section>', html, flags=re.DOTALL)
    assert found is not None
    return Parsed(found[0]).text.removeprefix("Overview").lstrip()


def test_an_unfinished_run_says_so_before_anything_else(tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    stopped_at_six(run, "running")
    said = first_words([run])
    assert said.startswith(
        "The run is not finished: it has reached step 6 of at most 8, and it was interrupted, or is still running."
    )
    assert "Results are those of the model kept so far, of step 4; they may change." in said
    assert f"grn-cotrain train RECIPE.yaml --out {run.name} --resume" in said
    assert "step 4 of 6 (" in said
    assert first_words([tiny_run, run]).startswith("Run B is not finished: it has reached step 6 of at most 8")
    shutil.rmtree(run / "model")
    assert "It has kept no model yet, so there are no results." in first_words([run])
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "failed"}))
    assert "it has reached step 6 of at most 8, and it failed." in first_words([run])


def test_merged_rows_of_the_network_are_counted(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> None:
    prep = Path(shutil.copytree(tiny_world, tmp_path / "prep"))
    stored = read_json(prep / "graph.json")
    stored["report"] |= {"duplicates": 530, "num_given": stored["report"]["num_edges"] + 530}
    write_json(prep / "graph.json", stored, checked=True)
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["prep"] = str(prep)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    html = render_page(Page("t", "s", [data.section(ReportInputs(open_runs([run])))], version="1"))
    assert re.search(r"Repeated edges merged\s*530\b", Parsed(html).text)
