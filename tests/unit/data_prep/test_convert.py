"""Folders of format 1: refused with the command that converts them; converted, they are what they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.cli import app
from data_prep.convert import convert_prep
from data_prep.counts import prepare_counts
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.run import evaluate_run
from tests.format_one import write_format_one
from tests.unit.data_prep.test_mosaic import mosaic


@pytest.fixture
def old(tiny_world: Path, tmp_path: Path) -> Path:
    return write_format_one(tiny_world, tmp_path / "old")


def test_format_1_is_refused_with_the_command_that_converts_it(old: Path) -> None:
    with pytest.raises(UserError, match=r"has format 1, .*; convert it: grn-prep convert .*old --out NEW") as caught:
        Prep.open(old)
    assert "\n" not in str(caught.value)


def test_hashes_of_genes_network_and_splits_stay(old: Path, tiny_world: Path, tmp_path: Path) -> None:
    before, after = Prep.open(tiny_world), convert_prep(old, tmp_path / "new")
    assert after.content_hash == before.content_hash
    assert after.cells.content_hash == before.cells.content_hash
    assert after.grn.content_hash == before.grn.content_hash
    assert after.split_names() == before.split_names()
    for name in after.split_names():
        assert after.split(name).content_hash == before.split(name).content_hash
    pd.testing.assert_frame_equal(after.cells.obs, before.cells.obs)
    assert after.meta["notes"][-1] == "converted from format 1"
    assert {key: after.meta[key] for key in ("tfs", "source") if key in before.meta} == {
        key: before.meta[key] for key in ("tfs", "source") if key in before.meta
    }


def test_a_run_on_format_1_has_the_same_scores_on_the_converted_folder(
    old: Path, tiny_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    convert_prep(old, tmp_path / "new")
    first = evaluate_run(run, controls="degree_product,pearson").frame
    second = evaluate_run(run, controls="degree_product,pearson", prep=tmp_path / "new").frame
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))


def test_several_modalities_are_taken_apart(tmp_path: Path) -> None:
    before = prepare_counts(mosaic(tmp_path), tmp_path / "prep")
    after = convert_prep(write_format_one(tmp_path / "prep", tmp_path / "old"), tmp_path / "new")
    for name, assay in before.cells.assays.items():
        converted = after.cells.assays[name]
        assert converted.kind == assay.kind
        assert np.array_equal(converted.present_C, assay.present_C)
        rows = np.flatnonzero(assay.present_C)
        assert np.array_equal(converted.size_factor_C[rows], assay.size_factor_C[rows])
        assert (after.cells.normalised(rows, name) != before.cells.normalised(rows, name)).nnz == 0
    assert after.vocab.space("peak").intervals == before.vocab.space("peak").intervals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, out: (folder / "prep.json").unlink(), "holds no prep.json"),
        (lambda folder, out: (folder / "cells.h5ad").unlink(), "no such file"),
        (lambda folder, out: (folder / "cells.h5ad").write_bytes(b"x" * 99), "cells.h5ad"),
        (lambda folder, out: (folder / "grn.parquet").write_bytes(b"x"), "the network cannot be read"),
        (lambda folder, out: out.mkdir() or (out / "thesis.tex").write_text("years"), "other content"),
        (lambda folder, out: out.write_text("years"), "is a file"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_written(old: Path, tmp_path: Path, change, message) -> None:
    out = tmp_path / "new"
    change(old, out)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match=message) as caught:
        convert_prep(old, out)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_command_says_what_it_did(old: Path, tiny_world: Path, tmp_path: Path, capsys) -> None:
    assert run_app(app, ["convert", str(old), "--out", str(tmp_path / "new")]) == 0
    assert f"(hash {Prep.open(tiny_world).content_hash})" in capsys.readouterr().out
    assert run_app(app, ["convert", str(tiny_world), "--out", str(tmp_path / "other")]) == 2
    assert "has format 2" in capsys.readouterr().err
    assert run_app(app, ["convert", str(old), "--out", str(old)]) == 2
