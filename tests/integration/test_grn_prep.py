"""``grn-prep`` as a user meets it: results that can be read back, and bad input in one line with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep

NUM_CELLS, NUM_GENES = 20, 40
GENES = [f"GENE{i}" for i in range(NUM_GENES - 2)] + ["HLA-A", "HLA-B"]


def cells(folder: Path, name: str = "cells.h5ad", **changes) -> Path:
    rng = np.random.default_rng(0)
    X = rng.poisson(2.0, (NUM_CELLS, NUM_GENES)).astype(np.float32)
    for place, value in changes.pop("set", {}).items():
        X[place] = value
    data = anndata.AnnData(
        changes.pop("transform", lambda x: x)(X),
        obs=pd.DataFrame(index=changes.pop("barcodes", [f"c{i}" for i in range(NUM_CELLS)])),
        var=pd.DataFrame(index=changes.pop("genes", GENES)),
        layers={"counts": X},
    )
    assert not changes
    data.write_h5ad(folder / name)
    return folder / name


def edges(folder: Path, pairs: list[tuple[str, str]] | None = None, name: str = "edges.tsv") -> Path:
    pairs = pairs if pairs is not None else [(f"GENE{a}", f"GENE{b}") for a in range(6) for b in range(6, 26)]
    (folder / name).write_text("source\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in pairs))
    return folder / name


def text(folder: Path, content: str, name: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def prepared(folder: Path) -> Path:
    assert run_app(app, ["counts", str(cells(folder)), "--out", f"{folder}/prep", "--grn", str(edges(folder))]) == 0
    return folder / "prep"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_grn_splits_and_simulate_write_what_they_say(tmp_path, capsys) -> None:
    prep = prepared(tmp_path)
    out = capsys.readouterr().out
    assert "raw counts" in out
    assert "120 edges" in out
    assert str(prep) in out
    assert (
        run_app(app, ["grn", str(edges(tmp_path, [("GENE0", "GENE1"), ("NOPE", "GENE1")])), "--prep", str(prep)]) == 0
    )
    assert "1 TFs have no gene in the data: NOPE" in capsys.readouterr().out
    assert run_app(app, ["grn", str(edges(tmp_path)), "--prep", str(prep), "--format", "tsv"]) == 0
    for kind in ("random", "unseen-tf", "unseen-target", "unseen-both"):
        assert run_app(app, ["splits", str(prep), "--kind", kind, "--seed", "1"]) == 0
    names = Prep.open(prep).split_names()
    assert {"random-seed1", "unseen-tf-visible-seed1-fold0", "unseen-target-seed1", "unseen-both-seed1"} <= set(names)
    out = capsys.readouterr().out
    assert all(f"{name}: train" in out for name in names)
    world = ["simulate", "--out", f"{tmp_path}/sim", "--genes", "80", "--tfs", "12", "--cells", "60"]
    assert run_app(app, world) == 0
    assert Prep.open(tmp_path / "sim").cells.num_genes == 80


def test_size_factors_are_totals_before_genes_are_selected(tmp_path) -> None:
    source, network = cells(tmp_path), edges(tmp_path, [("GENE0", "GENE1")])
    out = ["--out", f"{tmp_path}/prep", "--genes", "hvg:5+tf+targets", "--grn", str(network)]
    assert run_app(app, ["counts", str(source), *out]) == 0
    prep = Prep.open(tmp_path / "prep")
    assert prep.cells.num_genes < NUM_GENES
    assert prep.grn.num_edges == 1
    totals = np.asarray(anndata.read_h5ad(source).X.sum(axis=1)).ravel()
    assert np.allclose(prep.cells.size_factor_C, totals)


def test_own_size_factors_are_taken(tmp_path) -> None:
    source = cells(tmp_path)
    data = anndata.read_h5ad(source)
    data.obs["size_factor"] = np.arange(1.0, NUM_CELLS + 1)
    data.write_h5ad(source)
    assert run_app(app, ["counts", str(source), "--out", f"{tmp_path}/prep"]) == 0
    prep = Prep.open(tmp_path / "prep")
    assert prep.cells.size_factor_C.tolist() == list(range(1, NUM_CELLS + 1))
    assert "size_factor" not in prep.cells.obs


def test_preparing_again_replaces_and_says_so(tmp_path, capsys) -> None:
    first = Prep.open(prepared(tmp_path)).content_hash
    assert run_app(app, ["counts", f"{tmp_path}/cells.h5ad", "--out", f"{tmp_path}/prep"]) == 0
    assert "was replaced" in capsys.readouterr().out
    again = Prep.open(tmp_path / "prep")
    assert again.content_hash != first
    assert not again.has_grn


Case = Callable[[Path], list[object]]
COUNTS: dict[str, tuple[Case, str]] = {
    "missing file": (lambda p: [p / "no.h5ad"], "no such file"),
    "truncated h5ad": (lambda p: [cut(cells(p))], "damaged or cut short"),
    "empty file": (lambda p: [text(p, "", "cells.h5ad")], "empty file"),
    "not an h5ad": (lambda p: [text(p, "hello", "cells.h5ad")], "no HDF5 file"),
    "folder without matrix": (lambda p: [p], "holds no matrix.mtx"),
    "wrong layer": (lambda p: [cells(p), "--layer", "cuonts"], "did you mean 'counts'"),
    "layer of a csv": (
        lambda p: [text(p, "cell,A1\nc1,1\n", "c.csv"), "--layer", "counts"],
        "only h5ad, h5mu, loom and zarr have layers",
    ),
    "duplicate genes": (lambda p: [cells(p, genes=["GENE0", *GENES[:-1]])], "gene names occur more than once"),
    "duplicate cells": (lambda p: [cells(p, barcodes=["c0"] * NUM_CELLS)], "cell names occur more than once"),
    "NaN": (lambda p: [cells(p, set={(0, 0): np.nan})], "1 NaN values"),
    "infinite": (lambda p: [cells(p, set={(0, 0): np.inf})], "1 infinite values"),
    "negative": (lambda p: [cells(p, set={(0, 0): -1})], "1 negative values"),
    "neither counts nor log": (lambda p: [cells(p, transform=lambda x: x * 100.5)], "neither raw counts nor on a log"),
    "all zero": (lambda p: [cells(p, transform=lambda x: x * 0)], "every cell is empty"),
    "text in a table": (lambda p: [text(p, "cell,A1\nc1,x\n", "c.csv")], "'x' at c1, A1"),
    "axes look alike": (lambda p: [text(p, ",A1\nB1,1\n", "c.csv")], "cannot tell which axis"),
    "unknown selection": (lambda p: [cells(p), "--genes", "hgv:2000"], "'hgv:2000' is unknown"),
    "selection without number": (lambda p: [cells(p), "--genes", "hvg:many"], "needs a number"),
    "targets without network": (lambda p: [cells(p), "--genes", "targets"], "'targets' needs a network"),
    "unknown species": (lambda p: [cells(p), "--species", "mice"], "--species 'mice': choose from auto, human, mouse"),
    "contradicted species": (lambda p: [cells(p), "--species", "mouse"], "names are of another species: human"),
    "missing edges": (lambda p: [cells(p), "--grn", p / "no.tsv"], "no such file"),
    "unknown format": (lambda p: [cells(p), "--grn", edges(p), "--grn-format", "trust"], "did you mean 'trrust'"),
    "other columns": (lambda p: [cells(p), "--grn", edges(p), "--grn-format", "dorothea"], "no column 'tf'"),
    "empty edges": (lambda p: [cells(p), "--grn", text(p, "source\ttarget\n", "e.tsv")], "holds no rows"),
    "no gene mapped": (lambda p: [cells(p), "--grn", edges(p, [("NOPE", "NADA")])], "no edge has both ends"),
    "self-loops only": (lambda p: [cells(p), "--grn", edges(p, [("GENE1", "GENE1")])], "no edge has both ends"),
    "other species": (
        lambda p: [cells(p), "--grn", edges(p, [(f"Gene{i}", f"Gene{i + 1}") for i in range(9)])],
        "look like mouse",
    ),
    "mouse ids": (
        lambda p: [cells(p), "--grn", edges(p, [(f"ENSMUSG0000000000{i}", "ENSMUSG00000000010") for i in range(9)])],
        "look like mouse",
    ),
    "missing TF list": (lambda p: [cells(p), "--tf-list", p / "tfs.txt"], "no such file"),
    "TF list of other names": (lambda p: [cells(p), "--tf-list", text(p, "NOPE\n", "tfs.txt")], "none of its 1 names"),
    "out is a file": (lambda p: [cells(p), "--out", text(p, "x", "out.txt")], "is a file; give a folder"),
    "out is someone's": (lambda p: [cells(p), "--out", p], "folder with other content"),
    "out below a file": (lambda p: [cells(p), "--out", text(p, "x", "out.txt") / "prep"], "cannot be written"),
    "unknown option": (lambda p: [cells(p), "--layr", "counts"], "--layr"),
}


@pytest.mark.parametrize("case", COUNTS)
def test_bad_cells_are_one_line_and_leave_nothing(tmp_path, capfd, case) -> None:
    make, message = COUNTS[case]
    arguments = [str(argument) for argument in make(tmp_path)]
    if "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "prep")]
    _refused(tmp_path, capfd, ["counts", *arguments], message)
    assert not (tmp_path / "prep").exists()


PREPARED: dict[str, tuple[Case, str]] = {
    "grn: no such folder": (lambda p: ["grn", edges(p), "--prep", p / "none"], "no such folder"),
    "grn: not prepared": (lambda p: ["grn", edges(p), "--prep", p], "holds no prep.json"),
    "grn: empty graph": (lambda p: ["grn", edges(p, []), "--prep", p / "prep"], "holds no rows"),
    "grn: no gene": (lambda p: ["grn", edges(p, [("NO", "NADA")]), "--prep", p / "prep"], "no edge has both ends"),
    "grn: unknown format": (
        lambda p: ["grn", edges(p), "--prep", p / "prep", "--format", "x"],
        "choose from auto, tsv",
    ),
    "grn: missing option": (lambda p: ["grn", edges(p)], "--prep"),
    "grn: damaged cells": (
        lambda p: [cut(p / "prep" / "cells.h5ad"), "grn", edges(p), "--prep", p / "prep"][1:],
        "damaged",
    ),
    "splits: unknown kind": (lambda p: ["splits", p / "prep", "--kind", "unsen-tf"], "did you mean 'unseen-tf'"),
    "splits: no files": (lambda p: ["splits", p / "prep", "--kind", "published"], "needs it"),
    "splits: no source": (lambda p: ["splits", p / "prep", "--kind", "transfer"], "folder to train on"),
    "splits: negative seed": (lambda p: ["splits", p / "prep", "--kind", "random", "--seed", "-1"], "--seed"),
    "simulate: no room": (
        lambda p: ["simulate", "--out", p / "sim", "--genes", "10", "--tfs", "20"],
        "got 10 for 20 TFs",
    ),
    "simulate: other content": (lambda p: ["simulate", "--out", p], "other content"),
}


@pytest.mark.parametrize("case", PREPARED)
def test_bad_requests_on_a_prepared_folder(tmp_path, capfd, case) -> None:
    prepared(tmp_path)
    make, message = PREPARED[case]
    arguments = [str(argument) for argument in make(tmp_path)]
    _refused(tmp_path, capfd, arguments, message)


def _refused(folder: Path, capfd, arguments: list[str], message: str) -> None:
    before = files(folder)
    capfd.readouterr()
    assert run_app(app, arguments) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert message in captured.err
    assert captured.out == ""
    assert files(folder) == before


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write everywhere")
def test_unwritable_out(tmp_path, capfd) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    _refused(tmp_path, capfd, ["counts", str(cells(tmp_path)), "--out", str(locked / "prep")], "cannot be written")


def test_the_real_program_ends_with_2_and_no_traceback(tmp_path) -> None:
    command = [sys.executable, "-m", "data_prep.cli", "counts", f"{tmp_path}/no.h5ad", "--out", f"{tmp_path}/prep"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: counts")
    assert done.stderr.count("\n") == 1
