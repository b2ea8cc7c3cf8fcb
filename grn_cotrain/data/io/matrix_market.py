"""The numbers of a Matrix Market file, packed or not, checked against its line of sizes.

Read through pandas: scipy's reader ends the process, by a signal, on some damaged files.

Dimension letters: R rows, K columns, N entries.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.packed import DAMAGE, open_unpacked
from grn_cotrain.data.io.sparse_check import announce_size
from grn_cotrain.errors import UserError

__all__ = ["MATRIX_MARKET", "market_shape", "read_market"]

MATRIX_MARKET = b"%%Matrix"
_LONGEST_LINE = 10_000
_CHUNK_LINES = 2_000_000
_VALUES = ("integer", "real", "pattern", "unsigned-integer", "double")


def _damaged(what: str, why: object) -> UserError:
    return UserError(f"{what}: the matrix is damaged or cut short ({why}); fetch it again")


def market_shape(matrix: Path, what: str) -> tuple[int, int]:
    """Rows and columns, from the first lines alone; ``what`` is how errors call the file.

    Raises
    ------
    UserError
        Not a Matrix Market file, or damaged.
    """
    try:
        with open_unpacked(matrix) as handle:
            _, sizes = _head(handle, what)
    except (*DAMAGE, OSError) as error:
        raise _damaged(what, error) from None
    return sizes[0], sizes[1]


def read_market(matrix: Path, what: str) -> sparse.coo_matrix:
    """Read all entries, float32 ``[R, K]``. An entry may stand twice: who converts the matrix must look for that.

    Raises
    ------
    UserError
        A damaged file: fewer or more entries than it declares, a place outside the matrix, a value that is no number;
        a symmetric or complex matrix, which counts never are.
    """
    try:
        with open_unpacked(matrix) as handle, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line with too many numbers
            words, sizes = _head(handle, what)
            return _READERS[words[2]](handle, words[3] == "pattern", sizes, what)
    except (*DAMAGE, OSError) as error:
        raise _damaged(what, error) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeError) as error:
        raise _damaged(what, error) from None


def _head(handle: IO[bytes], what: str) -> tuple[list[str], list[int]]:
    """The words of the first line, and the sizes."""
    words = handle.readline(_LONGEST_LINE).decode("ascii", "replace").lower().split()
    if len(words) < 5 or words[0] != "%%matrixmarket" or words[2] not in _READERS:
        raise _damaged(what, "its first line is not that of a Matrix Market file")
    if words[4] != "general" or words[3] not in _VALUES:
        raise UserError(
            f"{what}: is a Matrix Market file of {words[3]} values, {words[4]}; counts are integer or real, "
            "general: write it so (scipy.io.mmwrite(file, matrix, symmetry='general'))"
        )
    for line in iter(lambda: handle.readline(_LONGEST_LINE), b""):
        if not line.strip() or line.startswith(b"%"):
            continue
        sizes = [int(word) for word in line.split() if word.isdigit() and len(word) < 19]
        if len(sizes) != len(line.split()) or len(sizes) != (3 if words[2] == "coordinate" else 2):
            break
        return words, sizes
    raise _damaged(what, "no line of sizes")


def _read_coordinates(handle: IO[bytes], pattern: bool, sizes: list[int], what: str) -> sparse.coo_matrix:
    num_rows, num_columns, num_entries = sizes
    announce_size(num_entries, what)
    rows, columns, data = [], [], []
    for chunk in _lines(handle, 2 if pattern else 3) if num_entries else ():
        table = _numbers(chunk, what)
        rows.append(_places(table[:, 0], num_rows, "row", what))
        columns.append(_places(table[:, 1], num_columns, "column", what))
        data.append(np.ones(len(table), np.float32) if pattern else table[:, 2].astype(np.float32))
    found = sum(map(len, data))
    if found != num_entries:
        raise _damaged(what, f"it declares {num_entries:,} entries and holds {found:,}")
    empty = np.empty(0, np.int32)
    places = (np.concatenate([*rows, empty]), np.concatenate([*columns, empty]))
    return sparse.coo_matrix((np.concatenate([*data, np.empty(0, np.float32)]), places), shape=(num_rows, num_columns))


def _read_array(handle: IO[bytes], _: bool, sizes: list[int], what: str) -> sparse.coo_matrix:
    """Dense values, column by column."""
    values = np.concatenate([*(_numbers(chunk, what)[:, 0] for chunk in _lines(handle, 1)), np.empty(0)])
    if values.size != sizes[0] * sizes[1]:
        raise _damaged(what, f"it declares {sizes[0]:,} x {sizes[1]:,} values and holds {values.size:,}")
    return sparse.coo_matrix(values.reshape(sizes[0], sizes[1], order="F").astype(np.float32))


_READERS: dict[str, Callable[[IO[bytes], bool, list[int], str], sparse.coo_matrix]] = {
    "coordinate": _read_coordinates,
    "array": _read_array,
}


def _lines(handle: IO[bytes], width: int) -> pd.io.parsers.TextFileReader:
    return pd.read_csv(
        handle,
        sep=r"\s+",
        header=None,
        names=range(width),
        index_col=False,
        comment="%",
        chunksize=_CHUNK_LINES,
        low_memory=False,
        on_bad_lines="error",
    )


def _numbers(chunk: pd.DataFrame, what: str) -> np.ndarray:
    try:
        table = chunk.to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise _damaged(what, error) from None
    if np.isnan(table[:, : min(2, table.shape[1])]).any() or chunk.isna().any(axis=None):
        raise _damaged(what, "an entry lacks its row, its column or its value")
    return table


def _places(values_N: np.ndarray, size: int, axis: str, what: str) -> np.ndarray:
    """Places counted from 0."""
    if values_N.size and not (values_N.min() >= 1 and values_N.max() <= size and (values_N == np.rint(values_N)).all()):
        wrong = values_N[(values_N < 1) | (values_N > size) | (values_N != np.rint(values_N))][0]
        raise _damaged(what, f"an entry is in {axis} {wrong:g} of {size:,}")
    return values_N.astype(np.int64).astype(np.int32) - 1
