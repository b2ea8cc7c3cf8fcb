"""Embedding an h5ad whose values stay on disk gives the file that reading it whole gives."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from grn_cotrain.apply import OpenRun
from grn_cotrain.data import rows, store
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export import annotated
from grn_cotrain.export.cells import embed_cells


@pytest.fixture
def cells(tiny_world: Path, tmp_path: Path) -> Path:
    """A user's file: other barcodes, an empty cell, a layer, an embedding, an entry of uns, shuffled genes."""
    adata = Prep.open(tiny_world).to_anndata()[:40].copy()
    adata = adata[:, np.random.default_rng(0).permutation(adata.n_vars)[:70]].copy()
    adata.obs_names = [f"user-{i}" for i in range(40)]
    X = adata.X.tolil()
    X[3] = 0
    adata.X = sparse.csr_matrix(X)
    adata.layers["twice"] = adata.X * 2
    adata.obsm["X_pca"] = np.arange(80.0).reshape(40, 2)
    adata.obs["label"] = ["a", "b"] * 20
    adata.uns["note"] = {"of": "the user"}
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def embedded(run: Path, cells: Path, out: Path, **options: Any) -> tuple[anndata.AnnData, list[str]]:
    lines: list[str] = []
    embed_cells(run, cells, out, say=lines.append, **options)
    return anndata.read_h5ad(out), [line.replace(str(out), "OUT") for line in lines]


def test_the_same_file_from_disk_and_from_memory(
    tiny_run: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cells.read_bytes()
    whole, said = embedded(tiny_run, cells, tmp_path / "whole.h5ad")
    monkeypatch.setattr(annotated, "PLACE", "backed")
    monkeypatch.setattr(rows, "BLOCK_VALUES", 100)
    monkeypatch.setattr(store, "BLOCK_VALUES", 100)
    assert OpenRun(tiny_run).read(cells, place="backed").rows is not None
    streamed, told = embedded(tiny_run, cells, tmp_path / "streamed.h5ad")
    assert told == said
    assert cells.read_bytes() == before
    pd.testing.assert_frame_equal(streamed.obs, whole.obs)
    pd.testing.assert_frame_equal(streamed.var, whole.var)
    assert (streamed.X != whole.X).nnz == 0
    assert (streamed.layers["twice"] != whole.layers["twice"]).nnz == 0
    assert set(streamed.obsm) == set(whole.obsm)
    for key in whole.obsm:
        np.testing.assert_array_equal(streamed.obsm[key], whole.obsm[key])
    assert streamed.uns["note"] == whole.uns["note"]
    np.testing.assert_equal(dict(streamed.uns["grn_cotrain"]), dict(whole.uns["grn_cotrain"]))
    embedding = streamed.obsm["X_grn_cotrain"]
    assert np.isnan(embedding[3]).all()
    assert np.isfinite(np.delete(embedding, 3, axis=0)).all()


def test_the_same_refusals(tiny_run: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = anndata.read_h5ad(cells)
    adata.var_names = [f"OTHER{i}" for i in range(adata.n_vars)]
    adata.var["gene_ids"] = ""
    adata.write_h5ad(tmp_path / "others.h5ad")
    said = []
    for place in ("memory", "backed"):
        monkeypatch.setattr(annotated, "PLACE", place)
        with pytest.raises(UserError) as error:
            embed_cells(tiny_run, tmp_path / "others.h5ad", tmp_path / "out.h5ad", say=lambda line: None)
        said.append(str(error.value))
        with pytest.raises(UserError, match="is there already"):
            embed_cells(tiny_run, cells, tmp_path / "out.h5ad", say=lambda line: None, key_added="X_pca")
        assert not (tmp_path / "out.h5ad").exists()
    assert said[0] == said[1]


def test_memory_does_not_grow_with_the_values(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of the file costs less than two bytes; in memory, its index and number alone take eight."""
    monkeypatch.setattr(annotated, "PLACE", "backed")
    monkeypatch.setattr(rows, "BLOCK_VALUES", 20_000)
    monkeypatch.setattr(store, "BLOCK_VALUES", 20_000)
    names = list(OpenRun(tiny_run).vocab.symbols)
    more = [f"OTHER{i}" for i in range(900)]  # values that the model does not know are streamed too
    peaks, values = [], []
    for number in (60, 600):
        X = sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (number, len(names) + 900)).astype(np.float32))
        obs = pd.DataFrame(index=[f"u{i}" for i in range(number)])
        adata = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=names + more))
        adata.write_h5ad(tmp_path / f"{number}.h5ad")
        embed_cells(tiny_run, tmp_path / f"{number}.h5ad", tmp_path / "out.h5ad", say=lambda line: None)
        tracemalloc.start()
        try:
            embed_cells(tiny_run, tmp_path / f"{number}.h5ad", tmp_path / "out.h5ad", say=lambda line: None)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        values.append(X.nnz)
    assert (peaks[1] - peaks[0]) / (values[1] - values[0]) < 2.0, (peaks, values)
