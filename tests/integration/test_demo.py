"""``make demo`` in small: every run, table and file of it, and the report at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.demo import run_demo
from tests.unit.report.html_checks import Parsed, external_resources

SMALL = ["train.max_steps=4", "train.validate_every=2", "evaluate.controls=random,target_degree"]


@pytest.mark.slow
def test_demo_ends_with_its_report_and_prints_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = run_demo(tmp_path / "demo", overrides=SMALL, basis="pca")
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {paths.report}"
    html = paths.report.read_text(encoding="utf-8")
    assert external_resources(html) == []
    parsed = Parsed(html)
    assert parsed.unbalanced == []
    # Both tables of the demo are in it, each with its verdict: random edges, and unseen TFs over five folds.
    assert "On links hidden at random" in parsed.text
    assert "On TFs none of whose links were trained on" in parsed.text
    assert "Not here" not in parsed.text
    for folder in (*paths.tables, paths.random_run):
        assert (folder / "links.json").is_file()
