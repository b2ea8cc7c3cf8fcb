"""The power note: its numbers are those of the record, and it names the user's cells and depth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.power import POWER, power_note
from grn_cotrain.data.vocab import FeatureVocab

RECORD = Path(__file__).resolve().parents[3] / "experiments" / "records" / "power.json"


def test_numbers_are_those_of_the_record() -> None:
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["body"]["rows"]
    assert {(row["share"], row["cells"], row["depth"]) for row in rows} == {(p.share, p.cells, p.depth) for p in POWER}
    for power in POWER:
        mine = (power.share, power.cells, power.depth)
        gains = [row["gain"] for row in rows if (row["share"], row["cells"], row["depth"]) == mine]
        assert np.mean(gains) == pytest.approx(power.gain, abs=6e-4)
        worlds = [
            [row[key] for key in ("gain", "low", "high")]
            for row in rows
            if (row["share"], row["cells"], row["depth"]) == mine
        ]
        np.testing.assert_allclose(power.worlds, worlds, atol=6e-4)


def test_cells_and_depth_of_the_user_are_named() -> None:
    vocab = FeatureVocab.from_symbols([f"GENE{i}" for i in range(40)], species="human")
    counts = MemoryStore.build(vocab, np.full((30, 40), 2.0), kind="counts")
    note = power_note(counts)
    assert note is not None
    assert "30 cells with a median of 2 counts a gene" in note
    assert "(2,500 cells, 0.6 counts a gene) by +0.041" in note
    log = power_note(MemoryStore.build(vocab, np.full((30, 40), 2.0), kind="log"))
    assert log is not None
    assert "an unknown depth" in log
