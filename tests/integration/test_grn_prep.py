"""``grn-prep`` as a user meets it: results that can be read back. Bad input: test_bad_inputs.py."""

from __future__ import annotations

import os
import subprocess
import sys

import anndata
import numpy as np

from data_prep.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from tests.cases.skips import listed
from tests.integration.bad_files import NUM_CELLS, NUM_GENES, cells, edges, prepared
from tests.integration.refusals import refused


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
    assert Prep.open(tmp_path / "sim").cells.num_features == 80


def test_size_factors_are_totals_before_genes_are_selected(tmp_path) -> None:
    source, network = cells(tmp_path), edges(tmp_path, [("GENE0", "GENE1")])
    out = ["--out", f"{tmp_path}/prep", "--genes", "hvg:5+tf+targets", "--grn", str(network)]
    assert run_app(app, ["counts", str(source), *out]) == 0
    prep = Prep.open(tmp_path / "prep")
    assert prep.cells.num_features < NUM_GENES
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
    assert run_app(app, ["counts", f"{tmp_path}/own.h5ad", "--out", f"{tmp_path}/prep"]) == 0
    assert "was replaced" in capsys.readouterr().out
    again = Prep.open(tmp_path / "prep")
    assert again.content_hash != first
    assert not again.has_grn


@listed("root", os.geteuid() == 0)
def test_unwritable_out(tmp_path, capsys) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    arguments = ["counts", cells(tmp_path), "--out", locked / "prep"]
    refused("cannot be written", *arguments, capsys=capsys, watch=tmp_path, program=app)


def test_the_real_program_ends_with_2_and_no_traceback(tmp_path) -> None:
    command = [sys.executable, "-m", "data_prep.cli", "counts", f"{tmp_path}/no.h5ad", "--out", f"{tmp_path}/prep"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: counts")
    assert done.stderr.count("\n") == 1
