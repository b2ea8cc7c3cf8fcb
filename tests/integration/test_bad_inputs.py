"""Bad input, all of it in one table: exit code 2, one line that names value and fix, nothing half-written.

What only looks bad (one cell, self-loops, paths with spaces) works, and what was left out is said.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

import grn_cotrain.data.prep
from data_prep.cli import app as prep_app
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from tests.faults.child import run_forked
from tests.integration.bad_files import (
    GENES,
    NUM_CELLS,
    cells,
    cut,
    damaged_zarr,
    edges,
    gzipped,
    h5mu,
    loom,
    mtx,
    prepared,
    text,
)
from tests.integration.refusals import refused, snapshot

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

NOWHERE = Path("/proc/self/nowhere")  # where nobody may write, root included
HUMAN = [f"ENSG{i:011d}" for i in range(NUM_CELLS)]
MOUSE = [f"ENSMUSG{i:011d}" for i in range(NUM_CELLS)]
MIXED = [f"GRCh38_A{i}" for i in range(20)] + [f"mm10___A{i}" for i in range(20)]
CAPITALISED = [f"Gene{i}x" for i in range(40)]
TWO_MICE = [(f"Gene{i}", f"Gene{i + 1}") for i in range(9)]

Case = Callable[[Path], list[object]]

#: What follows ``grn-prep counts``; ``--out prep`` is added where there is none.
COUNTS: dict[str, tuple[Case, str]] = {
    # the file itself
    "missing file": (lambda p: [p / "no.h5ad"], "no such file"),
    "empty file": (lambda p: [text(p, "", "cells.h5ad")], "empty file"),
    "truncated h5ad": (lambda p: [cut(cells(p))], "damaged or cut short"),
    "truncated h5mu": (lambda p: [cut(h5mu(p, "rna"))], "damaged or cut short"),
    "truncated loom": (lambda p: [cut(loom(p))], "damaged or cut short"),
    "truncated gzip": (lambda p: [cut(gzipped(text(p, "cell,A1\nc1,1\n" * 99, "c.csv")))], "cut short or damaged"),
    "truncated mtx": (lambda p: [cut(mtx(p) / "matrix.mtx").parent], "damaged or cut short"),
    "zarr with a lost part": (lambda p: [damaged_zarr(p)], "parts of X are missing"),
    "text called h5ad": (lambda p: [text(p, "hello", "cells.h5ad")], "not an HDF5 file"),
    "an image called csv": (
        lambda p: [text(p, b"\x89PNG\r\n\x1a\n\xff\xd8", "c.csv")],
        "is a picture",
    ),
    "table in latin-1": (lambda p: [text(p, "cell,A1\nZüri,1\n".encode("latin-1"), "c.csv")], "not UTF-8 text"),
    "folder without matrix": (lambda p: [p], "holds no matrix.mtx"),
    "mtx of other cells": (lambda p: [mtx(p, barcodes=3)], "do not belong together"),
    "loom without gene names": (
        lambda p: [loom(p, genes="regulon")],
        "grn-prep counts --names 'regulon'",
    ),
    "fetched by ftp": (lambda p: ["ftp://host/cells.h5ad"], "not fetched"),
    # layers and modalities
    "wrong layer": (lambda p: [cells(p), "--layer", "cuonts"], "did you mean 'counts'"),
    "layer of a csv": (lambda p: [text(p, "cell,A1\nc1,1\n", "c.csv"), "--layer", "x"], "loom and zarr have layers"),
    "unknown modality": (lambda p: [cells(p), "--modality", "rma"], "choose from gene"),
    "modality that is not there": (lambda p: [h5mu(p, "rna", "atac"), "--modality", "prot"], "choose from rna, atac"),
    "modalities of unknown names": (lambda p: [h5mu(p, "rna", "hto")], "unknown names: hto"),
    "unknown feature type": (lambda p: [cells(p, var={"feature_types": "Guides"})], "'Guides' is unknown"),
    # names
    "duplicate genes": (lambda p: [cells(p, genes=["GENE0", *GENES[:-1]])], "gene names occur more than once"),
    "duplicate cells": (lambda p: [cells(p, barcodes=["c0"] * NUM_CELLS)], "cell names occur more than once"),
    "two genomes": (lambda p: [cells(p, genes=MIXED)], "two species (GRCh38, mm10)"),
    "ids of two species": (lambda p: [cells(p, genes=HUMAN + MOUSE)], "genes of two species: 20 like ENSG"),
    "unknown species": (lambda p: [cells(p), "--species", "mice"], "--species 'mice': choose from auto, human, mouse"),
    "contradicted species": (lambda p: [cells(p), "--species", "mouse"], "names are of another species: human"),
    "axes look alike": (lambda p: [text(p, ",A1\nB1,1\n", "c.csv")], "cannot determine which axis"),
    # values
    "no cells": (lambda p: [cells(p, rows=[])], "holds 0 cells x 40 genes"),
    "no genes": (lambda p: [cells(p, columns=[])], "holds 20 cells x 0 genes"),
    "NaN": (lambda p: [cells(p, set=[((0, 0), np.nan)])], "1 NaN values"),
    "infinite": (lambda p: [cells(p, set=[((0, 0), np.inf)])], "1 infinite values"),
    "negative": (lambda p: [cells(p, set=[((0, 0), -1)])], "1 negative values"),
    "scaled": (lambda p: [cells(p, transform=lambda x: x - x.mean(axis=0))], "not scaled ones (raw counts: --layer c"),
    "neither counts nor log": (lambda p: [cells(p, transform=lambda x: x * 100.5)], "neither raw counts nor on a log"),
    "CPM": (lambda p: [cells(p, transform=lambda x: 1e6 * x / x.sum(1, keepdims=True))], "CPM or TPM"),
    "fractional counts": (
        lambda p: [cells(p, set=[((slice(0, 9), slice(0, 9)), 2.7)], transform=lambda x: x)],
        "round them",
    ),
    "all zero": (lambda p: [cells(p, transform=lambda x: x * 0)], "every cell is empty"),
    "text in a table": (lambda p: [text(p, "cell,A1\nc1,x\n", "c.csv")], "'x' at c1, A1"),
    "hole in a table": (lambda p: [text(p, "cell,A1,A2\nc1,1,\n", "c.csv")], "is NaN or no number"),
    "size factors of zero": (lambda p: [cells(p, obs={"size_factor": 0.0})], "obs['size_factor']"),
    # selection
    "unknown selection": (lambda p: [cells(p), "--genes", "hgv:2000"], "'hgv:2000' is unknown"),
    "selection without number": (lambda p: [cells(p), "--genes", "hvg:many"], "needs a number"),
    "targets without network": (lambda p: [cells(p), "--genes", "targets"], "'targets' needs a network"),
    # several files
    "the same file twice": (lambda p: [cells(p), p / "cells.h5ad"], "is given twice"),
    "counts and logs": (lambda p: [cells(p), cells(p, "b.h5ad", transform=np.log1p)], "cannot be merged"),
    "nothing in common": (lambda p: [cells(p), cells(p, "b.h5ad", genes=HUMAN * 2)], "gene names occur more than once"),
    "other names": (lambda p: [cells(p), cells(p, "b.h5ad", genes=[f"X{i}" for i in range(40)])], "no gene in common"),
    "two species": (lambda p: [cells(p), cells(p, "b.h5ad", genes=CAPITALISED)], "files of different species"),
    "unknown join": (lambda p: [cells(p), cells(p, "b.h5ad"), "--join", "left"], "choose from outer, inner"),
    "source key taken": (
        lambda p: [cells(p, obs={"donor": "x"}), cells(p, "b.h5ad"), "--source-key", "donor"],
        "cells has a column of that name already",
    ),
    # tables of names
    "missing aliases": (lambda p: [cells(p), "--aliases", p / "no.tsv"], "no such file"),
    "aliases of other columns": (lambda p: [cells(p), "--aliases", text(p, "a,b,c\n1,2,3\n", "a.csv")], "no columns"),
    "missing orthologs": (lambda p: [cells(p), "--orthologs", p / "no.tsv"], "no such file"),
    "no ortholog": (
        lambda p: [cells(p), "--orthologs", text(p, "human\tmouse\nABC\tAbc\n", "o.tsv")],
        "no gene has an ortholog",
    ),
    "unknown policy": (
        lambda p: [cells(p), "--orthologs", text(p, "human\tmouse\nA\tB\n", "o.tsv"), "--orthologs-policy", "all"],
        "choose from one2one, sum",
    ),
    "species without orthologs": (lambda p: [cells(p), "--to-species", "human"], "needs a table of orthologs"),
    "unknown target species": (
        lambda p: [cells(p), "--to-species", "rat"],
        "--to-species 'rat': choose from human, mouse",
    ),
    # network and TF list
    "missing edges": (lambda p: [cells(p), "--grn", p / "no.tsv"], "no such file"),
    "unknown format": (lambda p: [cells(p), "--grn", edges(p), "--grn-format", "trust"], "did you mean 'trrust'"),
    "other columns": (lambda p: [cells(p), "--grn", edges(p), "--grn-format", "dorothea"], "no column 'confidence'"),
    "empty edges": (lambda p: [cells(p), "--grn", text(p, "source\ttarget\n", "e.tsv")], "holds no rows"),
    "edges in latin-1": (
        lambda p: [cells(p), "--grn", text(p, "source\ttarget\nZü\tA\n".encode("latin-1"), "e.tsv")],
        "not UTF-8 text",
    ),
    "no gene mapped": (lambda p: [cells(p), "--grn", edges(p, [("NOPE", "NADA")])], "no edge has both ends"),
    "self-loops only": (lambda p: [cells(p), "--grn", edges(p, [("GENE1", "GENE1")])], "no edge has both ends"),
    "edges of mice": (lambda p: [cells(p), "--grn", edges(p, TWO_MICE)], "look like mouse"),
    "ids of mice": (lambda p: [cells(p), "--grn", edges(p, [(m, MOUSE[0]) for m in MOUSE[1:9]])], "look like mouse"),
    "missing TF list": (lambda p: [cells(p), "--tf-list", p / "tfs.txt"], "no such file"),
    "TF list of other names": (lambda p: [cells(p), "--tf-list", text(p, "NOPE\n", "tfs.txt")], "none of its 1 names"),
    # output
    "out is a file": (lambda p: [cells(p), "--out", text(p, "x", "out.txt")], "is a file; give a folder"),
    "out is someone's": (lambda p: [cells(p), "--out", p], "folder with other content"),
    "out below a file": (lambda p: [cells(p), "--out", text(p, "x", "out.txt") / "prep"], "cannot be written"),
    "out is read-only": (lambda p: [cells(p), "--out", NOWHERE / "prep"], "cannot be written"),
    "no out": (lambda p: [cells(p), "--layr", "counts"], "--layr"),
}

#: Other commands of ``grn-prep``, on a prepared folder ``prep``.
PREPARED: dict[str, tuple[Case, str]] = {
    "grn: no such folder": (lambda p: ["grn", edges(p), "--prep", p / "none"], "no such folder"),
    "grn: not prepared": (lambda p: ["grn", edges(p), "--prep", p], "holds no prep.json"),
    "grn: empty graph": (lambda p: ["grn", edges(p, []), "--prep", p / "prep"], "holds no rows"),
    "grn: no gene": (lambda p: ["grn", edges(p, [("NO", "NADA")]), "--prep", p / "prep"], "no edge has both ends"),
    "grn: unknown format": (
        lambda p: ["grn", edges(p), "--prep", p / "prep", "--format", "x"],
        "choose from auto, tsv",
    ),
    "grn: a sign nobody knows": (
        lambda p: ["grn", text(p, "source\ttarget\tsign\nGENE0\tGENE1\tmaybe\n", "e.tsv"), "--prep", p / "prep"],
        "maybe",
    ),
    "grn: a weight that is none": (
        lambda p: ["grn", text(p, "source\ttarget\tweight\nGENE0\tGENE1\tinf\n", "e.tsv"), "--prep", p / "prep"],
        "weight",
    ),
    "grn: truncated": (lambda p: ["grn", cut(gzipped(edges(p))), "--prep", p / "prep"], "cut short or damaged"),
    "grn: missing aliases": (lambda p: ["grn", edges(p), "--prep", p / "prep", "--aliases", p / "no"], "no such file"),
    "grn: missing option": (lambda p: ["grn", edges(p)], "--prep"),
    "grn: damaged cells": (
        lambda p: [cut(p / "prep" / "assays" / "rna" / "values.h5ad"), "grn", edges(p), "--prep", p / "prep"][1:],
        "damaged",
    ),
    "splits: unknown kind": (lambda p: ["splits", p / "prep", "--kind", "unsen-tf"], "did you mean 'unseen-tf'"),
    "splits: no files": (lambda p: ["splits", p / "prep", "--kind", "published"], "needs it"),
    "splits: no source": (lambda p: ["splits", p / "prep", "--kind", "transfer"], "folder to train on"),
    "splits: negative seed": (lambda p: ["splits", p / "prep", "--kind", "random", "--seed", "-1"], "--seed"),
    "splits: damaged network": (
        lambda p: [cut(p / "prep" / "graph.parquet"), "splits", p / "prep", "--kind", "random"][1:],
        "the network cannot be read",
    ),
    "simulate: no room": (lambda p: ["simulate", "--out", p / "sim", "--genes", "10", "--tfs", "20"], "for 20 TFs"),
    "simulate: other content": (lambda p: ["simulate", "--out", p], "other content"),
}

#: ``grn-cotrain`` on a run; the rows that need no file of cells are in test_cli_errors.py.
RUN: dict[str, tuple[Callable[[Path, Path], list[object]], str]] = {
    "embed: empty file": (lambda p, r: [text(p, "", "c.h5ad")], "empty file"),
    "embed: text called h5ad": (lambda p, r: [text(p, "hello", "c.h5ad")], "not an HDF5 file"),
    "embed: wrong layer": (lambda p, r: [cells(p), "--layer", "cuonts"], "did you mean 'counts'"),
    "embed: unknown modality": (lambda p, r: [h5mu(p, "rna", "hto")], "unknown names: hto"),
    "embed: no such modality": (lambda p, r: [cells(p), "--modality", "atac"], "choose from gene"),
    "embed: peaks alone": (lambda p, r: [cells(p, genes=[f"chr1-{i}-{i + 5}" for i in range(40)])], "same modality"),
    "embed: other genes": (lambda p, r: [cells(p)], "genes of the cells"),
    "embed: NaN": (lambda p, r: [cells(p, set=[((0, 0), np.nan)])], "1 NaN values"),
    "embed: negative": (lambda p, r: [cells(p, set=[((0, 0), -1)])], "1 negative values"),
    "embed: all zero": (lambda p, r: [cells(p, transform=lambda x: x * 0)], "every cell is empty"),
    "embed: duplicate cells": (lambda p, r: [cells(p, barcodes=["c0"] * NUM_CELLS)], "occur more than once"),
    "embed: no cells": (lambda p, r: [cells(p, rows=[])], "holds 0 cells"),
    "embed: out is read-only": (lambda p, r: [known(p, r), "--out", NOWHERE / "o.h5ad"], "cannot be written"),
    "embed: out is the input": (lambda p, r: [known(p, r), "--out", p / "known.h5ad"], "is the input"),
    "embed: out of no format": (lambda p, r: [known(p, r), "--out", p / "o.txt"], "--out"),
    "embed: out below a file": (lambda p, r: [known(p, r), "--out", text(p, "x", "f") / "o.h5ad"], "cannot be written"),
    "embed: missing aliases": (lambda p, r: [known(p, r), "--aliases", p / "no.tsv"], "no such file"),
    "export: out is read-only": (lambda p, r: ["export", "genes", r, "--out", NOWHERE / "g.tsv"], "cannot be written"),
    "export: out below a file": (
        lambda p, r: ["export", "genes", r, "--out", text(p, "x", "f") / "g.parquet"],
        "cannot be written",
    ),
}


def known(folder: Path, run: Path) -> Path:
    """Cells of the genes that a run knows."""
    from grn_cotrain.data.vocab import FeatureVocab

    return cells(folder, "known.h5ad", genes=list(FeatureVocab.load(run / "model" / "vocab.json").symbols[:40]))


def test_the_table_is_long_enough() -> None:
    assert len(COUNTS) + len(PREPARED) + len(RUN) > 40


@pytest.mark.parametrize("case", COUNTS)
def test_bad_cells_are_one_line_and_leave_nothing(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make, message = COUNTS[case]
    arguments = ["counts", *make(tmp_path)]
    arguments += [] if "--out" in arguments else ["--out", tmp_path / "prep"]
    refused(message, *arguments, capsys=capsys, watch=tmp_path, program=prep_app)
    assert not (tmp_path / "prep").exists()


@pytest.mark.parametrize("case", PREPARED)
def test_bad_requests_on_a_prepared_folder(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepared(tmp_path)
    make, message = PREPARED[case]
    refused(message, *make(tmp_path), capsys=capsys, watch=tmp_path, program=prep_app)


@pytest.mark.parametrize("case", RUN)
def test_bad_cells_for_a_run(case: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make, message = RUN[case]
    arguments = make(tmp_path, run)
    if case.startswith("embed"):
        out = [] if "--out" in arguments else ["--out", tmp_path / "out.h5ad"]
        arguments = ["embed", "cells", run, *arguments, *out]
    refused(message, *arguments, capsys=capsys, watch=tmp_path, program=app)


# -- what only looks bad -----------------------------------------------------------------------------------------------

ODD_FOLDER = "Zürich data, 日本 (copy)"
LEGAL: dict[str, tuple[Case, tuple[str, ...], tuple[int, int]]] = {
    "one cell": (lambda p: [cells(p, rows=[0])], ("cells: 1 x 40 genes",), (1, 40)),
    "one gene": (lambda p: [cells(p, columns=[3])], ("cells: 20 x 1 gene",), (20, 1)),
    "all-zero cells": (
        lambda p: [cells(p, set=[((slice(3, 5), slice(None)), 0)])],
        ("2 cells without any count were left out: c3, c4",),
        (18, 40),
    ),
    "self-loops": (
        lambda p: [cells(p), "--grn", edges(p, [("GENE1", "GENE1"), ("GENE1", "GENE2")])],
        ("1 self-loops were dropped: GENE1",),
        (20, 40),
    ),
    "edges to nowhere": (
        lambda p: [cells(p), "--grn", edges(p, [("GENE1", "NADA"), ("GENE1", "GENE2"), ("NOPE", "GENE2")])],
        ("2 edges have an end outside the data", "1 TFs have no gene in the data: NOPE", "in the data: NADA"),
        (20, 40),
    ),
    "edges twice": (
        lambda p: [cells(p), "--grn", edges(p, [("GENE1", "GENE2"), ("GENE1", "GENE2")])],
        ("1 repeated", "1 edges of"),
        (20, 40),
    ),
    "repeated symbols with ids": (
        lambda p: [cells(p, genes=["GENE0", *GENES[:-1]], var={"gene_ids": [f"ENSG{i:011d}" for i in range(40)]})],
        ("1 repeated symbols took their Ensembl ids: GENE0",),
        (20, 40),
    ),
    "odd paths": (lambda p: [cells(folder(p / ODD_FOLDER))], (ODD_FOLDER,), (20, 40)),
    "odd barcodes": (lambda p: [cells(p, barcodes=[f"Zürich/日本 {i}" for i in range(20)])], ("cells: 20",), (20, 40)),
    "whole numbers as doubles": (lambda p: [cells(p, transform=np.float64)], ("raw counts: whole numbers",), (20, 40)),
    "logs": (lambda p: [cells(p, transform=np.log1p)], ("log1p of raw counts", "--layer counts"), (20, 40)),
    "several files": (
        lambda p: [cells(p), cells(p, "b.h5ad", columns=slice(0, 30))],
        ("20 cell names occur in several files", "b lacks 10"),
        (40, 40),
    ),
}


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("case", LEGAL)
def test_what_only_looks_bad_works_and_is_said(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make, said, shape = LEGAL[case]
    arguments = [str(argument) for argument in make(tmp_path)]
    out = tmp_path / ODD_FOLDER / "prep" if case == "odd paths" else tmp_path / "prep"
    assert run_app(prep_app, ["counts", *arguments, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for part in said:
        assert part in captured.out
    assert Prep.open(out).cells.values_CG.shape == shape


def test_an_earlier_folder_stays_where_a_second_attempt_fails(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepared(tmp_path)
    arguments = ["counts", cells(tmp_path, set=[((0, 0), np.nan)]), "--out", tmp_path / "prep"]
    refused("NaN", *arguments, capsys=capsys, watch=tmp_path, program=prep_app)


# -- the disk is full, the process dies --------------------------------------------------------------------------------

_FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from grn_cotrain.commandline import run_app
from data_prep.cli import app
sys.exit(run_app(app, sys.argv[2:]))
"""


def child(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def commands(folder: Path, run: Path) -> dict[str, tuple[typer.Typer, list[object], int]]:
    """Program, arguments, and a size at which writing must fail."""
    out = folder / "new"
    return {
        "counts": (prep_app, ["counts", cells(folder), "--out", out], 2000),
        "grn": (prep_app, ["grn", edges(folder), "--prep", folder / "prep"], 200),
        "splits": (prep_app, ["splits", folder / "prep", "--kind", "random"], 200),
        "embed": (app, ["embed", "cells", run, known(folder, run), "--out", f"{out}.h5ad"], 2000),
        "export": (app, ["export", "genes", run, "--out", f"{out}.tsv", "--format", "tsv"], 200),
    }


@pytest.mark.parametrize("case", ["counts", "grn", "splits", "embed", "export"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    case: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A limit on the size of a file makes every write beyond it fail, as a full disk does."""
    prepared(tmp_path)
    program, arguments, size = commands(tmp_path, run)[case]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        refused("free space", *arguments, capsys=capsys, watch=tmp_path, program=program, quiet=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_does_not_crash_the_program(tmp_path: Path) -> None:
    """HDF5 would, at its exit: no more may be printed, and no other code returned."""
    done = child(_FULL, 2000, "counts", cells(tmp_path), "--out", tmp_path / "prep")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: output '"), done.stderr
    assert "the disk is full" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cells.h5ad"]


@pytest.mark.parametrize("moment", ["while writing", "before the end"])
def test_a_killed_process_leaves_the_earlier_folder(moment: str, tmp_path: Path) -> None:
    """What was there stays, nothing looks finished, and the next attempt succeeds."""
    prep = prepared(tmp_path)
    old, names = snapshot(prep), {path.name for path in tmp_path.iterdir()}
    other = cells(tmp_path, set=[((0, 0), 9)])

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        if moment == "while writing":
            grn_cotrain.data.prep.write_json = die  # the matrix is written, the rest is not
        else:
            os.replace = die  # all is written, nothing is in its place
        return run_app(prep_app, ["counts", str(other), "--out", str(prep)])

    outcome = run_forked(work, tmp_path, limit=120)
    assert outcome.code == -signal.SIGKILL, outcome.err
    assert snapshot(prep) == old
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == names | {other.name}
    assert run_app(prep_app, ["counts", str(other), "--out", str(prep)]) == 0
    assert Prep.open(prep).cells.values_CG[0, 0] == 9
