"""The table of a comparison, on hand-made link tables whose differences are known."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from grn_cotrain.compare.pairing import seed_differences
from grn_cotrain.compare.table import change, tabulate
from grn_cotrain.compare.vary import parse_seeds
from grn_cotrain.errors import UserError
from tests.unit.compare.tables import cell_result, link_table

CONTROLS = {"random": ("control", 0.5), "kernel_ridge": ("control", 0.65)}


def test_differences_are_paired_by_seed() -> None:
    results = [cell_result("joint", seed, 0.70 + seed / 100) for seed in range(3)]
    results += [cell_result("joint+rewired", seed, 0.69 + seed / 100) for seed in range(3)]
    table = tabulate(results, {"s": link_table(CONTROLS)})
    joint, rewired, control = table.rows
    assert joint["macro_auroc"]["mean"] == pytest.approx(0.71)
    assert joint["macro_auroc"]["by_seed"] == pytest.approx([0.70, 0.71, 0.72])
    assert joint["against_first"] is None
    assert joint["macro_auroc"]["high"] - joint["macro_auroc"]["low"] == pytest.approx(0.04, abs=0.01)
    assert joint["against_control"]["difference"] == pytest.approx(0.06)
    assert joint["against_control"]["beats"]
    # The replicates scatter alike, so a paired difference has no width: an unpaired interval would be .04 wide.
    assert rewired["against_first"]["low"] == pytest.approx(-0.01, abs=1e-6)
    assert rewired["against_first"]["high"] == pytest.approx(-0.01, abs=1e-6)
    assert not rewired["against_first"]["beats"]
    assert control["arm"] == "kernel_ridge"
    assert control["against_first"]["difference"] == pytest.approx(-0.06)
    assert control["cells_r2"]["mean"] == 0.3


def test_two_seeds_and_few_tfs_beat_nothing() -> None:
    two = tabulate([cell_result("joint", seed, 0.9) for seed in range(2)], {"s": link_table(CONTROLS)})
    assert two.rows[0]["against_control"]["beats"] is False
    assert "seeds" in two.rows[0]["against_control"]["reason"]
    few = tabulate([cell_result("joint", 0, 0.9)], {"s": link_table(CONTROLS, num_tfs=5)})
    assert any("support no claim" in warning for warning in few.warnings)


def test_link_only_has_no_r2_and_mlm_only_is_a_probe() -> None:
    results = [
        cell_result("link_only", 0, 0.7, r2=None, scorer="link_only"),
        cell_result("mlm_only", 0, 0.6, scorer="mlm_only probe"),
    ]
    table = tabulate(results, {"s": link_table(CONTROLS)})
    assert table.rows[0]["cells_r2"]["mean"] is None
    assert table.rows[1]["cells_r2"]["mean"] == 0.2
    lines = table.lines()
    assert any(line.startswith("mlm_only (probe)") for line in lines)
    assert " - " in next(line for line in lines if line.startswith("link_only"))


def test_failed_rows_stay(tmp_path: Path) -> None:
    results = [cell_result("joint", 0, 0.7), cell_result("joint", 1, None), cell_result("link_only", 0, None)]
    table = tabulate(results, {"s": link_table(CONTROLS)})
    joint, failed, _ = table.rows
    assert joint["seeds"] == [0]
    assert joint["error"] == "seed 1: killed by signal 9"
    assert failed["seeds"] == []
    assert failed["macro_auroc"]["mean"] is None
    assert "failed: link_only: seed 0: killed by signal 9" in table.lines()
    table.write(tmp_path)
    stored = json.loads((tmp_path / "compare.json").read_text())
    assert [row["arm"] for row in stored["rows"]] == ["joint", "link_only", "kernel_ridge"]
    frame = pd.read_parquet(tmp_path / "compare.parquet")
    assert set(frame["arm"]) == {"joint", "kernel_ridge"}
    assert len(frame[frame["arm"] == "joint"]) == 6


def test_arms_of_another_split_are_not_paired() -> None:
    results = [cell_result("a", 0, 0.7), cell_result("b", 0, 0.9, split="t")]
    table = tabulate(results, {"s": link_table(CONTROLS), "t": link_table(CONTROLS, key="other")})
    assert table.rows[1]["against_first"] is None
    assert "another split than 'a'" in table.notes[0]
    assert [row["arm"] for row in table.rows] == ["a", "b", "kernel_ridge", "kernel_ridge"]
    assert table.rows[3]["against_first"] is None


def test_explained_variance_is_paired_over_seeds() -> None:
    results = [cell_result("a", seed, 0.7, r2=0.2 + seed / 10) for seed in range(3)]
    results += [cell_result("b", seed, 0.7, r2=0.3 + seed / 10) for seed in range(3)]
    found = tabulate(results, {"s": link_table(CONTROLS)}).rows[1]["cells_r2_against_first"]
    assert found["difference"] == pytest.approx(0.1)
    assert (found["low"], found["high"]) == pytest.approx((0.1, 0.1))
    # Student's t with 2 degrees of freedom: 4.303 standard errors of (.0, .1, .2), which are .1 / sqrt(3).
    found = seed_differences({0: 0.5, 1: 0.6, 2: 0.7, 9: 1.0}, {0: 0.5, 1: 0.5, 2: 0.5, 8: 1.0})
    assert found is not None
    assert found["high"] == pytest.approx(0.1 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert seed_differences({0: 0.5}, {0: 0.4}) == {
        "difference": pytest.approx(0.1),
        "low": None,
        "high": None,
        "num_seeds": 1,
    }
    assert seed_differences({0: None}, {0: 0.4}) is None


def test_changes() -> None:
    verdict = {"difference": -0.0129, "low": -0.02, "high": 0.001, "beats": False}
    assert (change(verdict).line, change(verdict).star) == ("-0.013 [-0.020, +0.001]", "")
    alone = change({**verdict, "low": None, "beats": True})
    assert (alone.line, bool(alone.star)) == ("-0.013", True)
    assert change(None).line == "-"


def test_seeds() -> None:
    assert parse_seeds("0, 1,2") == [0, 1, 2]
    for text in ("0,x", "", "0,-1", "0,4294967296", "1,1"):
        with pytest.raises(UserError, match=f"seeds='{text}'"):
            parse_seeds(text)
