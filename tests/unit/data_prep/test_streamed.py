"""Preparing a matrix that stays on disk gives what preparing it in memory gives, in memory that does not grow with it.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import gc
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from data_prep import counts as counting
from data_prep.counts import prepare_counts
from grn_cotrain.data import rows, store
from grn_cotrain.data.io import stored_rows, turned_rows
from grn_cotrain.data.io.counts import load_counts
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError


def cells(num_cells: int = 60, num_genes: int = 40, *, change: Any = None) -> anndata.AnnData:
    draws = np.random.default_rng(3)
    X = draws.poisson(0.8, (num_cells, num_genes)).astype(np.float32)
    X[7] = 0  # an empty cell
    if change is not None:
        X = change(X)
    names = [f"GENE{i}" for i in range(num_genes)]
    names[5], names[9] = "ERCC-00002", "MT-CO1"
    obs = pd.DataFrame({"donor": draws.choice(["a", "b"], num_cells)}, index=[f"c{i}" for i in range(num_cells)])
    return anndata.AnnData(sparse.csr_matrix(X), obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_VALUES", 300)
    monkeypatch.setattr(store, "BLOCK_VALUES", 300)
    monkeypatch.setattr(turned_rows, "_CHUNK", 200)


def both(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Prep, Prep]:
    """The same file, prepared in memory and from disk."""
    made = []
    for place in ("memory", "backed"):
        monkeypatch.setattr(counting, "PLACE", place)
        made.append(prepare_counts(path, folder / place, **options))
    return made[0], made[1]


def assert_equal(one: Prep, other: Prep) -> None:
    first, second = dict(one.meta), dict(other.meta)
    assert {**first, "files": 0} == {**second, "files": 0}
    assert one.vocab.content_hash == other.vocab.content_hash
    assert one.alignment == other.alignment
    assert one.store("memory").content_hash == other.store("memory").content_hash
    for name, assay in one.cells.assays.items():
        np.testing.assert_array_equal(assay.size_factor_C, other.cells.assays[name].size_factor_C)
        values = [prep.folder / "assays" / name / "values.h5ad" for prep in (one, other)]
        with h5py.File(values[0]) as a, h5py.File(values[1]) as b:
            for part in ("data", "indices", "indptr"):
                assert a["X"][part].dtype == b["X"][part].dtype
                np.testing.assert_array_equal(a["X"][part][:], b["X"][part][:])
    pd.testing.assert_frame_equal(one.cells.obs, other.cells.obs)
    assert other.to_anndata().shape == one.to_anndata().shape


def as_types(adata: anndata.AnnData) -> anndata.AnnData:
    adata.var["feature_types"] = ["Gene Expression"] * 30 + ["Antibody Capture"] * 10
    return adata


def with_layer(adata: anndata.AnnData) -> anndata.AnnData:
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.copy()
    adata.X.data = np.log1p(adata.X.data)
    return adata


def with_raw(adata: anndata.AnnData) -> anndata.AnnData:
    adata.raw = adata.copy()
    adata = adata[:, :20].copy()
    adata.X.data = np.log1p(adata.X.data)
    return adata


def with_factors(adata: anndata.AnnData) -> anndata.AnnData:
    adata.obs["size_factor"] = np.asarray(adata.X.sum(axis=1)).ravel() / 30 + 0.01
    return adata


def with_zeros(adata: anndata.AnnData) -> anndata.AnnData:
    adata.X.data[::5] = 0
    return adata


def dense(adata: anndata.AnnData) -> anndata.AnnData:
    adata.X = adata.X.toarray()
    return adata


def by_column(adata: anndata.AnnData) -> anndata.AnnData:
    adata.X = adata.X.tocsc()
    for name in adata.layers:
        adata.layers[name] = adata.layers[name].tocsc()
    return adata


def ensembl_twice(adata: anndata.AnnData) -> anndata.AnnData:
    names = list(adata.var_names)
    names[3] = names[2]
    adata.var_names = names
    adata.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    return adata


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda adata: adata, {}),
        (with_layer, {"layer": "counts"}),
        (with_layer, {}),
        (with_raw, {"layer": "raw"}),
        (as_types, {}),
        (as_types, {"modality": "rna"}),
        (with_factors, {}),
        (with_zeros, {}),
        (ensembl_twice, {}),
        (dense, {}),
        (by_column, {}),
        (lambda adata: by_column(with_layer(adata)), {"layer": "counts"}),
        (lambda adata: dense(with_layer(adata)), {"layer": "counts"}),
        (lambda adata: adata, {"genes": "hvg:10"}),
    ],
)
def test_the_same_folder_from_disk_and_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, options: dict[str, Any], suffix: str
) -> None:
    path = tmp_path / f"cells.{suffix}"
    adata = change(cells())
    adata.write_h5ad(path) if suffix == "h5ad" else adata.write_zarr(path)
    assert load_counts(path, options.get("layer"), place="backed").rows is not None
    assert_equal(*both(path, tmp_path, monkeypatch, **options))


@pytest.mark.parametrize("suffix", ["h5mu", "zarr"])
@pytest.mark.parametrize("options", [{}, {"modality": "rna"}, {"layer": "counts"}])
def test_modalities_with_different_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, options: dict[str, Any]
) -> None:
    """One modality lacks some cells and has one more; one is an array; both come in another order."""
    import mudata

    rna, prot = cells()[:50].copy(), cells(num_genes=12)[5:][::-1].copy()
    prot.var_names = [f"CD{i}" for i in range(1, 13)]
    rna.layers["counts"] = rna.X.copy()
    prot.X = prot.X.toarray()
    path = tmp_path / f"cells.{suffix}"
    data = mudata.MuData({"rna": rna, "prot": prot})
    data.write_h5mu(path) if suffix == "h5mu" else data.write_zarr(path)
    assert load_counts(path, options.get("layer"), modality=options.get("modality"), place="backed").rows is not None
    assert_equal(*both(path, tmp_path, monkeypatch, **options))


@pytest.mark.parametrize("join", ["outer", "inner"])
@pytest.mark.parametrize("change", [as_types, dense, with_factors])
def test_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: str, change: Any) -> None:
    """One on disk and an array, one that only memory can hold; they share some genes and some names of cells."""
    change(cells()).write_h5ad(tmp_path / "one.h5ad")
    other = cells(50, 30)
    other.var_names = [f"GENE{i + 20}" for i in range(30)]
    other.write_zarr(tmp_path / "two.zarr")
    pd.DataFrame(other.X.toarray(), index=[f"t{i}" for i in range(50)], columns=other.var_names).to_csv(
        tmp_path / "three.csv", index_label="cell"
    )
    files = [tmp_path / name for name in ("one.h5ad", "two.zarr", "three.csv")]
    made = []
    for place in ("memory", "backed"):
        monkeypatch.setattr(counting, "PLACE", place)
        made.append(prepare_counts(files, tmp_path / place, join=join))
    assert_equal(*made)


def test_several_files_stay_on_disk_if_they_are_large_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        cells().write_h5ad(tmp_path / f"{name}.h5ad")
    files = [tmp_path / "one.h5ad", tmp_path / "two.h5ad"]
    size = sum(file.stat().st_size for file in files)
    for most, expected in ((size, "auto"), (size - 1, "backed")):
        monkeypatch.setattr(counting, "IN_MEMORY_VALUES", most)
        assert counting._place(files) == expected


def test_selected_genes_and_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells().write_h5ad(tmp_path / "cells.h5ad")
    edges = tmp_path / "edges.tsv"
    edges.write_text("source\ttarget\nGENE1\tGENE2\nGENE1\tGENE3\nGENE4\tGENE8\n")
    one, other = both(tmp_path / "cells.h5ad", tmp_path, monkeypatch, genes="tf+targets", grn=edges)
    assert other.vocab.symbols == ("GENE1", "GENE2", "GENE3", "GENE4", "GENE8")
    assert_equal(one, other)


def nan(X: np.ndarray) -> np.ndarray:
    X[50, 1] = np.nan
    X[51, :2] = np.nan
    return X


def negative(X: np.ndarray) -> np.ndarray:
    X[50, 1:3] = -1
    return X


def fractions(X: np.ndarray) -> np.ndarray:
    return np.where(X > 1, X + 0.3, X)


def normalised(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(X.sum(axis=1, keepdims=True), 1) * 1e4


@pytest.mark.parametrize("change", [nan, negative, fractions, normalised, np.zeros_like])
def test_the_same_refusal(tmp_path: Path, change: Any) -> None:
    cells(change=change).write_h5ad(tmp_path / "cells.h5ad")
    said = []
    for place in ("memory", "backed"):
        with pytest.raises(UserError) as error:
            load_counts(tmp_path / "cells.h5ad", place=place)  # type: ignore[arg-type]
        said.append(str(error.value))
    assert said[0] == said[1]


def reversed_rows(file: h5py.File) -> None:
    """Indices of the first row in descending order."""
    last = file["X/indptr"][1]
    for name in ("indices", "data"):
        file[f"X/{name}"][:last] = file[f"X/{name}"][:last][::-1]


def out_of_range(file: h5py.File) -> None:
    file["X/indices"][4] = 4_000


def twice(file: h5py.File) -> None:
    file["X/indices"][1] = file["X/indices"][0]


@pytest.mark.parametrize("stored", [lambda adata: adata, by_column])
@pytest.mark.parametrize("change", [reversed_rows, out_of_range, twice])
def test_what_is_not_in_order_is_read_whole(
    tmp_path: Path, change: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turned_rows, "_CHUNK", 7)
    path = tmp_path / "cells.h5ad"
    stored(cells()).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    found: list[Any] = []
    for place in ("memory", "backed"):
        try:
            read = load_counts(path, place=place)  # type: ignore[arg-type]
            found.append((read.notes, read.rows, read.adata.X.toarray().tolist()))
        except UserError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["n_counts", "my_score", "total_of_all"])
def test_annotation_among_the_features_is_read_whole(tmp_path: Path, name: str) -> None:
    adata = cells()
    X = adata.X.toarray()
    X[:, 3] = np.arange(60) + 0.5 if name == "my_score" else X.sum(axis=1) - X[:, 3]
    adata.X = sparse.csr_matrix(X)
    adata.var_names = [name if i == 3 else symbol for i, symbol in enumerate(adata.var_names)]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    found = []
    for place in ("memory", "backed"):
        try:
            read = load_counts(tmp_path / "cells.h5ad", place=place)  # type: ignore[arg-type]
            found.append(str((read.notes, read.rows, list(read.adata.obs.columns))))
        except UserError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_the_size_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells().write_h5ad(tmp_path / "cells.h5ad")
    assert load_counts(tmp_path / "cells.h5ad", place="auto").rows is None
    monkeypatch.setattr(stored_rows, "IN_MEMORY_VALUES", 10)
    assert load_counts(tmp_path / "cells.h5ad", place="auto").rows is not None
    assert load_counts(tmp_path / "cells.h5ad").rows is None


def test_turned_rows_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_column(cells()).write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    read = load_counts(tmp_path / "cells.h5ad", place="backed")
    assert read.rows is not None
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    part = read.rows.take(np.array([3, 1]))
    del read
    gc.collect()
    np.testing.assert_array_equal(part.read(np.array([1])).toarray()[0], cells().X[1].toarray()[0])
    del part
    gc.collect()
    assert list((tmp_path / "scratch").iterdir()) == []


def peak(path: Path, out: Path) -> int:
    tracemalloc.start()
    try:
        prepare_counts(path, out)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_memory_does_not_grow_with_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    """Values of twelve times as many cells cost less than two bytes each; in memory, a value costs more than 8."""
    monkeypatch.setattr(turned_rows, "_CHUNK", 20_000)
    monkeypatch.setattr(counting, "PLACE", "backed")
    monkeypatch.setattr(rows, "BLOCK_VALUES", 20_000)
    monkeypatch.setattr(store, "BLOCK_VALUES", 20_000)
    sizes, peaks = (200, 2_400), []
    for number in sizes:
        draws = np.random.default_rng(0)
        X = form(draws.poisson(2.0, (number, 400)).astype(np.float32))
        obs = pd.DataFrame(index=[f"c{i}" for i in range(number)])
        adata = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(400)]))
        adata.write_h5ad(tmp_path / f"{number}.h5ad")
        peak(tmp_path / f"{number}.h5ad", tmp_path / "warm")
        peaks.append(peak(tmp_path / f"{number}.h5ad", tmp_path / "prep"))
        values = json.loads((tmp_path / "prep" / "prep.json").read_text())["num_values"]
    per_value = (peaks[1] - peaks[0]) / (values * (1 - sizes[0] / sizes[1]))
    assert per_value < 2.0, (peaks, per_value)
