"""The heatmap of what reads a TF: values, order, marks, and where it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain import pl
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention_run import attention_of_tfs
from grn_cotrain.jobs.attention import AttentionConfig


def edges(**changes) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    frame = pd.DataFrame(
        {
            "group": ["B", "B", "B", "T", "T", "T", "T"],
            "source": ["TF"] * 6 + ["OTHER"],
            "target": ["x", "y", "z", "x", "y", "w", "x"],
            "weight": [0.4, 0.2, 0.1, 0.1, 0.3, 0.8, 0.9],
            "expected": [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
            "num_cells": [20, 20, 20, 20, 20, 3, 20],
            "known": ["train", "", "", "train", "", "", ""],
        }
    )
    frame["score"] = frame["weight"] - frame["expected"]
    return frame.assign(**changes)


def shown(ax) -> tuple[list[str], list[str], np.ndarray]:  # type: ignore[no-untyped-def]
    rows = [tick.get_text() for tick in ax.get_yticklabels()]
    columns = [tick.get_text() for tick in ax.get_xticklabels()]
    return rows, columns, np.ma.filled(ax.images[0].get_array(), np.nan)


def test_colour_is_log2_of_weight_over_expectation() -> None:
    ax = pl.attention(edges(), "TF")
    rows, columns, values = shown(ax)
    assert columns == ["B", "T"]
    assert rows == ["x", "z", "y"]  # strongest in B: x, then z; strongest in T: y; w is in too few cells
    np.testing.assert_allclose(values, [[2, 0], [0, np.nan], [1, np.log2(3)]])
    assert [tick.get_fontweight() for tick in ax.get_yticklabels()] == ["bold", "normal", "normal"]
    assert [text.get_text() for text in ax.texts] == ["·"]
    assert ax.get_title(loc="left") == "TF: 3 genes that read it most"
    assert ax.get_xlabel() == "bold: edge of the network; dot: too few cells"
    low, high = ax.images[0].get_clim()
    assert low == -high


def test_types_give_their_best_in_turn_and_cells_are_counted() -> None:
    assert shown(pl.attention(edges(), "TF", top=2))[0] == ["x", "y"]
    assert "w" in shown(pl.attention(edges(), "TF", min_cells=1))[0]
    assert pl.attention(edges(known=""), "TF", min_cells=1).get_xlabel() == "dot: too few cells"


def test_a_run_is_read(tiny_run: Path) -> None:
    config = AttentionConfig(max_cells=15, direction="tf_reads_target")
    frame = attention_of_tfs(tiny_run, [_tf(tiny_run)], by="cell_type", config=config)
    tf = frame["source"].iloc[0]
    ax = pl.attention(tiny_run, tf, top=8, min_cells=5, config=config)
    rows, columns, values = shown(ax)
    assert len(rows) == 8
    assert columns == sorted(set(frame["group"]))
    assert ax.get_title(loc="left") == f"{tf}: 8 genes that it reads most"
    one = frame.set_index(["target", "group"]).loc[(rows[0], columns[0])]
    assert values[0, 0] == pytest.approx(np.log2(one["weight"] / one["expected"]))
    assert pl.to_svg(ax) == pl.to_svg(pl.attention(frame, tf, top=8, min_cells=5, config=config))


def test_cells_read_are_told_and_a_hundred_of_a_type_are_read(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    pl.attention(tiny_run, _tf(tiny_run), by=None, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (100, 100), "of 160 cells"
    assert told == sorted(told)
    told.clear()
    config = AttentionConfig(max_cells=None)
    pl.attention(tiny_run, _tf(tiny_run), by=None, config=config, progress=lambda *done: told.append(done))
    assert told[-1] == (160, 160)


def _tf(run: Path) -> str:
    from grn_cotrain.data.run_data import load_run_data
    from grn_cotrain.run_folder import RunFolder

    data = load_run_data(RunFolder.open(run).recipe())
    return str(data.vocab.symbols[int(data.split.train_2E[0, 0])])


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: pl.attention(edges(), "NONE"), "tf 'NONE': no edge leaves it here; 2 TFs have edges"),
        (lambda: pl.attention(edges(), "TF", top=0), "top '0': give 1 to 80"),
        (lambda: pl.attention(edges(), "TF", min_cells=99), "no pair is shown by 99 cells"),
        (lambda: pl.attention(edges().drop(columns="expected"), "TF"), "the frame has no column expected"),
        (lambda: pl.attention(7, "TF"), "source: got int"),
    ],
)
def test_refusals(draw, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=words):
        draw()
