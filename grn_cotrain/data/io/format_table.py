"""CSV and TSV tables: one row and one column of names around numbers; either axis may hold the genes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.column_words import (
    CELL_NAME_WORDS,
    GENE_NAME_WORDS,
    are_numbers,
    corner_says_genes,
    could_name_a_sample,
    folded,
    gene_like_share,
    is_cell_annotation,
    is_gene_annotation,
    is_written_index,
)
from grn_cotrain.data.io.raw_matrix import RawMatrix, frame
from grn_cotrain.data.io.text_chunks import TextTable, read_chunks
from grn_cotrain.errors import UserError

__all__ = ["genes_are_rows", "read_text_table"]

_SEVERAL_WORDS = re.compile(r"[a-z][a-z0-9]*(?:[_ .][A-Za-z0-9]+)+|[a-z]{2,}[A-Z][A-Za-z]*")


def read_text_table(path: Path, what: str, annotations: Sequence[str] = ()) -> RawMatrix:
    """Read a table of cells x genes or genes x cells; columns and rows that are annotation are kept with the numbers.

    Raises
    ------
    UserError
        The axis that holds the genes is unknown; a column or row of text that no known word explains.
    """
    import anndata

    table = read_chunks(path, what, annotations)
    notes: list[str] = list(table.notes)
    _drop_written_indices(table, notes)
    corner = _take_names(table, notes)
    by_rows = genes_are_rows(table.rows, table.columns, corner=corner, what=what)
    if by_rows:
        _take_back_cells(table, annotations)
    genes, cells = ("rows", "columns") if by_rows else ("columns", "rows")
    of_genes, of_cells = (table.side_columns, table.side_rows) if by_rows else (table.side_rows, table.side_columns)
    _refuse_unknown(of_cells, "row" if by_rows else "column", is_cell_annotation, annotations, what)
    values_CG = table.values_RK.T.tocsr() if by_rows else table.values_RK
    gene_names, cell_names = (table.rows, table.columns) if by_rows else (table.columns, table.rows)
    shape = {"genes": f"{len(gene_names):,} genes ({genes})", "cells": f"{len(cell_names):,} cells ({cells})"}
    order = ("genes", "cells") if by_rows else ("cells", "genes")
    notes.insert(0, f"format: table of {' x '.join(shape[axis] for axis in order)}")
    if of_genes:
        notes.append(f"{cells} that describe the genes and are not cells: {name_some(list(of_genes), 8)}")
    if of_cells:
        notes.append(f"{genes} that describe the cells and are not genes, kept in obs: {name_some(list(of_cells), 8)}")
    if odd := _unlike_genes(gene_names):
        notes.append(
            f"{len(odd):,} {genes} are written unlike the other genes ({name_some(odd, 3)}): if they describe cells, "
            f"keep them apart with --annotations '{odd[0]}'"
        )
    adata = anndata.AnnData(X=values_CG, obs=frame(cell_names, _typed(of_cells)), var=frame(gene_names, dict(of_genes)))
    return RawMatrix(adata, notes)


def genes_are_rows(rows: Sequence[str], columns: Sequence[str], *, corner: str, what: str) -> bool:
    """Whether the rows of a table are genes: by the corner cell's word, else by what the names look like.

    Raises
    ------
    UserError
        Both axes look alike.
    """
    by_corner = corner_says_genes(corner)
    if by_corner is not None:
        return by_corner
    share_rows, share_columns = gene_like_share(rows), gene_like_share(columns)
    if abs(share_rows - share_columns) < 0.2:
        raise UserError(
            f"{what}: cannot determine which axis holds the genes (rows like {name_some(rows, 2)}; columns like "
            f"{name_some(columns, 2)}); write 'gene' or 'cell' into the first cell, for what the rows are"
        )
    return share_rows > share_columns


def _unlike_genes(names: Sequence[str]) -> list[str]:
    """Names of several words in small letters, where hardly any other is written so."""
    odd = [name for name in names if _SEVERAL_WORDS.fullmatch(name)]
    return odd if len(odd) <= 0.2 * len(names) else []


def _take_back_cells(table: TextTable, annotations: Sequence[str]) -> None:
    """Where rows are genes, a column of numbers called ``Treatment`` is a sample."""
    for name, values in list(table.side_columns.items()):
        if could_name_a_sample(name) and name not in annotations and are_numbers(values):
            column_R1 = sparse.csr_matrix(np.array(values, dtype=np.float32)[:, None])
            table.values_RK = sparse.hstack([table.values_RK, column_R1], format="csr")
            table.columns.append(name)
            del table.side_columns[name]


def _drop_written_indices(table: TextTable, notes: list[str]) -> None:
    """Leave out running numbers that pandas or R wrote as a column of its own."""
    for name in [name for name, values in table.side_columns.items() if is_written_index(name, values)]:
        del table.side_columns[name]
        notes.append(f"the column '{name}' numbers the rows and was left out")


def _take_names(table: TextTable, notes: list[str]) -> str:
    """Where the first column holds numbers, the names may be in the next one; returns the word over the names."""
    if not are_numbers(table.rows):
        return table.corner
    word = {folded(name): name for name in reversed(table.side_columns)}
    known = next((word[key] for key in (*CELL_NAME_WORDS, *GENE_NAME_WORDS) if key in word), None)
    different = [name for name, values in table.side_columns.items() if _could_name(values)]
    taken = known if known in different else (different[0] if len(different) == 1 else None)
    if taken is None or (corner_says_genes(table.corner) is not None and known is None):
        return table.corner
    if corner_says_genes(taken) is True:
        return taken  # the column stays: names of genes are taken from it in the one place that does so
    first = table.rows[:2]
    table.rows = table.side_columns.pop(taken)
    notes.append(
        f"the first column holds numbers ({name_some(first)}, ...): the names of the rows are those of '{taken}'"
    )
    return taken if corner_says_genes(taken) is not None else ""


def _could_name(values: Sequence[str]) -> bool:
    return all(values) and len(set(values)) > 0.9 * len(values) and not are_numbers(values)


def _refuse_unknown(
    columns: dict[str, list[str]], axis: str, known: Any, annotations: Sequence[str], what: str
) -> None:
    """Text next to counts is annotation of the cells; it is known by its word or named by the user."""
    for name, values in columns.items():
        if not (known(name) or is_gene_annotation(name) or name in annotations):
            text = next((value for value in values if value and not are_numbers([value])), "")
            raise UserError(
                f"{what}: the {axis} '{name}' holds text ('{text}'), so it is not a gene; keep it as annotation of the "
                f"cells (--annotations '{name}'), or remove it"
            )


def _typed(columns: dict[str, list[str]]) -> dict[str, Any]:
    """Columns of numbers as numbers; others as text, missing where empty."""
    result: dict[str, Any] = {}
    for name, values in columns.items():
        series = pd.Series(values, dtype=object)
        given = series[series != ""]
        if len(given) and are_numbers(list(given)):
            numbers = pd.to_numeric(series.where(series != "", None))
            result[name] = numbers.to_numpy()
        else:
            result[name] = series.where(series != "", None).to_numpy()
    return result
