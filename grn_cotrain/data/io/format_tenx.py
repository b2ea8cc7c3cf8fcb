"""10x Genomics: h5 of Cell Ranger (versions 2 and 3), and folders of Matrix Market files.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import sparse

from grn_cotrain.data.io.raw_matrix import RawMatrix, frame
from grn_cotrain.data.io.sparse_check import checked, compressed
from grn_cotrain.data.io.stored_matrix import refuse_claims, refuse_shape
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import h5py

__all__ = ["MATRIX_MARKET", "is_10x", "read_10x_h5", "read_mtx"]

MATRIX_MARKET = b"%%Matrix"
_NAMES = {"matrix": ("matrix.mtx",), "features": ("features.tsv", "genes.tsv"), "barcodes": ("barcodes.tsv",)}


def _genomes(file: h5py.File) -> list[str]:
    """Groups of version 2, one a genome."""
    return [name for name in file if hasattr(file[name], "keys") and "gene_names" in file[name]]


def is_10x(file: h5py.File) -> bool:
    """Whether an open HDF5 file has the layout of Cell Ranger 3, or of 2."""
    return ("matrix" in file and hasattr(file["matrix"], "keys")) or bool(_genomes(file))


def read_10x_h5(file: h5py.File, what: str) -> RawMatrix:
    """Read either version."""
    if "matrix" in file:
        return _read_group(file["matrix"], "features", "format: 10x h5", what)
    genomes = _genomes(file)
    if len(genomes) > 1:
        raise UserError(f"{what}: holds {len(genomes)} genomes ({', '.join(genomes)}); give one of them")
    return _read_group(file[genomes[0]], "", "format: 10x h5, version 2", what)


def _read_group(group: Any, features: str, note: str, what: str) -> RawMatrix:
    """Columns of the stored matrix are cells: its CSC arrays are the CSR arrays of cells x genes."""
    import anndata

    def text(name: str) -> list[str]:
        return [value.decode() if isinstance(value, bytes) else str(value) for value in group[name][()]]

    refuse_claims(group, what)
    barcodes = text("barcodes")
    num_genes, num_cells = (int(n) for n in group["shape"][()])
    refuse_shape((num_cells, num_genes), (len(barcodes), len(group["features/id" if features else "genes"])), what)
    data, indices, indptr = (group[name][()] for name in ("data", "indices", "indptr"))
    values_CG, notes = compressed(data, indices, indptr, (num_cells, num_genes), what)
    var: dict[str, list[str]]
    if features:
        names = text("features/name")
        var = {"gene_ids": text("features/id"), "feature_types": text("features/feature_type")}
    else:
        names, var = text("gene_names"), {"gene_ids": text("genes")}
    return RawMatrix(anndata.AnnData(X=values_CG, obs=frame(barcodes), var=frame(names, var)), [note, *notes])


def read_mtx(path: Path) -> RawMatrix:
    """10x layout: matrix.mtx, barcodes.tsv and features.tsv (v3) or genes.tsv (v2), each gzipped or not.

    All three may share a prefix (``GSM123_sample_matrix.mtx.gz``), as public archives name them; ``path`` is the
    folder, or the matrix file where a folder holds several.
    """
    import anndata
    from scipy.io import mmread

    folder, prefix = (path, _prefix(path)) if path.is_dir() else (path.parent, path.name.rpartition("matrix.mtx")[0])
    matrix = _one_of(folder, prefix, "matrix") if path.is_dir() else path
    features, barcodes = _one_of(folder, prefix, "features"), _one_of(folder, prefix, "barcodes")
    try:
        with gzip.open(matrix, "rb") if matrix.suffix == ".gz" else matrix.open("rb") as handle:
            values_CG = mmread(handle).T
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"counts '{matrix}': is damaged or cut short ({error}); fetch it anew") from None
    genes = read_table(features, what="features", header=False)
    cells = read_table(barcodes, what="barcodes", header=False)
    if values_CG.shape != (len(cells), len(genes)):
        raise UserError(
            f"counts '{folder}': the matrix is {values_CG.shape[1]} genes x {values_CG.shape[0]} cells, but "
            f"{features.name} names {len(genes)} and {barcodes.name} {len(cells)}; the files do not belong together"
        )
    columns: dict[str, Any] = {}
    if genes.shape[1] >= 2:
        columns["gene_ids"] = genes[0].tolist()
    if genes.shape[1] >= 3:
        columns["feature_types"] = genes[2].tolist()
    names = genes[1 if genes.shape[1] >= 2 else 0].tolist()
    # Only now, since a matrix is as large as its first line says.
    values_CG = checked(sparse.coo_matrix(values_CG), f"counts '{matrix}'")[0]
    adata = anndata.AnnData(X=values_CG, obs=frame(cells[0].tolist()), var=frame(names, columns))
    return RawMatrix(adata, ["format: Matrix Market folder"])


def _prefix(folder: Path) -> str:
    """What stands before ``matrix.mtx`` in the folder's only matrix."""
    found = sorted({path.name.rpartition("matrix.mtx")[0] for path in folder.glob("*matrix.mtx*") if path.is_file()})
    if len(found) > 1 and "" not in found:
        raise UserError(
            f"counts '{folder}': holds {len(found)} matrices ({name_some([f'{p}matrix.mtx' for p in found], 3)}); "
            "give the matrix file"
        )
    return found[0] if found else ""


def _one_of(folder: Path, prefix: str, kind: str) -> Path:
    names = [f"{prefix}{name}" for name in _NAMES[kind]]
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise UserError(
        f"counts '{folder}': holds no {' or '.join(names)} (nor .gz); "
        "give a folder with matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv"
    )
