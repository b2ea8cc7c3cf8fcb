"""One wrong entry of a sparse matrix ends in one line, in every format and wherever the matrix lies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from scipy.io import mmwrite

from data_prep.counts import prepare_counts
from grn_cotrain.data.io import sparse_check
from grn_cotrain.data.io.counts import counts_from_anndata, load_counts
from grn_cotrain.data.io.sparse_check import checked, compressed
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError

C, G = 20, 12
COUNTS = np.random.default_rng(0).poisson(2, (C, G)).astype(np.float32)
CELLS = [f"c{i}" for i in range(C)]
GENES = [f"GENE{i}" for i in range(G)]


def cells(form: Callable[[Any], Any] = sparse.csr_matrix) -> anndata.AnnData:
    data = anndata.AnnData(form(COUNTS), obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=GENES))
    data.layers["counts"] = form(COUNTS)
    data.raw = data.copy()
    return data


def hdf5(folder: Path, form: Callable[[Any], Any] = sparse.csr_matrix) -> Path:
    cells(form).write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


def by_column(folder: Path) -> Path:
    return hdf5(folder, sparse.csc_matrix)


def store(folder: Path) -> Path:
    cells().write_zarr(folder / "cells.zarr")
    return folder / "cells.zarr"


def several(folder: Path) -> Path:
    import mudata

    mudata.MuData({"rna": cells()}).write_h5mu(folder / "cells.h5mu")
    return folder / "cells.h5mu"


def oldest(folder: Path) -> Path:
    X = sparse.csr_matrix(COUNTS)
    with h5py.File(folder / "old.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", X.shape
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(X, part)
        for name, names in (("obs", CELLS), ("var", GENES)):
            table = np.zeros(len(names), dtype=[("index", "S17")])
            table["index"] = names
            file[name] = table
    return folder / "old.h5ad"


def tenx(folder: Path) -> Path:
    X = sparse.csr_matrix(COUNTS)
    with h5py.File(folder / "10x.h5", "w") as file:
        for part in ("data", "indices", "indptr"):
            file[f"matrix/{part}"] = getattr(X, part)
        file["matrix/shape"] = [G, C]
        file["matrix/barcodes"] = np.array(CELLS, dtype="S")
        for name in ("id", "name"):
            file[f"matrix/features/{name}"] = np.array(GENES, dtype="S")
        file["matrix/features/feature_type"] = np.array(["Gene Expression"] * G, dtype="S")
    return folder / "10x.h5"


FORMATS = {
    "h5ad": (hdf5, None, "X"),
    "h5ad, by column": (by_column, None, "X"),
    "layer": (hdf5, "counts", "layers/counts"),
    "raw": (hdf5, "raw", "raw/X"),
    "zarr": (store, None, "X"),
    "h5mu": (several, None, "mod/rna/X"),
    "oldest layout": (oldest, None, "X"),
    "10x": (tenx, None, "matrix"),
}

WRONG = {
    "an index beyond the end": ("indices", 5, 10**6),
    "an index just beyond the end": ("indices", 5, None),
    "a negative index": ("indices", 5, -1),
    "a pointer beyond the end": ("indptr", 3, 10**9),
    "a negative pointer": ("indptr", 3, -5),
    "a pointer that falls": ("indptr", 5, 1),
    "a first pointer that is not 0": ("indptr", 0, 2),
    "a last pointer that is short": ("indptr", -1, 3),
}


def damage(path: Path, place: str, part: str, at: int, value: int) -> None:
    """Overwrite one entry of one array of a stored matrix."""
    if path.is_dir():
        zarr.open_group(str(path), mode="r+")[f"{place}/{part}"][at] = value
        return
    with h5py.File(path, "a") as file:
        node = file[f"{place}/{part}"]
        node[at if at >= 0 else len(node) + at] = value


@pytest.fixture(scope="module", params=FORMATS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A format and an undamaged file of it, which is written and read once. Read only."""
    make, layer, place = FORMATS[request.param]
    path = make(tmp_path_factory.mktemp("whole"))
    assert np.array_equal(load_counts(path, layer).adata.X.toarray(), COUNTS)
    return make, layer, place, path


@pytest.mark.parametrize("wrong", WRONG)
def test_one_wrong_entry_is_refused_in_every_format(whole: tuple[Any, ...], tmp_path: Path, wrong: str) -> None:
    make, layer, place, original = whole
    copy = shutil.copytree if original.is_dir() else shutil.copy
    path = Path(copy(original, tmp_path / original.name))
    part, at, value = WRONG[wrong]
    damage(path, place, part, at, value if value is not None else C if make is by_column else G)
    with pytest.raises(UserError, match="its structure is broken") as caught:
        load_counts(path, layer)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("layer", [None, "counts", "raw"])
def test_one_wrong_entry_is_refused_in_memory(layer: str | None, form: Callable[[Any], Any], wrong: str) -> None:
    data = cells(form)
    X = {None: data.X, "counts": data.layers["counts"], "raw": data.raw.X}[layer]
    part, at, value = WRONG[wrong]
    getattr(X, part)[at] = value if value is not None else C if form is sparse.csc_matrix else G
    with pytest.raises(UserError, match=r"adata: (X|counts|raw): its structure is broken"):
        counts_from_anndata(data, layer)


def test_a_repeated_entry_is_refused_and_an_unsorted_one_is_said(tmp_path: Path) -> None:
    path = hdf5(tmp_path)
    with h5py.File(path, "a") as file:
        first = file["X/indices"][:2]
        file["X/indices"][:2] = first[::-1]
        file["X/data"][:2] = file["X/data"][:2][::-1]
    counts = load_counts(path)
    assert np.array_equal(counts.adata.X.toarray(), COUNTS)
    assert any("were not in order and were sorted" in note for note in counts.notes)
    with h5py.File(path, "a") as file:
        file["X/indices"][:2] = [first[0], first[0]]
    with pytest.raises(UserError, match=r"X: 1 entries are stored more than once.*sum_duplicates"):
        load_counts(path)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.coo_matrix])
def test_other_sparse_classes_give_the_same_and_are_not_changed(form: Callable[[Any], Any]) -> None:
    X = form(COUNTS.astype(np.int64))
    found, notes = checked(X, "X")
    assert np.array_equal(found.toarray(), COUNTS)
    assert (found.format, notes) == ("csr", [])
    assert np.array_equal(X.toarray(), COUNTS)


def test_coordinates_out_of_range_are_refused() -> None:
    X = sparse.coo_matrix(COUNTS)
    X.col[3] = G
    with pytest.raises(UserError, match=r"1 entries of col are out of range \(12, but 0 to 11 exist\)"):
        checked(X, "X")


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
def test_pointers_of_any_width_are_read(dtype: type) -> None:
    X = sparse.csr_matrix(COUNTS)
    found, _ = compressed(X.data, X.indices.astype(np.int64), X.indptr.astype(dtype), X.shape, "X")
    assert np.array_equal(found.toarray(), COUNTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: (X.data[:-1], X.indices, X.indptr), "values, but"),
        (lambda X: (X.data, X.indices.astype(float), X.indptr), "indices are of type float64, not integers"),
        (lambda X: (X.data, X.indices, X.indptr.astype(float)), "entries of indptr are of type float64"),
        (lambda X: (X.data, X.indices, X.indptr[:-1]), "20 rows need 21"),
        (lambda X: (X.data.reshape(1, -1), X.indices, X.indptr), "one dimension"),
        (lambda X: (X.data.astype(complex), X.indices, X.indptr), "of type complex128, not numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: Callable[[Any], tuple], message: str) -> None:
    X = sparse.csr_matrix(COUNTS)
    with pytest.raises(UserError, match=message):
        compressed(*change(X), X.shape, "X")


@pytest.mark.parametrize("shape", [(10**12, G), (C, 10**12), (C + 1, G), (C, G - 1), (-1, G)])
@pytest.mark.parametrize("make", [hdf5, by_column, oldest])
def test_a_shape_that_the_names_deny_takes_no_memory(tmp_path: Path, make: Callable, shape: tuple) -> None:
    path = make(tmp_path)
    with h5py.File(path, "a") as file:
        file["X"].attrs["h5sparse_shape" if make is oldest else "shape"] = np.array(shape)
    with pytest.raises(UserError, match=r"do not belong together|structure is broken|layout"):
        load_counts(path)


@pytest.mark.parametrize("place", ["X/data", "X/indptr", "obs/_index", "var/_index"])
def test_a_size_that_the_file_cannot_hold_takes_no_memory(tmp_path: Path, place: str) -> None:
    path = hdf5(tmp_path)
    with h5py.File(path, "a") as file:
        old = file[place]
        del file[place]
        new = file.create_dataset(place, shape=(10**12,), chunks=(1024,), dtype=old.dtype)
        new.attrs["encoding-type"], new.attrs["encoding-version"] = "array", "0.2.0"
    with pytest.raises(UserError, match="it claims 1,000,000,000,000 values"):
        load_counts(path)


def test_a_dense_matrix_that_the_file_cannot_hold_takes_no_memory(tmp_path: Path) -> None:
    path = hdf5(tmp_path, np.asarray)
    with h5py.File(path, "a") as file:
        del file["X"]
        file.create_dataset("X", shape=(10**6, 10**6), chunks=(100, 100), dtype="f4")
    with pytest.raises(UserError, match="it claims 1,000,000,000,000 values"):
        load_counts(path)


def test_a_loom_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "cells.loom", "w") as file:
        file.create_dataset("matrix", shape=(10**6, 10**6), chunks=(64, 64), dtype="f4")
        file["row_attrs/Gene"] = np.array(GENES, dtype="S")
        file["col_attrs/CellID"] = np.array(CELLS, dtype="S")
    with pytest.raises(UserError, match="matrix: its structure is broken: it claims 1,000,000,000,000 values"):
        load_counts(tmp_path / "cells.loom")


@pytest.mark.parametrize("wrong", WRONG)
def test_one_wrong_entry_of_a_prepared_folder_is_refused(tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "prep"
    prepare_counts(hdf5(tmp_path), folder)
    part, at, value = WRONG[wrong]
    damage(folder / "assays" / "rna" / "values.h5ad", "X", part, at, value if value is not None else G)
    with pytest.raises(UserError, match=r"values\.h5ad does not belong to it"):
        _ = Prep.open(folder).cells


def mtx(folder: Path, entries: str, shape: str = f"{G} {C}") -> Path:
    count = len(entries.splitlines())
    (folder / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate integer general\n{shape} {count}\n{entries}")
    (folder / "features.tsv").write_text("".join(f"{name}\t{name}\tGene Expression\n" for name in GENES))
    (folder / "barcodes.tsv").write_text("".join(f"{name}\n" for name in CELLS))
    return folder


def test_matrix_market_entries(tmp_path: Path) -> None:
    mmwrite(tmp_path / "whole.mtx", sparse.coo_matrix(COUNTS.T.astype(int)))
    entries = "".join(f"{g + 1} {c + 1} {int(COUNTS[c, g])}\n" for c, g in zip(*np.nonzero(COUNTS), strict=True))
    assert np.array_equal(load_counts(mtx(tmp_path, entries)).adata.X.toarray(), COUNTS)
    with pytest.raises(UserError, match="1 entries are stored more than once"):
        load_counts(mtx(tmp_path, entries + entries.splitlines()[0] + "\n"))
    for wrong in ("0 1 3\n", f"{G + 1} 1 3\n", "1 -1 3\n"):
        with pytest.raises(UserError, match="damaged or cut short"):
            load_counts(mtx(tmp_path, entries + wrong))
    with pytest.raises(UserError, match="do not belong together"):
        load_counts(mtx(tmp_path, entries, shape="1000000000000 1000000000000"))


@pytest.mark.parametrize("kind", ["csr.h5ad", "dense.h5ad", "mtx"])
def test_the_size_of_what_is_read_whole_is_reported_before(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    X = np.ones((6, 4), dtype=np.float32) * 3
    stored = X if kind == "dense.h5ad" else sparse.csr_matrix(X)
    path = tmp_path / "cells.h5ad"
    if kind == "mtx":
        path = tmp_path / "cells"
        path.mkdir()
        mmwrite(path / "matrix.mtx", sparse.coo_matrix(X.T))
        (path / "genes.tsv").write_text("".join(f"GENE{i}\n" for i in range(4)))
        (path / "barcodes.tsv").write_text("".join(f"c{i}\n" for i in range(6)))
    else:
        obs = pd.DataFrame(index=[f"c{i}" for i in range(6)])
        anndata.AnnData(stored, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(4)])).write_h5ad(path)
    load_counts(path)
    assert "read into memory" not in caplog.text
    monkeypatch.setattr(sparse_check, "IN_MEMORY_VALUES", 23)
    load_counts(path)
    assert "24 values are read into memory and take at least 0.0 GiB" in caplog.text
