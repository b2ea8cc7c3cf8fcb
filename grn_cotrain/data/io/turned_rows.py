"""Matrices that are stored column by column (CSC), turned into rows in a temporary file: in memory they need not fit.

Dimension letters: C cells, G features, N stored values.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from grn_cotrain.data.rows import StoredRows

__all__ = ["turned_rows"]

_CHUNK = 2**22
"""Stored values that are turned at once: about 200 MB with what is made of them."""
_BYTES = 8  # size of a value and its column in the temporary file


class _Scratch:
    """A temporary folder that is removed with the last object that needs it, or when the process ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="grn_cotrain-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def turned_rows(node: Any, pointers: np.ndarray, shape: tuple[int, int]) -> StoredRows | None:
    """Rows of a CSC matrix, or None if it is not in order, or the temporary file does not fit on the disk.

    Parameters
    ----------
    node
        Open group of the matrix; ``data`` and ``indices`` are read twice, a part at a time.
    pointers
        int64 ``[G + 1]``, ascending from 0 to the number of stored values.
    shape
        Numbers of cells and features.
    """
    import h5py

    number_C = _values_of_rows(node, pointers, shape[0])
    scratch = _Scratch()
    num_values = int(pointers[-1])
    if number_C is None or num_values == 0 or shutil.disk_usage(scratch.folder).free < 2 * _BYTES * num_values:
        return None
    path = scratch.folder / "rows.h5ad"
    indptr = np.concatenate([[0], np.cumsum(number_C)])
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array(shape)})
        group.create_dataset("indptr", data=indptr)
        offsets = {}
        for name, kind in (("data", np.float32), ("indices", np.int32)):
            part = group.create_dataset(name, (num_values,), kind)
            part[-1] = 0  # takes the place of the whole array
            offsets[name] = (part.id.get_offset(), kind)
    next_C = indptr[:-1].copy()
    for start in range(0, num_values, _CHUNK):
        stop = min(start + _CHUNK, num_values)
        row_N = node["indices"][start:stop].astype(np.int64)
        order_N = np.argsort(row_N, kind="stable")  # columns ascend within a row
        row_N = row_N[order_N]
        first_N = np.concatenate([[True], np.diff(row_N) > 0])
        before_N = np.arange(len(row_N)) - np.flatnonzero(first_N)[np.cumsum(first_N) - 1]
        place_N = next_C[row_N] + before_N
        next_C += np.bincount(row_N, minlength=shape[0])
        column_N = np.searchsorted(pointers, np.arange(start, stop), side="right") - 1
        for name, values_N in (("data", node["data"][start:stop]), ("indices", column_N)):
            offset, kind = offsets[name]
            # Mapped for each part again, so that written pages do not stay in memory.
            mapped = np.memmap(path, dtype=kind, mode="r+", offset=offset, shape=(num_values,))
            mapped[place_N] = values_N[order_N]
            del mapped
    return StoredRows(path, shape, keeps=scratch)


def _values_of_rows(node: Any, pointers: np.ndarray, num_cells: int) -> np.ndarray | None:
    """Stored values of each cell, int64 ``[C]``; None if an index is out of range, or not above the one before it."""
    number_C = np.zeros(num_cells, dtype=np.int64)
    before = np.empty(0, dtype=np.int64)
    for start in range(0, int(pointers[-1]), _CHUNK):
        stop = min(start + _CHUNK, int(pointers[-1]))
        row_N = node["indices"][start:stop].astype(np.int64)
        if int(row_N.min()) < 0 or int(row_N.max()) >= num_cells:
            return None
        joined = np.concatenate([before, row_N])
        begins = np.zeros(len(joined), dtype=bool)
        own = pointers[(pointers >= start) & (pointers < stop)] - start + len(before)
        begins[own] = True
        if bool(((np.diff(joined) <= 0) & ~begins[1:]).any()):
            return None
        number_C += np.bincount(row_N, minlength=num_cells)
        before = row_N[-1:]
    return number_C
