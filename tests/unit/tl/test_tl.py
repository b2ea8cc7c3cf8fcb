"""``tl``: documented keys are added, nothing else of the caller's AnnData changes, and importing it is light."""

from __future__ import annotations

import hashlib
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

import grn_cotrain as gc
from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.cells import cell_embeddings
from grn_cotrain.export.genes import gene_embeddings


@pytest.fixture
def adata(tiny_world: Path) -> anndata.AnnData:
    """Twenty cells of the tiny world with all that a user hangs on an AnnData."""
    adata = Prep.open(tiny_world).to_anndata()[:20].copy()
    adata.layers["counts"] = adata.X.copy()
    adata.obsm["X_umap"] = np.ones((20, 2))
    adata.varm["loadings"] = np.ones((80, 2))
    adata.obsp["distances"] = np.eye(20)
    adata.raw = adata.copy()
    return adata


def digest(value: object) -> str:
    """Of an array, a sparse matrix, a table or a plain value, to the bit."""
    if hasattr(value, "indptr"):
        value = (value.data, value.indices, value.indptr)  # type: ignore[attr-defined]
    return hashlib.sha256(pickle.dumps(value)).hexdigest()


def everything(adata: anndata.AnnData) -> dict[str, str]:
    """Digest of every part by name."""
    parts: dict[str, object] = {"X": adata.X, "obs": adata.obs, "var": adata.var, "raw": adata.raw.X}
    for slot in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        parts |= {f"{slot}/{key}": getattr(adata, slot)[key] for key in getattr(adata, slot)}
    return {name: digest(part) for name, part in parts.items()}


def test_documented_keys_are_added_and_nothing_else_changes(adata: anndata.AnnData, tiny_run: Path) -> None:
    before = everything(adata)
    assert gc.tl.embed_cells(adata, tiny_run, layer="counts") is None
    assert gc.tl.embed_genes(adata, tiny_run) is None
    after = everything(adata)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"obsm/X_grn_cotrain", "varm/grn_cotrain", "uns/grn_cotrain"}
    assert set(adata.uns["grn_cotrain"]) == {"X_grn_cotrain", "grn_cotrain"}
    expected_CD = cell_embeddings(tiny_run, counts_from_anndata(adata)).values_CD
    np.testing.assert_array_equal(adata.obsm["X_grn_cotrain"], expected_CD)
    np.testing.assert_array_equal(adata.varm["grn_cotrain"], gene_embeddings(tiny_run).matrix())
    for key in ("X_grn_cotrain", "grn_cotrain"):
        about = adata.uns["grn_cotrain"][key]
        assert about["run"] == "tiny"
        assert about["recipe_hash"]
        assert about["vocab_hash"]


def test_a_change_would_be_seen(adata: anndata.AnnData) -> None:
    before = everything(adata)
    adata.X.data[0] += 1
    adata.obs["new"] = 1
    assert {name for name, value in everything(adata).items() if value != before[name]} == {"X", "obs"}


def test_copy_leaves_the_object_and_returns_another(adata: anndata.AnnData, tiny_run: Path) -> None:
    before = everything(adata)
    cells = gc.tl.embed_cells(adata, tiny_run, key_added="X_mine", copy=True)
    genes = gc.tl.embed_genes(adata, tiny_run, kind="static", key_added="mine", copy=True)
    assert everything(adata) == before
    assert cells is not None
    assert genes is not None
    assert cells.obsm["X_mine"].shape == (20, 16)
    assert genes.varm["mine"].shape == (80, 16)
    assert genes.uns["grn_cotrain"]["mine"]["kind"] == "static"
    np.testing.assert_array_equal(genes.varm["mine"], gene_embeddings(tiny_run, kind="static").matrix())


def test_existing_keys_are_refused_unless_told(adata: anndata.AnnData, tiny_run: Path) -> None:
    adata.obsm["X_grn_cotrain"] = np.zeros((20, 3))
    adata.varm["grn_cotrain"] = np.zeros((80, 3))
    before = everything(adata)
    with pytest.raises(UserError, match="obsm 'X_grn_cotrain': is there already"):
        gc.tl.embed_cells(adata, tiny_run)
    with pytest.raises(UserError, match="varm 'grn_cotrain': is there already"):
        gc.tl.embed_genes(adata, tiny_run)
    with pytest.raises(UserError, match="is there already"):
        gc.tl.embed_genes(adata, tiny_run, copy=True)
    assert everything(adata) == before
    gc.tl.embed_cells(adata, tiny_run, overwrite=True)
    gc.tl.embed_genes(adata, tiny_run, overwrite=True)
    assert adata.obsm["X_grn_cotrain"].shape == (20, 16)


def test_failures_leave_the_object_as_it_was(adata: anndata.AnnData, tiny_run: Path, tmp_path: Path) -> None:
    adata.var_names = [f"OTHER{i}" for i in range(80)]
    before = everything(adata)
    with pytest.raises(UserError, match="min_mapped"):
        gc.tl.embed_cells(adata, tiny_run)
    with pytest.raises(UserError, match="none of 80"):
        gc.tl.embed_genes(adata, tiny_run)
    with pytest.raises(UserError, match="no run folder"):
        gc.tl.embed_cells(adata, tmp_path)
    with pytest.raises(UserError, match="choose from static"):
        gc.tl.embed_genes(adata, tiny_run, kind="statik")
    with pytest.raises(UserError, match="no such layer"):
        gc.tl.embed_cells(adata, tiny_run, layer="cuonts")
    assert everything(adata) == before


def test_empty_cells_keep_nan_rows_and_are_said(
    adata: anndata.AnnData, tiny_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = adata.X.toarray()
    values[4] = 0
    adata.X = values
    with caplog.at_level(logging.INFO, logger="grn_cotrain"):
        gc.tl.embed_cells(adata, tiny_run)
    assert np.isnan(adata.obsm["X_grn_cotrain"][4]).all()
    assert np.isfinite(np.delete(adata.obsm["X_grn_cotrain"], 4, axis=0)).all()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(str(adata.obs_names[4]) in text and "NaN" in text for text in warned)
    assert any("80 of 80 mapped" in record.getMessage() for record in caplog.records)


def test_groups_of_cells_and_tables_from_files(adata: anndata.AnnData, tiny_run: Path, tmp_path: Path) -> None:
    gc.tl.embed_genes(adata, tiny_run, kind="contextual", by="cell_type", key_added="gc")
    groups = [key for key in adata.varm if key.startswith("gc_")]
    assert len(groups) > 1
    assert {adata.uns["grn_cotrain"][key]["group"] for key in groups} == {key[3:] for key in groups}
    first = str(adata.var_names[0])
    (tmp_path / "aliases.tsv").write_text(f"symbol\talias\n{first}\tFORMER-NAME\n")
    renamed = adata.copy()
    renamed.var_names = ["FORMER-NAME", *adata.var_names[1:]]
    gc.tl.embed_cells(renamed, tiny_run, aliases=tmp_path / "aliases.tsv")
    gc.tl.embed_cells(adata, tiny_run)
    np.testing.assert_allclose(renamed.obsm["X_grn_cotrain"], adata.obsm["X_grn_cotrain"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("statement", ["import grn_cotrain", "import grn_cotrain as gc; gc.tl; gc.tl.embed_cells"])
def test_importing_loads_neither_torch_nor_scanpy(statement: str) -> None:
    check = (
        f"{statement}; import sys; print([m for m in ('torch', 'scanpy', 'anndata', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_offers_its_parts_lazily() -> None:
    from grn_cotrain.door import CoTrainModel

    assert gc.CoTrainModel is CoTrainModel
    assert set(gc.__all__) <= set(dir(gc))
    for name in ("hub", "pl", "tl"):
        assert getattr(gc, name).__name__ == f"grn_cotrain.{name}"
    with pytest.raises(AttributeError, match="no attribute 'tools'"):
        gc.tools  # noqa: B018


def test_functions_stay_functions_whatever_is_imported_first() -> None:
    """A submodule named like its function must not take the function's place."""
    check = (
        "import grn_cotrain.tl.embed_cells, grn_cotrain.tl.embed_genes; import grn_cotrain as gc;"
        "print(callable(gc.tl.embed_cells), callable(gc.tl.embed_genes), all(map(callable, (getattr(gc.tl, n) for n in"
        " gc.tl.__all__))))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
