"""Networks as a matrix of TFs and targets: CellOracle's base network, and wide tables of weights."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from grn_cotrain.data.io.columns import End, end_of, find_ends, fold_column
from grn_cotrain.data.io.edge_list import EdgeList
from grn_cotrain.data.io.edge_roles import edge_frame, finish, refuse_options, split_options, to_numbers, to_text
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError

__all__ = ["is_dictionary", "is_matrix", "parse_dictionary", "parse_matrix"]

_GENE = ("geneshortname",)
_PEAK = ("peakid", "peak")
_ROWS = {"tf": "source", "target": "target"}


def is_matrix(table: pd.DataFrame) -> bool:
    """Whether a table has names in its first columns and numbers in all others, so that these are genes as well."""
    folded = [fold_column(name) for name in table.columns]
    text = [not _is_numeric(table[name]) for name in table.columns]
    if any(name in _GENE for name in folded):
        return sum(text) <= 2 and sum(not is_text for is_text in text) > 0
    return table.shape[1] > 2 and text[0] and not any(text[1:]) and _told_ends(table) is None


def _told_ends(table: pd.DataFrame) -> object | None:
    try:
        return find_ends(table)
    except UserError:
        return None


def parse_matrix(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """One row a gene, one column a gene, a number that is not 0 for an edge; CellOracle's base network.

    Options: ``rows=tf`` or ``rows=target`` names the rows, where the first column's name does not.
    ``gene_short_name``, as CellOracle writes it, marks rows as targets.
    """
    plain, told = split_options(options)
    refuse_options("matrix", plain, "rows=")
    refuse_options("matrix", told, "rows")
    if "rows" in told and told["rows"] not in _ROWS:
        raise UserError(f"--format 'matrix:rows={told['rows']}': choose from tf, target")
    columns = {fold_column(name): str(name) for name in reversed(list(table.columns))}
    names = next((columns[name] for name in _GENE if name in columns), str(table.columns[0]))
    left_out = [columns[name] for name in _PEAK if name in columns and columns[name] != names]
    rows: End | str | None = _ROWS.get(told.get("rows", "")) or ("target" if fold_column(names) in _GENE else None)
    # A column called "gene" above the names of rows does not decide: the other side are genes as well.
    generic = re.fullmatch(r"genes?|symbols?|name|genesymbol|genename", fold_column(names))
    rows = rows or (None if generic else end_of(names))
    others = [str(name) for name in table.columns if str(name) not in (names, *left_out)]
    if rows is None:
        raise UserError(
            f"edge list: is a matrix of {len(table):,} rows (like {name_some(list(table[names]), 2)}) and "
            f"{len(others):,} columns (like {name_some(others, 2)}); name the rows with "
            "--format matrix:rows=tf or matrix:rows=target"
        )
    row_names = to_text(table[names])
    parts = []
    for name in others:
        numbers = to_numbers(table[name], f"column '{name}':")
        if (place := np.flatnonzero(numbers)).size:
            parts.append((name, place, numbers[place]))
    if not parts:
        raise UserError("edge list: all numbers of the matrix are 0; give one with edges")
    column_names = pd.Series(np.repeat([name for name, _, _ in parts], [len(place) for _, place, _ in parts]))
    at = np.concatenate([place for _, place, _ in parts])
    weights = np.concatenate([numbers for _, _, numbers in parts])
    ends = (row_names.iloc[at], column_names) if rows == "source" else (column_names, row_names.iloc[at])
    signs = np.sign(weights) if (weights < 0).any() else 0
    frame = edge_frame(*ends, weight=np.abs(weights), sign=signs)
    notes = [f"matrix: rows are {'TFs' if rows == 'source' else 'targets'} ('{names}'), columns the other end"]
    notes += [f"columns not used: {name_some(left_out)}"] if left_out else []
    return finish(frame, "matrix", notes=notes)


def is_dictionary(table: pd.DataFrame) -> bool:
    """Whether a table was made from a JSON dictionary."""
    return list(table.columns) == ["key", "value"]


def parse_dictionary(table: pd.DataFrame, options: frozenset[str]) -> EdgeList:
    """JSON of gene -> list of genes, such as CellOracle's dictionary of targets.

    Option: ``keys=target`` (CellOracle's) or ``keys=tf`` names the keys; the file does not.
    """
    plain, told = split_options(options)
    refuse_options("dictionary", plain, "keys=")
    refuse_options("dictionary", told, "keys")
    if not is_dictionary(table):
        raise UserError("edge list: is not a JSON dictionary of gene -> list of genes; take --format auto")
    if told.get("keys") not in _ROWS:
        raise UserError(
            f"edge list: is a dictionary of gene -> genes (like {table['key'].iloc[0]} -> {table['value'].iloc[0]}); "
            "name the keys with --format dictionary:keys=target (as CellOracle has it) or dictionary:keys=tf"
        )
    keys, values = to_text(table["key"]), to_text(table["value"])
    ends = (keys, values) if told["keys"] == "tf" else (values, keys)
    return finish(edge_frame(*ends), "dictionary", notes=[f"dictionary: keys are {told['keys']}s"])


def _is_numeric(values: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return True
    some = values.iloc[:200].str.strip()
    some = some[some != ""].str.replace(r"^([+-]?\d+),(\d+)$", r"\1.\2", regex=True)  # a decimal comma
    return len(some) > 0 and bool(pd.to_numeric(some, errors="coerce").notna().all())
