"""The figure of power: its line is the record's, the user's data are marked, and wrong sources are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grn_cotrain import pl
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.power import POWER
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.pl.power import power_panels


def cells(number: int = 700, kind: str = "counts") -> MemoryStore:
    vocab = FeatureVocab.from_symbols([f"GENE{i}" for i in range(10)], species="human")
    return MemoryStore.build(vocab, np.full((number, 10), 1.0), kind=kind)


def test_the_line_is_the_mean_gain() -> None:
    ax = pl.power(by="cells")
    (line,) = [line for line in ax.get_lines() if len(np.asarray(line.get_xdata())) == 3]
    usual = [one for one in POWER if (one.share, one.depth) == (1.0, 300)]
    expected = sorted((one.cells, one.gain) for one in usual)
    assert list(zip(*(np.asarray(data).tolist() for data in line.get_data()), strict=True)) == expected
    assert not ax.texts, "without a source nothing is marked"


def test_the_users_data_are_marked() -> None:
    assert [text.get_text() for text in pl.power(cells()).texts] == ["your data: 700"]
    assert [text.get_text() for text in pl.power(cells(50)).texts] == ["your data: 50, outside the worlds"]
    assert [text.get_text() for text in pl.power(cells(), by="depth").texts] == ["your data: 1"]
    assert [text.get_text() for text in pl.power((600, 0.5), by="depth").texts] == ["your data: 0.5"]
    assert not pl.power((600, None), by="depth").texts
    assert not pl.power(cells(), by="share").texts
    assert not pl.power(cells(kind="log"), by="depth").texts


def test_a_file_of_all_panels(tmp_path: Path) -> None:
    power_panels(cells(), tmp_path / "power.svg")
    text = (tmp_path / "power.svg").read_text()
    assert "your data: 700" in text
    assert "share of the network" in text
    with pytest.raises(UserError, match=r"figure='.*power.abc': no such form"):
        power_panels(cells(), tmp_path / "power.abc")


def test_refusals() -> None:
    with pytest.raises(UserError, match="by 'cell'"):
        pl.power(by="cell")
    with pytest.raises(UserError, match="source: got int; give a run folder or cells"):
        pl.power(3)
