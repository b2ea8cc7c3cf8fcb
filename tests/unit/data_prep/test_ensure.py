"""A recipe's prep block: made when missing, kept when nothing changed, made anew for every change that matters."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
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
from grn_cotrain.lock import folder_lock
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


def _more_cells(config: PrepConfig) -> str:
    data = anndata.read_h5ad(str(config.counts))[:5].copy()
    data.obs_names = [f"more{i}" for i in range(5)]
    path = Path(str(config.counts)).with_name("more.h5ad")
    data.write_h5ad(path)
    return str(path)


def _aliases(config: PrepConfig) -> str:
    path = Path(str(config.counts)).with_name("aliases.tsv")
    path.write_text("alias\tsymbol\nGENE29\tNEW29\n")
    return str(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: replace(config, splits=(*config.splits, SplitConfig(kind="random", seed=1))),
        lambda config: replace(config, genes="tf+targets"),
        lambda config: replace(config, species="human"),
        lambda config: replace(config, counts=(str(config.counts), _more_cells(config))),
        lambda config: replace(config, aliases=_aliases(config)),
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


_CHILD = """
import sys, time, logging
import data_prep.ensure as ensure
from grn_cotrain.recipe import PrepConfig
original = ensure.prepare_counts
def slow(*a, **k):
    open(sys.argv[3], "a").write("x")
    time.sleep(1.0)
    return original(*a, **k)
ensure.prepare_counts = slow
print(ensure.ensure_prep(PrepConfig(counts=sys.argv[1], join=sys.argv[4]), sys.argv[2]).content_hash)
"""


def _start(raw: Path, folder: Path, log: Path, join: str = "outer") -> subprocess.Popen:
    command = [sys.executable, "-c", _CHILD, f"{raw}/cells.h5ad", str(folder), str(log), join]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_prepare_one_folder_once(raw, tmp_path) -> None:
    folder, log = tmp_path / "out" / "prep", tmp_path / "log"
    children = [_start(raw, folder, log) for _ in range(2)]
    done = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], done
    assert done[0][0] == done[1][0] != ""
    assert log.read_text() == "x"
    assert [path.name for path in folder.parent.iterdir()] == ["prep"]  # the lock is gone


def test_a_process_that_is_killed_blocks_nobody(raw, tmp_path) -> None:
    folder, log = tmp_path / "out" / "prep", tmp_path / "log"
    child = _start(raw, folder, log)
    while not log.exists():
        time.sleep(0.05)
        assert child.poll() is None
    child.kill()
    child.communicate()
    assert not folder.exists()
    assert ensure_prep(PrepConfig(counts=f"{raw}/cells.h5ad"), folder).cells.num_cells == 15


def test_the_lock_is_held_by_one_at_a_time(tmp_path) -> None:
    with folder_lock(tmp_path / "prep") as waited:
        assert waited is False
        handle = os.open(tmp_path / ".prep.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    assert list(tmp_path.iterdir()) == []
