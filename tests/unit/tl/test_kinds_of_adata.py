"""``tl`` on every kind of AnnData that users have: backed, a view, other sparse classes; others end in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import grn_cotrain as gc
from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.io.format_anndata import MemorySource, read_anndata
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError

KEY = "X_grn_cotrain"


@pytest.fixture(scope="module")
def path(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    adata = Prep.open(tiny_world).to_anndata()[:20].copy()
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    file = tmp_path_factory.mktemp("kinds") / "cells.h5ad"
    adata.write_h5ad(file)
    return file


@pytest.fixture(scope="module")
def expected(path: Path, tiny_run: Path) -> np.ndarray:
    adata = anndata.read_h5ad(path)
    gc.tl.embed_cells(adata, tiny_run)
    return np.asarray(adata.obsm[KEY])


def with_X(path: Path, change: Callable[[Any], Any]) -> anndata.AnnData:
    adata = anndata.read_h5ad(path)
    adata.X = change(adata.X)
    return adata


WORK: dict[str, tuple[Callable[[Path], anndata.AnnData], slice]] = {
    "backed": (lambda p: anndata.read_h5ad(p, backed="r"), slice(None)),
    "view": (lambda p: anndata.read_h5ad(p)[5:15], slice(5, 15)),
    "view of genes and cells": (lambda p: anndata.read_h5ad(p)[5:15, :], slice(5, 15)),
    "CSC of int64": (lambda p: with_X(p, lambda X: sparse.csc_matrix(X).astype(np.int64)), slice(None)),
    "sparse array": (lambda p: with_X(p, sparse.csr_array), slice(None)),
    "dense float64": (lambda p: with_X(p, lambda X: X.toarray().astype(np.float64)), slice(None)),
    "dense int32 in Fortran order": (lambda p: with_X(p, lambda X: np.asfortranarray(X.toarray(), "i4")), slice(None)),
}


@pytest.mark.parametrize("kind", WORK)
@pytest.mark.filterwarnings("ignore::anndata.ImplicitModificationWarning")
def test_embeddings_are_the_same(kind: str, path: Path, tiny_run: Path, expected: np.ndarray) -> None:
    make, rows = WORK[kind]
    adata = make(path)
    gc.tl.embed_cells(adata, tiny_run)
    np.testing.assert_allclose(adata.obsm[KEY], expected[rows], atol=1e-6)
    gc.tl.embed_genes(adata, tiny_run)
    assert adata.varm["grn_cotrain"].shape[0] == adata.n_vars


@pytest.mark.parametrize("layer", ["counts", "raw"])
def test_layers_and_raw_of_a_backed_object(layer: str, path: Path, tiny_run: Path, expected: np.ndarray) -> None:
    adata = anndata.read_h5ad(path, backed="r")
    gc.tl.embed_cells(adata, tiny_run, layer=layer)
    np.testing.assert_allclose(adata.obsm[KEY], expected, atol=1e-6)
    assert adata.isbacked


def test_a_dense_backed_matrix(path: Path, tiny_run: Path, expected: np.ndarray, tmp_path: Path) -> None:
    with_X(path, lambda X: X.toarray()).write_h5ad(tmp_path / "dense.h5ad")
    adata = anndata.read_h5ad(tmp_path / "dense.h5ad", backed="r")
    gc.tl.embed_cells(adata, tiny_run)
    np.testing.assert_allclose(adata.obsm[KEY], expected, atol=1e-6)


def test_a_copy_of_a_backed_object_is_in_memory(path: Path, tiny_run: Path, expected: np.ndarray) -> None:
    backed = anndata.read_h5ad(path, backed="r")
    for adata, rows in ((backed, slice(None)), (backed[2:9], slice(2, 9))):
        made = gc.tl.embed_cells(adata, tiny_run, copy=True)
        assert made is not None
        assert not made.isbacked
        np.testing.assert_allclose(made.obsm[KEY], expected[rows], atol=1e-6)
        assert KEY not in adata.obsm


def test_a_view_of_a_backed_object_cannot_take_results(path: Path, tiny_run: Path) -> None:
    view = anndata.read_h5ad(path, backed="r")[2:9]
    for tool in (gc.tl.embed_cells, gc.tl.embed_genes):
        with pytest.raises(UserError, match=r"is a view of an AnnData whose X is in a file.*adata\.to_memory\(\)"):
            tool(view, tiny_run)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("tool", [gc.tl.embed_cells, gc.tl.embed_genes, gc.tl.annotate, gc.tl.generate])
def test_other_objects_end_in_one_line(tool: Callable[..., Any], path: Path, tiny_run: Path) -> None:
    import mudata

    given = {
        r"is a MuData of rna, prot; give one modality: mdata\.mod\['rna'\]": mudata.MuData(
            {"rna": anndata.read_h5ad(path), "prot": anndata.AnnData(np.ones((2, 2)))}
        ),
        "is a DataFrame; give an AnnData": pd.DataFrame({"a": [1]}),
        r"is a PosixPath; read it first: anndata\.read_h5ad": path,
        "is a NoneType; give an AnnData": None,
    }
    for message, adata in given.items():
        with pytest.raises(UserError, match=message):
            tool(adata, tiny_run)


def test_perturb_refuses_other_objects(path: Path, tiny_run: Path) -> None:
    with pytest.raises(UserError, match="is a str; read it first"):
        gc.tl.perturb(str(path), tiny_run, "STAT1")


def test_repeated_names_and_an_empty_X_end_in_one_line(path: Path, tiny_run: Path) -> None:
    adata = anndata.read_h5ad(path)
    adata.obs_names = ["same"] * adata.n_obs
    with pytest.raises(UserError, match=r"1 cell names occur more than once \(same\); make them unique"):
        gc.tl.embed_cells(adata, tiny_run)
    empty = anndata.AnnData(obs=adata.obs.copy(), var=adata.var.copy())
    with pytest.raises(UserError, match="adata: X is empty"):
        gc.tl.embed_cells(empty, tiny_run)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_that_are_not_computed_or_masked_are_refused(path: Path, tiny_run: Path) -> None:
    adata = anndata.read_h5ad(path, backed="r")
    source = MemorySource(SimpleNamespace(X=_Lazy(), layers={}, raw=None, obs=adata.obs, var=adata.var, obsm={}))
    with pytest.raises(UserError, match=r"adata: X: is a .* _Lazy; .*adata\.X\.compute\(\)"):
        read_anndata(source, None, "adata")
    masked = SimpleNamespace(
        X=np.ma.masked_array(np.ones(adata.shape), mask=False),
        layers={},
        raw=None,
        obs=adata.obs,
        var=adata.var,
        obsm={},
    )
    with pytest.raises(UserError, match=r"MaskedArray; fill its masked values first"):
        read_anndata(MemorySource(masked), None, "adata")


class _Lazy:
    """As dask's arrays: of a shape, with values that are computed on demand."""

    shape = (20, 80)

    def compute(self) -> np.ndarray:
        return np.ones(self.shape)


def test_a_view_and_its_parent_are_not_changed_by_reading(path: Path) -> None:
    parent = anndata.read_h5ad(path)
    view = parent[3:9]
    before = parent.X.copy()
    counts = counts_from_anndata(view)
    assert view.is_view
    assert (before != parent.X).nnz == 0
    counts.adata.X.data[:] = 7
    assert (before != parent.X).nnz == 0
