"""A recipe's prep block: made when missing, kept when nothing changed, made anew for every change that matters."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import data_prep.ensure
from data_prep.ensure import ensure_prep
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import PrepConfig, SplitConfig


@pytest.fixture
def raw(tmp_path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    X = np.random.default_rng(0).poisson(2.0, (15, 30)).astype(np.float32)
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(30)])
    anndata.AnnData(X, var=var, obs=pd.DataFrame(index=[f"c{i}" for i in range(15)])).write_h5ad(folder / "cells.h5ad")
    pairs = "".join(f"GENE{a}\tGENE{b}\n" for a in range(6) for b in range(8, 20))
    (folder / "edges.tsv").write_text("source\ttarget\n" + pairs)
    return folder


@pytest.fixture
def config(raw: Path) -> PrepConfig:
    return PrepConfig(counts=str(raw / "cells.h5ad"), grn=str(raw / "edges.tsv"), splits=(SplitConfig(kind="random"),))


@pytest.fixture
def prepared(monkeypatch) -> list[str]:
    """Calls of prepare_counts, which still runs."""
    calls: list[str] = []
    original = data_prep.ensure.prepare_counts
    monkeypatch.setattr(data_prep.ensure, "prepare_counts", lambda *a, **k: (calls.append("x"), original(*a, **k))[1])
    return calls


def test_made_once_with_network_and_splits(config, tmp_path, prepared) -> None:
    prep = ensure_prep(config, tmp_path / "prep")
    assert prep.split_names() == ["random-seed0"]
    assert prep.grn.num_edges == 72
    assert ensure_prep(config, tmp_path / "prep").content_hash == prep.content_hash
    assert prepared == ["x"]


def test_moving_or_touching_the_raw_files_makes_nothing_stale(config, raw, tmp_path, prepared) -> None:
    ensure_prep(config, tmp_path / "prep")
    os.utime(raw / "cells.h5ad", (1, 1))
    ensure_prep(config, tmp_path / "prep")
    moved = tmp_path / "moved"
    shutil.move(raw, moved)
    ensure_prep(replace(config, counts=f"{moved}/cells.h5ad", grn=f"{moved}/edges.tsv"), tmp_path / "prep")
    assert prepared == ["x"]


def _longer_edges(config: PrepConfig) -> PrepConfig:
    with open(str(config.grn), "a") as file:
        file.write("GENE9\tGENE1\n")
    return config


def _same_size_edges(config: PrepConfig) -> PrepConfig:
    path = Path(str(config.grn))
    path.write_text(path.read_text().replace("GENE0\tGENE8\n", "GENE0\tGENE7\n"))
    os.utime(path, (2, 2))
    return config


@pytest.mark.parametrize(
    "change",
    [
        lambda config: replace(config, splits=(*config.splits, SplitConfig(kind="random", seed=1))),
        lambda config: replace(config, genes="tf+targets"),
        lambda config: replace(config, species="human"),
        _longer_edges,
        _same_size_edges,
    ],
)
def test_every_change_that_matters_prepares_anew(config, tmp_path, prepared, change) -> None:
    before = ensure_prep(config, tmp_path / "prep")
    names, content = before.split_names(), before.content_hash
    after = ensure_prep(change(config), tmp_path / "prep")
    assert prepared == ["x", "x"]
    assert (after.split_names(), after.content_hash) != (names, content)


def test_a_new_version_of_the_preparation_prepares_anew(config, tmp_path, prepared, monkeypatch) -> None:
    ensure_prep(config, tmp_path / "prep")
    monkeypatch.setattr(data_prep.ensure, "PREPARATION_VERSION", 99)
    ensure_prep(config, tmp_path / "prep")
    assert prepared == ["x", "x"]


def test_failure_keeps_the_earlier_folder(config, tmp_path) -> None:
    before = ensure_prep(config, tmp_path / "prep").content_hash
    with pytest.raises(UserError, match="needs a number"):
        ensure_prep(replace(config, genes="hvg:x"), tmp_path / "prep")
    with pytest.raises(UserError, match="train: a published split needs it"):
        ensure_prep(replace(config, splits=(SplitConfig(kind="published"),)), tmp_path / "prep")
    assert Prep.open(tmp_path / "prep").content_hash == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prep", "raw"]


def test_missing_raw_file_is_named(config, tmp_path) -> None:
    with pytest.raises(UserError, match=r"gone\.h5ad' does not exist"):
        ensure_prep(replace(config, counts=str(tmp_path / "gone.h5ad")), tmp_path / "prep")


def test_foreign_folder_is_not_touched(config, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="other content"):
        ensure_prep(config, tmp_path / "mine")
