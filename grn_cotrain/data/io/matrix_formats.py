"""Raw readers: h5ad, 10x h5 (v2 and v3), Matrix Market folders, CSV/TSV tables -> AnnData as it stands in the file."""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.tables import read_table
from grn_cotrain.data.vocab import is_ensembl_id, is_spike_in, name_some
from grn_cotrain.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import anndata
    import h5py

__all__ = ["genes_are_rows", "read_matrix"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_BARCODE = re.compile(r"(?:.*[_:\-.])?[ACGT]{8,}(?:[-_.].*)?", re.IGNORECASE)
_CELL_NAME = re.compile(r"(?:cell|barcode|sample|bc|well)s?[\W_]?\d*\w*", re.IGNORECASE)
_GENE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-.@][A-Za-z0-9]+)*")
_CORNER = {
    **dict.fromkeys(("gene", "genes", "symbol", "gene_name", "gene_symbol", "gene_id"), True),
    **dict.fromkeys(("cell", "cells", "barcode", "barcodes", "cell_id", "sample"), False),
}


def read_matrix(path: str | Path, layer: str | None = None) -> tuple[anndata.AnnData, list[str]]:
    """Read ``path`` by its content; returns cells x genes and notes on what was detected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # repeated names: the caller refuses or renames them, in one line
        return _read_any(Path(path), layer)


def _read_any(path: Path, layer: str | None) -> tuple[anndata.AnnData, list[str]]:
    if not path.exists():
        raise UserError(f"counts '{path}': no such file or folder; give an h5ad, a 10x h5, a folder with mtx, or a CSV")
    if layer is not None and path.suffix != ".h5ad":
        raise UserError(f"--layer '{layer}': only h5ad files have layers, '{path}' is none; leave it out")
    if path.is_dir():
        return _read_mtx(path), ["format: Matrix Market folder"]
    try:
        with path.open("rb") as handle:
            head = handle.read(8)
    except OSError as error:
        raise UserError(f"counts '{path}': cannot be read ({error.strerror}); give a readable file") from None
    if not head:
        raise UserError(f"counts '{path}': is an empty file; fetch it anew")
    if head == _HDF5_MAGIC:
        return _read_hdf5(path, layer)
    if path.suffix in (".h5ad", ".h5"):
        raise UserError(f"counts '{path}': is no HDF5 file in spite of its name; it is damaged, fetch it anew")
    return _read_text(path)


# -- HDF5 ----------------------------------------------------------------------------------------------------------


def _read_hdf5(path: Path, layer: str | None) -> tuple[anndata.AnnData, list[str]]:
    import anndata
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "matrix" in file:
                return _read_10x(file["matrix"], path, "features"), ["format: 10x h5"]
            genomes = [name for name in file if isinstance(file[name], h5py.Group) and "gene_names" in file[name]]
            if len(genomes) > 1:
                raise UserError(
                    f"counts '{path}': holds {len(genomes)} genomes ({', '.join(genomes)}); give one of them"
                )
            if genomes:
                return _read_10x(file[genomes[0]], path, ""), ["format: 10x h5, version 2"]
            if "X" not in file and "obs" not in file:
                raise UserError(
                    f"counts '{path}': neither an h5ad nor a 10x h5 (holds {name_some(list(file)) or 'nothing'}); "
                    "give one of these"
                )
        adata = anndata.read_h5ad(path)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes the HDF5 stack raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"counts '{path}': is damaged or cut short ({reason}); fetch it anew") from None
    return _take_layer(adata, layer, path), ["format: h5ad" + (f", layer {layer}" if layer else "")]


def _take_layer(adata: anndata.AnnData, layer: str | None, path: Path) -> anndata.AnnData:
    import anndata

    if layer is None:
        return adata
    if layer == "raw" and adata.raw is not None:
        return anndata.AnnData(X=adata.raw.X, obs=adata.obs, var=adata.raw.var)
    choices = [*map(str, adata.layers), *(["raw"] if adata.raw is not None else [])]
    if layer not in adata.layers:
        raise UserError(
            f"--layer '{layer}': '{path}' has no such layer; choose from {', '.join(choices) or 'none (leave it out)'}"
            f"{did_you_mean(layer, choices)}"
        )
    return anndata.AnnData(X=adata.layers[layer], obs=adata.obs, var=adata.var)


def _read_10x(group: h5py.Group, path: Path, features: str) -> anndata.AnnData:
    """Columns of the stored matrix are cells: its CSC arrays are the CSR arrays of cells x genes."""
    import anndata

    def text(name: str) -> list[str]:
        return [value.decode() if isinstance(value, bytes) else str(value) for value in group[name][()]]

    num_genes, num_cells = (int(n) for n in group["shape"][()])
    values_CG = sparse.csr_matrix(
        (group["data"][()], group["indices"][()], group["indptr"][()]), shape=(num_cells, num_genes)
    )
    var: dict[str, list[str]]
    if features:
        names = text("features/name")
        var = {"gene_ids": text("features/id"), "feature_types": text("features/feature_type")}
    else:
        names, var = text("gene_names"), {"gene_ids": text("genes")}
    return anndata.AnnData(X=values_CG, obs=_frame(text("barcodes")), var=_frame(names, var))


def _frame(names: Sequence[str], columns: dict[str, Any] | None = None) -> pd.DataFrame:
    return pd.DataFrame(columns or {}, index=pd.Index([str(name) for name in names], dtype=object))


# -- Matrix Market ---------------------------------------------------------------------------------------------------


def _read_mtx(folder: Path) -> anndata.AnnData:
    """10x layout: matrix.mtx, barcodes.tsv and features.tsv (v3) or genes.tsv (v2), each gzipped or not."""
    import anndata
    from scipy.io import mmread

    matrix = _one_of(folder, "matrix.mtx")
    features = _one_of(folder, "features.tsv", "genes.tsv")
    barcodes = _one_of(folder, "barcodes.tsv")
    try:
        with gzip.open(matrix, "rb") if matrix.suffix == ".gz" else matrix.open("rb") as handle:
            values_CG = sparse.csr_matrix(mmread(handle)).T.tocsr()
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
    return anndata.AnnData(X=values_CG, obs=_frame(cells[0].tolist()), var=_frame(names, columns))


def _one_of(folder: Path, *names: str) -> Path:
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise UserError(
        f"counts '{folder}': holds no {' or '.join(names)} (nor .gz); "
        "give a folder with matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv"
    )


# -- text tables -----------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> tuple[anndata.AnnData, list[str]]:
    """One row and one column of names around numbers; either axis may hold the genes."""
    import anndata

    # Without a header: pandas renames repeated columns to x.1, which would hide duplicated genes.
    table = read_table(path, what="counts", header=False, corner=True)
    corner, *columns = (str(name).strip() for name in table.iloc[0])
    rows, body = table.iloc[1:, 0].str.strip().tolist(), table.iloc[1:, 1:]
    if not columns or not rows:
        raise UserError(f"counts '{path}': a single row or column; give a table of cells x genes, or genes x cells")
    numbers = body.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    missing = np.isnan(numbers)
    if missing.any():
        row, column = (int(i[0]) for i in np.nonzero(missing))
        text = str(body.iloc[row, column])
        fix = "repair or remove it" if text.lower() in ("nan", "na", "") else "give numbers only"
        raise UserError(
            f"counts '{path}': '{text}' at {rows[row]}, {columns[column]} is NaN or no number "
            f"({int(missing.sum()):,} such); {fix}"
        )
    if genes_are_rows(rows, columns, corner=corner, path=path):
        adata = anndata.AnnData(X=sparse.csr_matrix(numbers.T), obs=_frame(columns), var=_frame(rows))
        return adata, [f"format: table of {len(rows):,} genes (rows) x {len(columns):,} cells (columns)"]
    adata = anndata.AnnData(X=sparse.csr_matrix(numbers), obs=_frame(rows), var=_frame(columns))
    return adata, [f"format: table of {len(rows):,} cells (rows) x {len(columns):,} genes (columns)"]


def genes_are_rows(rows: Sequence[str], columns: Sequence[str], *, corner: str, path: Path) -> bool:
    """Whether the rows of a table are genes: by the corner cell's word, else by what the names look like.

    Raises
    ------
    UserError
        Both axes look alike.
    """
    by_corner = _CORNER.get(corner.strip().lower())
    if by_corner is not None:
        return by_corner
    share_rows, share_columns = _share_of_genes(rows), _share_of_genes(columns)
    if abs(share_rows - share_columns) < 0.2:
        raise UserError(
            f"counts '{path}': cannot tell which axis holds the genes (rows like {name_some(rows, 2)}; columns like "
            f"{name_some(columns, 2)}); write 'gene' or 'cell' into the first cell, for what the rows are"
        )
    return share_rows > share_columns


def _share_of_genes(names: Sequence[str]) -> float:
    def like_a_gene(name: str) -> bool:
        if is_ensembl_id(name) or is_spike_in(name):
            return True
        if _BARCODE.fullmatch(name) or _CELL_NAME.fullmatch(name):
            return False
        return _GENE_NAME.fullmatch(name) is not None

    return float(np.mean([like_a_gene(name) for name in names]))
