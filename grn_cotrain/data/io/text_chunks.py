"""A text table of numbers, read in pieces into a sparse matrix: the dense table is never in memory.

Dimension letters: R rows, K columns of numbers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.column_words import is_cell_annotation, is_gene_annotation, is_written_index
from grn_cotrain.data.io.packed import DAMAGE
from grn_cotrain.data.io.text_layout import TextLayout, find_layout, open_text
from grn_cotrain.errors import UserError

__all__ = ["TextTable", "read_chunks"]

_CHUNK_VALUES = 2_000_000
_LEAST_ROWS = 200  # every piece costs time for each of its columns
_MOST_VALUES = 8_000_000
_SAMPLE_CELLS = 400_000
_NOTHING = ("", "nan", "na", "n/a", "null", "none")
_MOSTLY = 0.5  # a row or column with a larger share of text is annotation, not numbers with a slip


@dataclass
class TextTable:
    """A table, taken apart.

    Attributes
    ----------
    corner, rows, columns
        The first cell; names of the rows and of the columns of numbers.
    values_RK
        Numbers, CSR float32.
    side_columns, side_rows
        Columns and rows that are annotation, as text, by name: those with text, and those known by their words.
    notes
        Lines about what was skipped.
    """

    corner: str
    rows: list[str]
    columns: list[str]
    values_RK: sparse.csr_matrix
    side_columns: dict[str, list[str]]
    side_rows: dict[str, list[str]]
    notes: list[str]


@dataclass
class _Trouble:
    """Cells that are no numbers: the first one and how many."""

    count: int = 0
    first: tuple[str, str, str] = ("", "", "")


@dataclass
class _Parts:
    """Parts that are collected piece by piece."""

    rows: list[str] = field(default_factory=list)
    data: list[np.ndarray] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)
    side: dict[int, list[str]] = field(default_factory=dict)
    side_rows: dict[str, list[str]] = field(default_factory=dict)
    trouble: _Trouble = field(default_factory=_Trouble)


def read_chunks(path: Path, what: str, annotations: Sequence[str] = ()) -> TextTable:
    """Read a table of any size.

    Parameters
    ----------
    what
        How errors call the file.
    annotations
        Columns that the user named as annotation.

    Raises
    ------
    UserError
        No table; a row with another number of cells; a cell that is no number.
    """
    layout = find_layout(path, what)
    side = _side_columns(layout, annotations)
    numbers = [i for i in range(1, layout.width) if i not in side]
    if not numbers:
        cells = [cell for row in layout.sample[:5] for cell in row[1:]]
        if marked := next((cell for cell in cells if re.fullmatch(r"\s*\d[\d.]*(?:,\d+)+\s*", cell)), None):
            raise UserError(
                f"{what}: its numbers are written with commas ('{marked}'); write them with a decimal point and "
                "without marks of thousands"
            )
        raise UserError(f"{what}: no column holds numbers ({_first_text(layout)}); give a table of counts")
    parts = _Parts(side={i: [] for i in side})
    names = [layout.header[i] for i in numbers]
    try:
        with open_text(path) as handle:
            for _ in range(layout.skipped):
                handle.readline()
            with (
                pd.read_csv(
                    handle,
                    sep=layout.delimiter,
                    header=None,
                    names=range(layout.width),
                    dtype=dict.fromkeys((0, *side), str),
                    keep_default_na=False,
                    na_values={i: [""] for i in numbers},  # type: ignore[misc]
                    index_col=False,
                    low_memory=False,
                    chunksize=_rows_of_a_piece(layout.width),
                ) as reader,
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("error", pd.errors.ParserWarning)
                for chunk in reader:
                    _collect(chunk, numbers, names, parts)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(
            f"{what}: not a table of one width ({error}); give {layout.width} cells in every line, as the first have"
        ) from None
    except UnicodeError as error:
        raise UserError(f"{what}: is not UTF-8 text throughout ({error}); write it again as UTF-8") from None
    except (*DAMAGE, OSError) as error:
        raise UserError(f"{what}: is cut short or damaged ({error}); fetch it again") from None
    if parts.trouble.count:
        text, row, column = parts.trouble.first
        fix = "repair or remove it" if text.lower() in ("nan", "na", "") else "give numbers only"
        raise UserError(
            f"{what}: '{text}' at {row}, {column} is NaN or no number ({parts.trouble.count:,} such); {fix}"
        )
    side_columns = {layout.header[i]: values for i, values in parts.side.items() if any(values) or layout.header[i]}
    values_RK = _joined(parts, len(names))
    return TextTable(layout.header[0], parts.rows, names, values_RK, side_columns, parts.side_rows, layout.notes)


def _rows_of_a_piece(width: int) -> int:
    return max(1, _CHUNK_VALUES // width, min(_LEAST_ROWS, _MOST_VALUES // width))


def _first_text(layout: TextLayout) -> str:
    """Where the first cell stands that should be a number."""
    row = next((row for row in layout.sample if len(row) == layout.width > 1), None)
    return "it has one column alone" if row is None else f"for example '{row[1]}' at {row[0]}, {layout.header[1]}"


def _side_columns(layout: TextLayout, annotations: Sequence[str]) -> list[int]:
    """Columns known by their words, or with text in most of the first rows."""
    rows = [row for row in layout.sample if len(row) == layout.width][: max(3, _SAMPLE_CELLS // layout.width)]
    cells_RK = np.array([row[1:] for row in rows], dtype=object).reshape(len(rows), layout.width - 1)
    text_RK = _is_text(cells_RK)
    of_numbers_R = text_RK.mean(axis=1) <= _MOSTLY
    if of_numbers_R.any():
        cells_RK, text_RK = cells_RK[of_numbers_R], text_RK[of_numbers_R]
    empty_K = (cells_RK == "").all(axis=0)
    mostly_text_K = text_RK.mean(axis=0) > _MOSTLY if len(text_RK) else np.zeros(layout.width - 1, bool)
    return [
        i
        for i, word in enumerate(layout.header)
        if i > 0
        and (
            word in annotations
            or is_cell_annotation(word)
            or is_gene_annotation(word)
            or mostly_text_K[i - 1]
            or (word == "" and empty_K[i - 1])
            or is_written_index(word, list(cells_RK[:, i - 1]))
        )
    ]


def _is_text(cells: np.ndarray) -> np.ndarray:
    """Which cells are neither numbers nor missing."""
    flat = pd.Series(cells.ravel(), dtype=object).str.strip()
    missing = flat.str.lower().isin(_NOTHING)
    return (pd.to_numeric(flat, errors="coerce").isna() & ~missing).to_numpy().reshape(cells.shape)


def _collect(chunk: pd.DataFrame, numbers: list[int], names: list[str], parts: _Parts) -> None:
    """Take one piece of rows apart."""
    rows = [str(name).strip() for name in chunk[0]]
    for i, values in parts.side.items():
        values += [str(value).strip() for value in chunk[i]]
    table = chunk.iloc[:, 1:] if len(numbers) == chunk.shape[1] - 1 else chunk[numbers]
    text = [k for k, kind in enumerate(table.dtypes) if kind.kind not in "iuf"]
    if not text:
        values_RK = table.to_numpy(np.float32)
    else:
        values_RK = np.empty(table.shape, np.float32)
        plain = [k for k in range(len(names)) if k not in set(text)]
        values_RK[:, plain] = table.iloc[:, plain].to_numpy(np.float32)
        for k in text:
            values_RK[:, k] = pd.to_numeric(table.iloc[:, k].astype(str), errors="coerce").to_numpy(np.float32)
    bad_RK = np.isnan(values_RK)
    if bad_RK.any():
        kept = _without_text(table, rows, names, values_RK, bad_RK, parts)
        rows, values_RK = [rows[r] for r in kept], values_RK[kept]
        for i in parts.side:
            parts.side[i] = parts.side[i][: len(parts.side[i]) - len(chunk)] + [
                parts.side[i][len(parts.side[i]) - len(chunk) + r] for r in kept
            ]
    parts.rows += rows
    at_R, at_K = np.nonzero(values_RK)
    parts.data.append(values_RK[at_R, at_K])
    parts.indices.append(at_K.astype(np.int32))
    parts.counts.append(np.bincount(at_R, minlength=len(rows)))


def _without_text(
    table: pd.DataFrame, rows: list[str], names: list[str], values_RK: np.ndarray, bad_RK: np.ndarray, parts: _Parts
) -> list[int]:
    """Set rows of text apart; note other cells that are no numbers. Returns the rows that stay."""
    kept = []
    for r, row in enumerate(rows):
        if not bad_RK[r].any():
            kept.append(r)
            continue
        cells = ["" if pd.isna(cell) else str(cell).strip() for cell in table.iloc[r]]
        if _is_text(np.array(cells, dtype=object)).mean() > _MOSTLY:
            parts.side_rows[row] = cells
            continue
        kept.append(r)
        first = int(np.flatnonzero(bad_RK[r])[0])
        if not parts.trouble.count:
            parts.trouble.first = (cells[first], row, names[first])
        parts.trouble.count += int(bad_RK[r].sum())
    return kept


def _joined(parts: _Parts, num_columns: int) -> sparse.csr_matrix:
    """One matrix of all pieces; each list is emptied as it is joined, so that nothing is held twice."""

    def join(pieces: list[np.ndarray], kind: type) -> np.ndarray:
        result = np.concatenate(pieces) if pieces else np.empty(0, kind)
        pieces.clear()
        return result

    indptr = np.concatenate([[0], np.cumsum(join(parts.counts, np.int64))])
    data, indices = join(parts.data, np.float32), join(parts.indices, np.int32)
    return sparse.csr_matrix((data, indices, indptr), shape=(len(parts.rows), num_columns))
