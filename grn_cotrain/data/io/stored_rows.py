"""Matrices that stay on disk while their cells are read: which ones can, after their structure was checked.

Dimension letters: C cells, B some of them, G features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import sparse

from grn_cotrain.data.io.sparse_check import refuse_size
from grn_cotrain.data.io.turned_rows import turned_rows
from grn_cotrain.data.rows import StoredRows, row_blocks
from grn_cotrain.data.store import IN_MEMORY_VALUES
from grn_cotrain.errors import UserError

__all__ = ["Place", "rows_on_disk"]

Place = Literal["memory", "auto", "backed"]
"""Where values are kept: in memory, on disk, or on disk where there are more than ``IN_MEMORY_VALUES``."""
_LINES = {"csr_matrix": 0, "csc_matrix": 1}  # the axis that indptr walks along
_PARTS = ("data", "indices", "indptr")


def rows_on_disk(path: Path, node: Any, shape: tuple[int, int], place: Place) -> StoredRows | None:
    """Rows of a matrix that can be read block by block, or None if it has to be read whole.

    A matrix is read whole if it is small (``auto``), is not in order, or is broken: the reader that has it in memory
    sorts it, or refuses it. One that is stored by columns is turned: see :mod:`~grn_cotrain.data.io.turned_rows`.

    Parameters
    ----------
    path
        The file or store, which must stay where it is.
    node
        Group or array of the matrix.
    shape
        Numbers of cells and features that ``obs`` and ``var`` name.
    place
        Place that the caller asks for.
    """
    form = str(node.attrs.get("encoding-type", ""))
    if place != "memory" and not hasattr(node, "keys"):
        return _array_on_disk(path, node, shape, place)
    if place == "memory" or form not in _LINES or any(name not in node for name in _PARTS):
        return None
    data, indices, pointers = (node[name] for name in _PARTS)
    if place == "auto" and data.size <= IN_MEMORY_VALUES:
        return None
    try:
        for part in (data, indices, pointers):
            refuse_size(part, "")
    except UserError:  # the reader that takes memory for it reports this
        return None
    claimed = tuple(int(n) for n in np.asarray(node.attrs.get("shape", (-1, -1))).ravel())
    lost = getattr(data, "nchunks_initialized", None)  # a zarr store with a lost chunk reads as zeros
    if claimed != tuple(shape) or (lost is not None and lost < data.nchunks) or data.size != indices.size:
        return None
    if data.dtype.kind not in "biuf" or indices.dtype.kind not in "iu" or pointers.dtype.kind not in "iu":
        return None
    if not data.ndim == indices.ndim == pointers.ndim == 1 or pointers.shape != (shape[_LINES[form]] + 1,):
        return None
    indptr = pointers[:].astype(np.int64)
    if indptr[0] != 0 or indptr[-1] != data.size or bool((np.diff(indptr) < 0).any()):
        return None
    if form == "csc_matrix":
        return turned_rows(node, indptr, shape)
    rows = StoredRows(path, shape, str(node.name).strip("/"))
    return rows if all(_in_order(part_BG) for _, part_BG in row_blocks(rows)) else None


def _array_on_disk(path: Path, node: Any, shape: tuple[int, int], place: Place) -> StoredRows | None:
    """Rows of an array with a row a cell."""
    form = str(node.attrs.get("encoding-type", ""))
    if form != "array" or tuple(node.shape) != tuple(shape) or node.dtype.kind not in "biuf":
        return None
    if place == "auto" and node.size <= IN_MEMORY_VALUES:
        return None
    try:
        refuse_size(node, "")
    except UserError:  # the reader that takes memory for it reports this
        return None
    return StoredRows(path, shape, str(node.name).strip("/"))


def _in_order(part_BG: sparse.csr_matrix) -> bool:
    """Whether indices exist, and increase in every row."""
    indices = part_BG.indices
    if not indices.size:
        return True
    if int(indices.min()) < 0 or int(indices.max()) >= part_BG.shape[1]:
        return False
    row_N = np.repeat(np.arange(part_BG.shape[0]), np.diff(part_BG.indptr))
    return bool(((np.diff(indices) > 0) | (np.diff(row_N) > 0)).all())
