"""CSV and TSV tables: one row and one column of names around numbers; either axis may hold the genes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.raw_matrix import RawMatrix, frame
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.data.vocab import is_ensembl_id, is_spike_in, name_some
from grn_cotrain.errors import UserError

__all__ = ["genes_are_rows", "read_text_table"]

_BARCODE = re.compile(r"(?:.*[_:\-.])?[ACGT]{8,}(?:[-_.].*)?", re.IGNORECASE)
_CELL_NAME = re.compile(r"(?:cell|barcode|sample|bc|well)s?[\W_]?\d*\w*", re.IGNORECASE)
_GENE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-.@][A-Za-z0-9]+)*")
_CORNER = {
    **dict.fromkeys(("gene", "genes", "symbol", "gene_name", "gene_symbol", "gene_id"), True),
    **dict.fromkeys(("cell", "cells", "barcode", "barcodes", "cell_id", "sample"), False),
}


def read_text_table(path: Path) -> RawMatrix:
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
        adata = anndata.AnnData(X=sparse.csr_matrix(numbers.T), obs=frame(columns), var=frame(rows))
        return RawMatrix(adata, [f"format: table of {len(rows):,} genes (rows) x {len(columns):,} cells (columns)"])
    adata = anndata.AnnData(X=sparse.csr_matrix(numbers), obs=frame(rows), var=frame(columns))
    return RawMatrix(adata, [f"format: table of {len(rows):,} cells (rows) x {len(columns):,} genes (columns)"])


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
