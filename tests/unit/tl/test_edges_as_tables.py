"""``tl.infer_grn`` and ``tl.score_edges``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import grn_cotrain.tl as tl
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.evaluate.score import score_pairs
from grn_cotrain.export.edges import predict_edges


def names(world: Path, count: int) -> list[tuple[str, str]]:
    grn = Prep.open(world).grn
    return list(zip(grn.edges["source"][:count], grn.edges["target"][:count], strict=True))


def test_infer_grn_is_what_the_export_predicts(tiny_run: Path) -> None:
    found = tl.infer_grn(tiny_run, known="drop")
    expected = predict_edges(tiny_run, top_per_tf="training", known="drop", say=lambda line: None)
    pd.testing.assert_frame_equal(found, expected.frame)
    assert found.attrs["grn_cotrain"]["vocab_hash"] == expected.vocab_hash
    assert found.attrs["grn_cotrain"]["prevalence"] == expected.prevalence
    assert len(tl.infer_grn(tiny_run, top=4, top_per_tf=None)) == 4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top": 50},
        {"top_per_tf": 3},
        {"top": 20, "top_per_tf": "training"},
        {"top": 30, "known": "drop"},
        {"min_probability": 0.05},
    ],
)
def test_both_doors_return_the_same_edges(tiny_run: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "edges.parquet"
    command = ["export", "edges", str(tiny_run), "--out", str(out)]
    for name, value in options.items():
        flag, text = f"--{name.replace('_', '-')}", str(value)
        command += [flag, text]
    assert run_app(app, command) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), tl.infer_grn(tiny_run, **options), check_dtype=False)


def test_score_edges_of_tuples_frames_and_files(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> None:
    pairs, vocab = names(tiny_world, 6), Prep.open(tiny_world).vocab
    expected = ModelScorer(tiny_run).score(np.array([[vocab.index(name) for name in pair] for pair in pairs]).T)
    by_tuples = tl.score_edges(tiny_run, pairs)
    np.testing.assert_allclose(by_tuples["score"], expected)
    assert list(by_tuples.columns) == ["source", "target", "score", "probability"]

    given = pd.DataFrame(pairs, columns=["source", "target"], index=list("uvwxyz")).assign(note=range(6))
    before = given.copy()
    by_frame = tl.score_edges(tiny_run, given)
    assert list(by_frame.columns) == ["source", "target", "note", "score", "probability"]
    assert list(by_frame.index) == list("uvwxyz")
    np.testing.assert_allclose(by_frame["score"], expected)
    pd.testing.assert_frame_equal(given, before)

    file = tmp_path / "pairs.tsv"
    given[["source", "target"]].to_csv(file, sep="\t", index=False)
    np.testing.assert_allclose(tl.score_edges(tiny_run, file)["score"], expected)
    written = score_pairs(tiny_run, file, tmp_path / "scores.tsv", say=lambda line: None).frame
    pd.testing.assert_frame_equal(written, tl.score_edges(tiny_run, file))


def test_unknown_genes_are_logged_and_have_no_score(
    tiny_run: Path, tiny_world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = names(tiny_world, 1)
    with caplog.at_level(logging.WARNING):
        found = tl.score_edges(tiny_run, [*known, ("nobody", known[0][1])])
    assert found["score"].isna().tolist() == [False, True]
    assert "nobody" in caplog.text


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("nobody", "noone")], "no pair has both genes"),
        ([], "no pair has both genes"),
        ([("a", "b", "c")], "not a \\(TF, target\\) pair"),
        (pd.DataFrame({"tf": ["a"]}), "no column 'source'"),
        (pd.DataFrame({"source": ["a"], "target": ["b"], "score": [1]}), "column 'score' already"),
        ("nowhere.tsv", "nowhere.tsv"),
    ],
)
def test_bad_pairs(tiny_run: Path, pairs: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tl.score_edges(tiny_run, pairs)  # type: ignore[arg-type]


def test_rows_in_are_rows_out(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> None:
    """Repeats, unknown genes, other cases, a gene with itself: each row keeps its place."""
    (a, b), (c, d) = names(tiny_world, 2)
    rows = [(a, b), (c, d), ("nobody", b), (a, b), (a.lower(), b), (a, a), ("", b), (c, d)]
    by_tuples = tl.score_edges(tiny_run, rows)
    assert list(by_tuples[["source", "target"]].itertuples(index=False, name=None)) == rows
    score = by_tuples["score"]
    assert score.isna().tolist() == [False, False, True, False, False, False, True, False]
    assert score[0] == score[3] == score[4]
    assert score[1] == score[7]

    file = tmp_path / "pairs.csv"
    file.write_text("target,note,TF\n" + "".join(f"{target},x,{tf}\n" for tf, target in rows))
    written = score_pairs(tiny_run, file, tmp_path / "scores.tsv", say=lambda line: None)
    assert written.unknown == ["nobody"]
    table = pd.read_csv(tmp_path / "scores.tsv", sep="\t", keep_default_na=False, dtype=str)
    assert list(table[["source", "target"]].itertuples(index=False, name=None)) == rows
    np.testing.assert_allclose(pd.to_numeric(table["score"]), score, rtol=1e-4)

    named = tl.score_edges(tiny_run, pd.DataFrame(rows, columns=["regulator", "gene"]))
    np.testing.assert_allclose(named["score"], score)
    assert list(named.columns)[:2] == ["regulator", "gene"]


def test_pairs_whose_columns_nothing_tells_are_asked_for(tiny_run: Path, tiny_world: Path, tmp_path: Path) -> None:
    ((a, b),) = names(tiny_world, 1)
    file = tmp_path / "pairs.tsv"
    file.write_text(f"driver\ttarget\n{a}\t{b}\n")
    with pytest.raises(UserError, match=r"which is the source .*tsv:source=COLUMN"):
        tl.score_edges(tiny_run, file)
    told = tl.score_edges(tiny_run, file, format="tsv:source=driver,target=target")
    assert told[["source", "target"]].to_numpy().tolist() == [[a, b]]


def test_lists_that_are_alike_are_warned_about(
    tiny_run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grn_cotrain.export.predicted_edges.OVERLAP", -1.0)
    monkeypatch.setattr("grn_cotrain.export.predicted_edges.LOW_SHARE", 2.0)
    with caplog.at_level(logging.WARNING):
        tl.infer_grn(tiny_run, top_per_tf=3)
    assert "of the other lists" in caplog.text
    assert "of the scores' variance" in caplog.text
