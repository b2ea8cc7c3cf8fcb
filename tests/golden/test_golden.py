"""Losses of tiny runs equal those in ``losses.json`` (to 1e-5, since processors round differently)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grn_cotrain.nn.couplings import COUPLINGS
from tests.golden.regenerate import FILE, GOLDEN, losses


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_are_golden(name: str, tiny_world: Path, tmp_path: Path) -> None:
    expected = json.loads(FILE.read_text(encoding="utf-8"))[name]
    found = losses(tiny_world, tmp_path / "run", name)
    assert [sorted(step) for step in found] == [sorted(step) for step in expected]
    for step, (mine, golden) in enumerate(zip(found, expected, strict=True)):
        assert mine == pytest.approx(golden, rel=1e-5), f"step {step}; see tests/golden/regenerate.py"


def test_golden_runs_are_the_recorded_ones_and_differ() -> None:
    recorded = json.loads(FILE.read_text(encoding="utf-8"))
    assert set(recorded) == set(GOLDEN)
    assert {f"coupling={name}" for name in COUPLINGS.names()} <= set(GOLDEN)
    assert len({json.dumps(steps) for steps in recorded.values()}) == len(GOLDEN), "no two runs have the same losses"
