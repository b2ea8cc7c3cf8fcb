"""``grn-cotrain export edges`` as users type it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.export.edge_formats import EDGE_FORMATS
from grn_cotrain.export.edges import predict_edges


def export(*arguments: object) -> int:
    return run_app(app, ["export", "edges", *map(str, arguments)])


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    return copy


@pytest.mark.parametrize("name", EDGE_FORMATS.names())
def test_every_format_by_default(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--option", "min_size=1"] if name == "gmt" else []
    assert export(run, "--format", name, *options) == 0
    said = capsys.readouterr().out
    suffix = EDGE_FORMATS.get(name).suffix
    assert (run / f"edges_{name}.{suffix}").is_file()
    assert "kept by default" in said
    assert "scored pairs" in said
    assert f"edges, format {name}" in said


def test_counts_and_labels(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new folder" / "net ✓.parquet"
    assert export(run, "--top", 12, "--known", "drop", "--out", out) == 0
    said = capsys.readouterr().out
    frame = pd.read_parquet(out)
    expected = predict_edges(run, top=12, known="drop", say=lambda line: None)
    pd.testing.assert_frame_equal(frame, expected.frame, check_dtype=False)
    assert "12 of" in said
    assert "known: no edge; 12 new" in said
    assert "kept by default" not in said


def test_names_by_file_and_by_commas(run: Path, tiny_world: Path, tmp_path: Path) -> None:
    symbols = Prep.open(tiny_world).grn.edges["source"].unique()[:2].tolist()
    listed = tmp_path / "tfs.txt"
    listed.write_text("# two TFs\n" + "\n".join(symbols) + "\n")
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert export(run, "--tfs", listed, "--top-per-tf", 4, "--out", one) == 0
    assert export(run, "--tfs", ",".join(symbols), "--top-per-tf", 4, "--out", two) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(two))
    assert pd.read_parquet(one)["source"].value_counts().to_dict() == dict.fromkeys(symbols, 4)


def test_options_of_a_format(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "base.json"
    assert export(run, "--format", "celloracle", "--option", "layout=dictionary", "--top", 9, "--out", out) == 0
    assert sum(map(len, json.loads(out.read_text()).values())) == 9


def test_nothing_of_this_machine_is_written(run: Path, tmp_path: Path) -> None:
    for name in EDGE_FORMATS.names():
        out = tmp_path / f"edges.{name}"
        assert export(run, "--format", name, "--top-per-tf", 20, "--out", out) == 0
        assert str(tmp_path).encode() not in out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "sif"], "unknown 'sif' for edge_format"),
        (["--top", "0"], "--top '0': give 1 or more"),
        (["--top", "1000000000"], "more than one table holds"),
        (["--top-per-tf", "many"], "give a number or training"),
        (["--top-per-tf", "-1"], "give 1 or more"),
        (["--min-probability", "2"], "give 0 to 1"),
        (["--min-probability", "1"], "no pair is left"),
        (["--known", "some"], "choose from keep, drop, only"),
        (["--tfs", "nobody"], "none of 1 names is a gene of the model"),
        (["--tfs", "lists/tfs.txt"], "no such file"),
        (["--targets", ","], "no such file, and no names"),
        (["--option", "min_size"], "give NAME=VALUE"),
        (["--format", "gmt", "--option", "min_size=0"], "min_size: got 0"),
        (["--format", "gmt", "--option", "min_size=100"], "no regulon has as many targets"),
        (["--format", "gmt", "--option", "size=3"], "size"),
        (["--format", "h5ad", "--option", "key=a/b"], "no name of a matrix"),
        (["--prep", "nowhere"], "prepared folder 'nowhere'"),
        (["--out", "."], "is a folder"),
    ],
)
def test_bad_requests_are_one_line(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in run.iterdir())
    assert export(run, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(path.name for path in run.iterdir()) == before


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path / "none") == 2
    assert "no run folder" in capsys.readouterr().err
