"""Count matrices: every format gives the same cells; counts or logs are told; bad values are refused in one line."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import mmwrite

from grn_cotrain.data.io.counts import detect_value_kind, load_counts, read_counts
from grn_cotrain.errors import UserError

GENES = ["STAT1", "GATA3", "IRF1"]
IDS = ["ENSG00000115415", "ENSG00000107485", "ENSG00000125347"]
CELLS = ["AAACCTGA-1", "AAACCTGC-1", "AAACCTGG-1", "AAACCTGT-1"]
COUNTS = np.array([[1, 0, 3], [0, 2, 0], [5, 0, 0], [0, 0, 7]], dtype=np.float32)


def adata(X=COUNTS, **options) -> anndata.AnnData:
    X = X if sparse.issparse(X) else np.asarray(X, np.float32)
    obs = pd.DataFrame({"type": list("aabb")}, index=CELLS)
    return anndata.AnnData(X=X, obs=obs, var=pd.DataFrame({"gene_ids": IDS}, index=GENES), **options)


def h5ad(tmp_path: Path, X=COUNTS, **options) -> Path:
    path = tmp_path / "cells.h5ad"
    adata(X, **options).write_h5ad(path)
    return path


def tenx(tmp_path: Path, version: int = 3) -> Path:
    path = tmp_path / "cells.h5"
    matrix = sparse.csr_matrix(COUNTS).astype(np.int32)  # cells x genes CSR = genes x cells CSC
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = [3, 4]
        group["barcodes"] = [name.encode() for name in CELLS]
        if version == 3:
            group["features/id"], group["features/name"] = [x.encode() for x in IDS], [x.encode() for x in GENES]
            group["features/feature_type"] = [b"Gene Expression", b"Gene Expression", b"Antibody Capture"]
        else:
            group["genes"], group["gene_names"] = [x.encode() for x in IDS], [x.encode() for x in GENES]
    return path


def mtx(tmp_path: Path, version: int = 3, zipped: bool = False) -> Path:
    folder = tmp_path / "mtx"
    folder.mkdir()
    mmwrite(folder / "matrix.mtx", sparse.coo_matrix(COUNTS.T.astype(int)))
    columns = [IDS, GENES] + ([["Gene Expression"] * 3] if version == 3 else [])
    lines = "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True))
    (folder / ("features.tsv" if version == 3 else "genes.tsv")).write_text(lines)
    (folder / "barcodes.tsv").write_text("".join(f"{name}\n" for name in CELLS))
    if zipped:
        for file in list(folder.iterdir()):
            with gzip.open(f"{file}.gz", "wb") as handle:
                handle.write(file.read_bytes())
            file.unlink()
    return folder


def table(tmp_path: Path, *, transposed: bool = False, corner: str = "", sep: str = ",", values=COUNTS) -> Path:
    frame = pd.DataFrame(np.asarray(values), index=CELLS, columns=GENES)
    frame = frame.T if transposed else frame
    path = tmp_path / ("cells.csv" if sep == "," else "cells.tsv.gz")
    frame.to_csv(path, sep=sep, index_label=corner)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (h5ad, "h5ad"),
        (lambda p: h5ad(p, sparse.csc_matrix(COUNTS)), "h5ad"),
        (lambda p: tenx(p, 3), "10x h5"),
        (lambda p: tenx(p, 2), "version 2"),
        (lambda p: mtx(p, 3), "Matrix Market"),
        (lambda p: mtx(p, 2), "Matrix Market"),
        (lambda p: mtx(p, 3, zipped=True), "Matrix Market"),
        (lambda p: table(p), "4 cells (rows) x 3 genes (columns)"),
        (lambda p: table(p, transposed=True), "3 genes (rows) x 4 cells (columns)"),
        (lambda p: table(p, transposed=True, sep="\t"), "3 genes (rows)"),
    ],
)
def test_every_format_gives_the_same_cells(tmp_path, make, said) -> None:
    counts = load_counts(make(tmp_path))
    assert counts.kind == "counts"
    assert said in " ".join(counts.notes)
    assert list(counts.adata.obs_names) == CELLS
    assert list(counts.adata.var_names) == GENES
    assert counts.adata.X.dtype == np.float32
    assert np.array_equal(counts.adata.X.toarray(), COUNTS)


def test_table_as_r_writes_it_without_a_corner(tmp_path) -> None:
    path = tmp_path / "r.tsv"
    lines = ["\t".join(CELLS)] + ["\t".join([g, *map(str, COUNTS[:, i])]) for i, g in enumerate(GENES)]
    path.write_text("\n".join(lines) + "\n")
    assert np.array_equal(load_counts(path).adata.X.toarray(), COUNTS)


def test_corner_word_decides_where_names_do_not(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("{},X1,X2\nY1,1,2\nY2,3,4\n".format(""))
    with pytest.raises(UserError, match="cannot determine which axis holds the genes"):
        load_counts(path)
    for corner, genes in (("gene", ["Y1", "Y2"]), ("cell", ["X1", "X2"])):
        path.write_text(f"{corner},X1,X2\nY1,1,2\nY2,3,4\n")
        assert list(load_counts(path).adata.var_names) == genes


def test_layers_and_raw(tmp_path) -> None:
    data = adata(np.log1p(COUNTS), layers={"counts": COUNTS})
    data.raw = adata(COUNTS * 2)
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    assert load_counts(path).kind == "log"
    assert np.array_equal(load_counts(path, "counts").adata.X.toarray(), COUNTS)
    assert np.array_equal(load_counts(path, "raw").adata.X.toarray(), COUNTS * 2)
    with pytest.raises(UserError, match=r"'cuonts'.*choose from counts, raw \(did you mean 'counts'\?\)"):
        load_counts(path, "cuonts")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (COUNTS, "counts"),
        (sparse.csr_matrix(COUNTS), "counts"),
        (np.log1p(COUNTS), "log"),
        (np.array([[0.5, 19.3]]), "log"),
        (np.array([[0.5, 50.0]]), "log"),
    ],
)
def test_counts_or_log(values, kind) -> None:
    assert detect_value_kind(values) == kind


@pytest.mark.parametrize("values", [np.array([[0.5, 120.0]]), sparse.csr_matrix([[1.5, 800.0]])])
def test_neither_counts_nor_log_is_refused(values) -> None:
    with pytest.raises(UserError, match="neither raw counts nor on a log scale"):
        detect_value_kind(values)


def test_kind_is_said(tmp_path) -> None:
    read = read_counts(h5ad(tmp_path, np.log1p(COUNTS)))
    assert read.uns["grn_cotrain"]["kind"] == "log"
    assert any("log scale, not counts" in note for note in read.uns["grn_cotrain"]["notes"])


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "1 NaN values in 1 cells"), (np.inf, "infinite"), (-1.0, "negative.*scaled")]
)
@pytest.mark.parametrize("as_sparse", [True, False])
def test_bad_values_are_counted_and_refused(tmp_path, value, message, as_sparse) -> None:
    X = COUNTS.copy()
    X[1, 1] = value
    with pytest.raises(UserError, match=message):
        load_counts(h5ad(tmp_path, sparse.csr_matrix(X) if as_sparse else X))


def test_empty_cells_leave_by_name(tmp_path) -> None:
    X = COUNTS.copy()
    X[2] = 0
    counts = load_counts(h5ad(tmp_path, X))
    assert counts.adata.n_obs == 3
    assert any("1 cells without any count" in note and CELLS[2] in note for note in counts.notes)
    with pytest.raises(UserError, match="every cell is empty"):
        load_counts(h5ad(tmp_path, COUNTS * 0))


def test_repeated_symbols_take_their_ids_or_are_refused(tmp_path) -> None:
    path = tmp_path / "cells.h5ad"
    data = adata()
    data.var_names = ["STAT1", "STAT1", "IRF1"]
    data.write_h5ad(path)
    counts = load_counts(path)
    assert list(counts.adata.var_names) == ["STAT1", IDS[1], "IRF1"]
    assert counts.renamed == [("STAT1", IDS[1])]
    assert any("repeated symbols" in note for note in counts.notes)
    del data.var["gene_ids"]
    data.write_h5ad(path)
    with pytest.raises(UserError, match=r"1 gene names occur more than once \(STAT1\)"):
        load_counts(path)


def test_repeated_genes_of_a_table_are_not_renamed_by_the_reader(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("cell,STAT1,STAT1\nc1,1,2\nc2,3,4\n")
    with pytest.raises(UserError, match="gene names occur more than once"):
        load_counts(path)


def test_repeated_barcodes_are_refused(tmp_path) -> None:
    data = adata()
    data.obs_names = ["c1", "c1", "c2", "c3"]
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    with pytest.raises(UserError, match=r"1 cell names occur more than once \(c1\)"):
        load_counts(path)


def test_symbols_are_preferred_to_ids_as_names(tmp_path) -> None:
    data = adata()
    data.var = pd.DataFrame({"feature_name": ["STAT1", "", "IRF1"]}, index=IDS)
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    counts = load_counts(path)
    assert list(counts.adata.var_names) == ["STAT1", IDS[1], "IRF1"]
    assert list(counts.adata.var["gene_ids"]) == IDS


def test_feature_types_become_modalities(tmp_path) -> None:
    assert list(load_counts(tenx(tmp_path)).adata.var["modality"]) == ["gene", "gene", "protein"]
    data = adata()
    data.var["feature_types"] = "Guides"
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    with pytest.raises(UserError, match="feature type 'Guides' is unknown"):
        load_counts(path)


def _truncate(path: Path, share: float = 0.5) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def _folder_without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def _other_barcodes(folder: Path) -> Path:
    (folder / "barcodes.tsv").write_text("only-one\n")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nothing.h5ad", "no such file"),
        (lambda p: _truncate(h5ad(p)), "damaged or cut short"),
        (lambda p: _truncate(tenx(p)), "damaged or cut short"),
        (lambda p: _truncate(h5ad(p), 0.0), "empty file"),
        (lambda p: shutil.copy(table(p), p / "fake.h5ad"), "not an HDF5 file in spite of its name"),
        (lambda p: _folder_without(mtx(p), "matrix.mtx"), "holds no matrix.mtx"),
        (lambda p: _folder_without(mtx(p), "features.tsv"), "features.tsv or genes.tsv"),
        (lambda p: _folder_without(mtx(p), "barcodes.tsv"), "barcodes.tsv"),
        (lambda p: _other_barcodes(mtx(p)), "do not belong together"),
        (lambda p: table(p, values=np.where(COUNTS == 7, np.nan, COUNTS)), "is NaN or no number"),
        (lambda p: table(p, values=np.where(COUNTS == 7, "many", COUNTS.astype(str))), "'many' at AAACCTGT-1, IRF1"),
    ],
)
def test_damaged_files_are_named_in_one_line(tmp_path, make, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_counts(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_tables_have_no_layers(tmp_path) -> None:
    with pytest.raises(UserError, match="only h5ad, h5mu, loom and zarr have layers"):
        load_counts(table(tmp_path), "counts")


def test_hdf5_of_another_kind(tmp_path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(UserError, match="neither an h5ad, an h5mu, a loom nor a 10x h5"):
        load_counts(path)
