"""The structure of a sparse matrix, checked once where it enters, before any compiled code follows its pointers.

SciPy trusts ``indptr`` and ``indices``: a wrong entry reads memory that belongs to something else, or moves a value to
another gene. Every reader passes its arrays through :func:`compressed`, and every matrix that is already in memory
passes :func:`checked`.

Dimension letters: C rows, G columns, M rows or columns that ``indptr`` walks along, N stored values.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from scipy import sparse

from grn_cotrain.data.store import IN_MEMORY_VALUES
from grn_cotrain.errors import UserError

__all__ = ["announce_size", "checked", "compressed", "index_in_range", "refuse_size"]

logger = logging.getLogger(__name__)

_ALWAYS_READ = 2**28  # bytes: below this a wrong size costs nothing
_MOST_PACKED = 5000  # gzip shrinks by at most 1,032; no real matrix comes near this


def compressed(
    data: Any, indices: Any, indptr: Any, shape: tuple[int, int], what: str, *, by_column: bool = False
) -> tuple[sparse.csr_matrix, list[str]]:
    """Build a CSR matrix from stored arrays whose structure is checked.

    Parameters
    ----------
    data, indices, indptr
        Arrays as a file holds them; integers of any width.
    shape
        ``(C, G)``.
    what
        How errors call the matrix: ``counts 'cells.h5ad': X``.
    by_column
        The arrays are those of a CSC matrix.

    Returns
    -------
    csr_matrix, list of str
        Sorted and without repeated entries; lines to report.

    Raises
    ------
    UserError
        Arrays of wrong length or type; pointers that do not start at 0, decrease, or do not end at the number of
        values; an index out of range; an entry that is stored twice.
    """
    data, indices, indptr = np.asarray(data), np.asarray(indices), np.asarray(indptr)
    major, minor = (shape[1], shape[0]) if by_column else shape
    _refuse_broken(data, indices, indptr, (int(major), int(minor)), what, by_column=by_column)
    form = sparse.csc_matrix if by_column else sparse.csr_matrix
    matrix = form((data, _signed(indices), _signed(indptr)), shape=shape)
    return _in_order(matrix, what)


def checked(X: Any, what: str) -> tuple[sparse.csr_matrix, list[str]]:
    """Return a sparse matrix in memory as CSR, once its structure is checked; ``X`` itself is not changed.

    ``what`` is how errors call it: ``adata: X``.

    Raises
    ------
    UserError
        As for :func:`compressed`.
    """
    if X.format in ("csr", "csc"):
        # A matrix in memory may keep spare room behind its last value.
        used = int(X.indptr[-1]) if len(X.indptr) and 0 <= X.indptr[-1] <= len(X.indices) else len(X.indices)
        arrays = (X.data[:used], X.indices[:used], X.indptr)
        return compressed(*arrays, X.shape, what, by_column=X.format == "csc")
    if X.format == "coo":
        for name, axis in (("row", 0), ("col", 1)):
            index_in_range(getattr(X, name), X.shape[axis], what, name=f"entries of {name}")
        if not len(X.data) == len(X.row) == len(X.col):
            raise _broken(what, f"{len(X.data):,} values for {len(X.row):,} rows and {len(X.col):,} columns")
        # Converting to CSR adds up what is stored twice, so it is looked for before.
        by_row = sparse.csr_matrix((np.ones(len(X.data), np.int8), (X.row, X.col)), shape=X.shape)
        if by_row.nnz < len(X.data):
            raise _repeated(what, len(X.data) - by_row.nnz)
    elif X.format == "bsr":
        try:
            X.check_format(full_check=True)
        except ValueError as error:
            raise _broken(what, str(error)) from None
    return _in_order(sparse.csr_matrix(X), what)


def index_in_range(index_N: Any, size: int, what: str, *, name: str = "indices") -> None:
    """Refuse an array that does not consist of integers from 0 to ``size`` - 1; ``what`` is what it belongs to."""
    index_N = np.asarray(index_N)
    _refuse_fractions(index_N, what, name)
    if not index_N.size:
        return
    low, high = int(index_N.min()), int(index_N.max())
    if low < 0 or high >= size:
        wrong = int(((index_N < 0) | (index_N >= size)).sum())
        worst = low if low < 0 else high
        raise _broken(what, f"{wrong:,} {name} are out of range ({worst:,}, but 0 to {size - 1:,} exist)")


def refuse_size(node: Any, what: str) -> None:
    """Refuse a stored array that claims far more values than its file holds, before memory is taken for it.

    ``node`` is an array of HDF5 or zarr; other nodes pass.
    """
    size, itemsize = getattr(node, "size", None), getattr(getattr(node, "dtype", None), "itemsize", None)
    if size is None or itemsize is None or int(size) * itemsize <= _ALWAYS_READ:
        return
    stored = node.id.get_storage_size() if hasattr(node, "id") else node.nbytes_stored()
    if int(size) * itemsize > _MOST_PACKED * max(int(stored), 1):
        raise _broken(what, f"it claims {int(size):,} values, and the file holds {int(stored):,} bytes of them")


def announce_size(num_values: int, what: str, *, dense: bool = False) -> None:
    """Log how much memory the values of a large matrix will take, before they are read whole."""
    if num_values > IN_MEMORY_VALUES:
        size = num_values * (4 if dense else 16) / 2**30  # sparse: a value, its index, and a copy of both
        logger.warning(
            "%s: %s values are read into memory and take at least %.1f GiB; an h5ad or a zarr store of this size is "
            "read block by block",
            what,
            f"{num_values:,}",
            size,
        )


def _refuse_broken(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, size: tuple[int, int], what: str, *, by_column: bool
) -> None:
    major, minor = size
    lines = "columns" if by_column else "rows"
    if not data.ndim == indices.ndim == indptr.ndim == 1:
        raise _broken(what, "data, indices and indptr must have one dimension each")
    if data.dtype.kind not in "biuf":
        raise UserError(f"{what}: its values are of type {data.dtype}, not numbers; give counts or log1p values")
    if len(data) != len(indices):
        raise _broken(what, f"it has {len(data):,} values, but {len(indices):,} indices")
    if len(indptr) != major + 1:
        raise _broken(what, f"indptr has {len(indptr):,} entries, but {major:,} {lines} need {major + 1:,}")
    _refuse_fractions(indptr, what, "entries of indptr")
    first, last = int(indptr[0]), int(indptr[-1])
    if first != 0 or last != len(indices):
        raise _broken(what, f"indptr runs from {first:,} to {last:,}, but must run from 0 to {len(indices):,}")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        raise _broken(what, f"indptr decreases after {lines[:-1]} {int(falls[0]):,}")
    index_in_range(indices, minor, what)


def _refuse_fractions(index_N: np.ndarray, what: str, name: str) -> None:
    if index_N.dtype.kind not in "iu":
        raise _broken(what, f"{name} are of type {index_N.dtype}, not integers")


def _signed(index_N: np.ndarray) -> np.ndarray:
    """SciPy knows int32 and int64 alone; the range is checked already."""
    return index_N if index_N.dtype in (np.int32, np.int64) else index_N.astype(np.int64)


def _in_order(matrix: Any, what: str) -> tuple[sparse.csr_matrix, list[str]]:
    """CSR with sorted rows; what is stored twice is refused, since nobody knows whether it is a sum or an error."""
    if matrix.has_canonical_format:
        return matrix.tocsr(), []
    notes = []
    if not matrix.has_sorted_indices:
        notes.append(f"{what}: some indices were not in order and were sorted")
        matrix = matrix.copy()
        matrix.sort_indices()
    lines = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
    twice_N = (matrix.indices[1:] == matrix.indices[:-1]) & (lines[1:] == lines[:-1])
    if twice_N.any():
        raise _repeated(what, int(twice_N.sum()))
    return matrix.tocsr(), notes


def _repeated(what: str, count: int) -> UserError:
    return UserError(
        f"{what}: {count:,} entries are stored more than once, so their values are not known; "
        "if they are to be added up, call X.sum_duplicates() and save the file again"
    )


def _broken(what: str, trouble: str) -> UserError:
    return UserError(f"{what}: its structure is broken: {trouble}; compare the file with its source, or write it again")
