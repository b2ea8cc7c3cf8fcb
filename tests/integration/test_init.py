"""``grn-cotrain init``: two files, a commented recipe, and the two commands after it, from any working folder."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.recipe import load_recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.start import project


@pytest.fixture(scope="module")
def files(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Cells as a table and edges as a list, in a folder whose name needs quotes."""
    prep = Prep.open(tiny_world)
    folder = tmp_path_factory.mktemp("my files, #1: raw")
    cells, edges = folder / "cells & co.csv", folder / "edges.tsv"
    genes = [i for i, modality in enumerate(prep.vocab.modality) if modality == "gene"]
    frame = prep.cells.values_CG[:, genes].toarray().astype(int)
    names = [prep.vocab.symbols[i] for i in genes]
    lines = [",".join(["cell", *names])]
    lines += [",".join([name, *map(str, row)]) for name, row in zip(prep.cells.obs.index, frame, strict=True)]
    cells.write_text("\n".join(lines) + "\n")
    pairs = [(prep.vocab.symbols[a], prep.vocab.symbols[b]) for a, b in prep.grn.pairs_2E.T]
    edges.write_text("TF\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in [*pairs, ("NOTAGENE", "NEITHER")]))
    return cells, edges


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of seconds instead of minutes."""
    monkeypatch.setattr(project, "_SECONDS", 0.001)
    monkeypatch.setattr(project, "_PROBED", 4)
    monkeypatch.setattr(project, "_FEWEST", 4)


@pytest.mark.usefixtures("brief")
def test_three_commands_from_any_working_folder(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, edges = files
    monkeypatch.chdir(cells.parent)
    out = tmp_path / "a project"
    assert run_app(app, ["init", cells.name, edges.name, "--out", os.path.relpath(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("cells     160 cells x ", "network ", "split     unseen-target-seed0: ", "genes     all: ", "steps  "):
        assert word in printed, word
    assert "1 edges have an end outside the data" in printed
    assert "measured on this machine" in printed
    text = (out / "recipe.yaml").read_text()
    assert len(text.splitlines()) <= 25
    recipe = load_recipe(out / "recipe.yaml")
    assert recipe.prep is not None
    assert Path(str(recipe.prep.counts)) == cells.resolve()
    assert Path(recipe.data.prep) == (out / "prep").resolve()
    assert sorted(path.name for path in out.iterdir()) == ["prep", "recipe.yaml"]

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = (out / "prep" / "prep.json").stat().st_mtime_ns
    following = printed.rstrip().rsplit("\n", 1)[1]
    assert following.startswith("next: grn-cotrain train ")
    arguments = shlex.split(following.removeprefix("next: grn-cotrain "))
    # What is printed is meant for the folder in which it was printed; here its paths are made absolute.
    arguments = [
        str((cells.parent / a).resolve()) if (cells.parent / a).parent.exists() and os.sep in a else a
        for a in arguments
    ]
    assert run_app(app, arguments) == 0
    assert (out / "prep" / "prep.json").stat().st_mtime_ns == before  # it was prepared already
    assert RunFolder.open(out / "run").is_finished
    assert run_app(app, ["report", str(out / "run"), "--no-card", "--basis", "pca"]) == 0
    assert (out / "run" / "report.html").is_file()


@pytest.mark.usefixtures("brief")
def test_nothing_half_written(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells, edges = files
    out = tmp_path / "project"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert run_app(app, ["init", str(cells), str(edges), "--out", str(out)]) == 2
    assert "is a folder with content" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    (out / "thesis.txt").unlink()
    alien = tmp_path / "alien.tsv"
    alien.write_text("TF\ttarget\nalpha\tbeta\ngamma\tdelta\n")
    small = tmp_path / "small.tsv"
    small.write_text("\n".join(edges.read_text().splitlines()[:2]) + "\n")
    for network, match in (
        (tmp_path / "absent.tsv", "absent.tsv': no such file; correct the path"),
        (alien, "alien.tsv"),
        (small, "cannot be split"),
    ):
        assert run_app(app, ["init", str(cells), str(network), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert match in error
        assert error.count("\n") == 1
        assert list(out.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alien.tsv", "project", "small.tsv"]
    assert run_app(app, ["init", str(cells), str(edges), "--out", str(alien)]) == 2
    assert "is a file" in capsys.readouterr().err
