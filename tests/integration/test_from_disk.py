"""Jobs on values that stay on disk give the results of values in memory, and read few cells at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data import rows, store
from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.io import stored_rows
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.rows import StoredRows
from grn_cotrain.export.generate import generate_file
from grn_cotrain.export.perturb import perturb_file
from grn_cotrain.finetune.run import finetune_run
from grn_cotrain.jobs.finetune import FinetuneConfig

NUM_CELLS = 300


@pytest.fixture
def cells(tiny_world: Path, tmp_path: Path) -> Path:
    whole = Prep.open(tiny_world).to_anndata()
    obs = pd.DataFrame({"type": ["a", "b", "c"] * 100}, index=[f"user-{i}" for i in range(NUM_CELLS)])
    adata = anndata.AnnData(whole.X[np.arange(NUM_CELLS) % whole.n_obs], obs=obs, var=whole.var)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def on_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep values on disk; returns how many cells each read asks for."""
    monkeypatch.setattr(stored_rows, "IN_MEMORY_VALUES", 10)
    for module in (rows, store):
        monkeypatch.setattr(module, "BLOCK_VALUES", 1_000)
    asked: list[int] = []
    read = StoredRows.read

    def counted(self: StoredRows, index_B: np.ndarray) -> Any:
        asked.append(len(index_B))
        return read(self, index_B)

    monkeypatch.setattr(StoredRows, "read", counted)
    monkeypatch.setattr(BackedStore, "take", lambda *_: pytest.fail("cells are taken into memory"))
    return asked


def test_perturbing(tiny_run: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gene = anndata.read_h5ad(cells).var_names[3]
    options: dict[str, Any] = {"max_cells": 50, "num_controls": 4, "say": lambda line: None}
    whole = perturb_file(tiny_run, cells, [gene], tmp_path / "whole.tsv", **options)
    asked = on_disk(monkeypatch)
    found = perturb_file(tiny_run, cells, [gene], tmp_path / "disk.tsv", **options)
    pd.testing.assert_frame_equal(found.genes, whole.genes)
    pd.testing.assert_frame_equal(found.cells, whole.cells)
    rounded = {key: pytest.approx(value) if isinstance(value, float) else value for key, value in whole.summary.items()}
    assert found.summary == rounded
    assert asked
    assert max(asked) <= NUM_CELLS / 2


def test_generating(tiny_run: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    whole = generate_file(tiny_run, cells, tmp_path / "whole.h5ad", say=lambda line: None)
    on_disk(monkeypatch)
    found = generate_file(tiny_run, cells, tmp_path / "disk.h5ad", say=said.append)
    assert (found.X != whole.X).nnz == 0
    for name, layer in whole.layers.items():
        assert (found.layers[name] != layer).nnz == 0
    pd.testing.assert_frame_equal(found.obs, whole.obs)
    assert any("the result is held in memory, about 0.0 GiB" in line for line in said)


def test_fine_tuning(tiny_run: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"label": "type", "bootstrap": 0, "say": lambda line: None}
    config = FinetuneConfig(epochs=1)
    whole = finetune_run(tiny_run, cells, tmp_path / "whole", config=config, **options)
    asked = on_disk(monkeypatch)
    found = finetune_run(tiny_run, cells, tmp_path / "disk", config=config, **options)
    pd.testing.assert_frame_equal(found.scores.drop(columns="seconds"), whole.scores.drop(columns="seconds"))
    pd.testing.assert_frame_equal(found.per_class, whole.per_class)
    assert asked
