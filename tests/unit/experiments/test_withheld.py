"""The study of withheld probabilities: a calibration for another prevalence is withheld, and its table counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.studies import withheld
from grn_cotrain.data.prep import Prep

SPLIT = "unseen-target-seed0"


def test_a_row_for_each_score_and_factor(tiny_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withheld, "SCORES", "target_degree")
    prep = Prep.open(tiny_world)
    rows = withheld.measure(prep.split(SPLIT), prep)
    assert [(row["score"], row["kind"], row["factor"]) for row in rows] == [
        ("target_degree", "unseen target", factor) for factor in withheld.FACTORS
    ]
    for row in rows:
        assert row["test"]["low"] <= row["test"]["seen"] <= row["test"]["high"]


def test_the_table_counts_decisions_and_test_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withheld, "SCORES", "a")
    checks = [(1, 1), (0, 1), (0, 0), (None, 1)]
    rows = [
        {"split": "random", "score": "a", "factor": 1.0, "validation": None if v is None else {"num_failed": v},
         "test": {"num_failed": t}}
        for v, t in checks
    ]  # fmt: skip
    line = next(line for line in withheld._table(rows) if line[0] == "random" and line[2] == "prevalence x 1")
    assert line[3:] == ["3", "1", "2", "1", "1"]
