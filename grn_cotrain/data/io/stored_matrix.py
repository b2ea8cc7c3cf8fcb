"""A matrix of an AnnData, read from HDF5 or zarr without trusting the file's own description.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.sparse_check import announce_size, compressed, refuse_size
from grn_cotrain.errors import UserError

__all__ = ["read_stored", "read_table", "refuse_claims", "refuse_shape"]

_PARTS = ("data", "indices", "indptr")
_BY_COLUMN: Mapping[str, bool] = {"csr_matrix": False, "csc_matrix": True, "csr": False, "csc": True}


def read_stored(node: Any, shape: tuple[int, int], what: str) -> tuple[Any, list[str]]:
    """Read a dense or sparse matrix ``[C, G]``.

    Parameters
    ----------
    node
        Array or group of an open HDF5 file or zarr store.
    shape
        Numbers of cells and features that ``obs`` and ``var`` name.
    what
        How errors call it: ``counts 'cells.h5ad': X``.

    Returns
    -------
    csr_matrix, array or None, and list of str
        None if the file states that there is no matrix; lines to report.

    Raises
    ------
    UserError
        Another shape; a broken sparse structure; a size that the file cannot hold.
    OSError
        Parts of a zarr array are missing.
    """
    from anndata.io import read_elem

    form = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    if hasattr(node, "keys") and form in _BY_COLUMN:
        return _read_sparse(node, shape, what, by_column=_BY_COLUMN[form])
    if getattr(node, "shape", None) is not None:
        refuse_size(node, what)
        if np.prod(node.shape, dtype=float) != np.prod(shape, dtype=float):
            refuse_shape(node.shape, shape, what)
        announce_size(int(np.prod(node.shape)), what, dense=True)
    return read_elem(node), []


def _read_sparse(
    node: Any, shape: tuple[int, int], what: str, *, by_column: bool
) -> tuple[sparse.csr_matrix, list[str]]:
    lacking = [name for name in _PARTS if name not in node]
    if lacking:
        raise EOFError(f"{', '.join(lacking)} of {what.rpartition(': ')[2]} is missing")
    _refuse_lost_parts(node["data"], what)
    claimed = np.asarray(node.attrs.get("shape", node.attrs.get("h5sparse_shape", shape))).ravel()
    refuse_shape([int(n) for n in claimed], shape, what)
    for name in _PARTS:
        refuse_size(node[name], f"{what}: {name}")
    announce_size(int(node["data"].size), what)
    data, indices, indptr = (node[name][()] for name in _PARTS)
    return compressed(data, indices, indptr, shape, what, by_column=by_column)


def read_table(group: Any, name: str) -> pd.DataFrame:
    """Read ``obs`` or ``var`` (``raw/var``) of an AnnData, whose arrays claim no more than the file holds.

    Raises
    ------
    EOFError
        The table is missing.
    OSError
        Parts of its names are missing from a zarr store.
    """
    from anndata.io import read_elem

    node = group
    for part in name.split("/"):
        if part not in node:
            raise EOFError(f"{name} is missing")
        node = node[part]
    refuse_claims(node, name)
    if hasattr(node, "keys"):
        index = node.get(node.attrs.get("_index", "_index"))
        _refuse_lost_parts(index, f"{name}: the names of {name}")
        for column in node:
            categories = getattr(node[column], "get", lambda _: None)("categories")
            if getattr(categories, "size", 0) > 1:  # a single one may be the empty text, which takes no chunk
                _refuse_lost_parts(categories, f"{name}: {name}/{column}")
    return read_elem(node)


def refuse_shape(found: Any, shape: tuple[int, int], what: str) -> None:
    """Refuse a matrix of another shape than ``obs`` and ``var`` name."""
    if tuple(found) != tuple(shape):
        size = " x ".join(f"{n:,}" for n in found)
        raise UserError(
            f"{what}: is {size}, but obs names {shape[0]:,} cells and var {shape[1]:,} features; "
            "the parts do not belong together: write the file again"
        )


def _refuse_lost_parts(values: Any, what: str) -> None:
    """Refuse a zarr array with a lost chunk, which reads as zeros or empty text without a word.

    Only for arrays that are never all zero or empty: a chunk that is has no file in a whole store either.
    """
    stored = getattr(values, "nchunks_initialized", None)
    if stored is not None and stored < values.nchunks:
        place = what.rpartition(": ")[2]
        raise OSError(f"{values.nchunks - stored} of {values.nchunks} parts of {place} are missing")


def refuse_claims(group: Any, what: str, *, depth: int = 4) -> None:
    """Refuse arrays below ``group`` that claim more values than the file holds; nothing of them is read."""
    for name in group if hasattr(group, "keys") else ():
        node = group.get(name)
        if hasattr(node, "keys") and depth:
            form = str(node.attrs.get("h5sparse_format", ""))
            if form in _BY_COLUMN and "indptr" in node:  # the oldest layout, whose reader believes the shape
                claimed = [int(n) for n in np.asarray(node.attrs.get("h5sparse_shape", (0, 0))).ravel()]
                lines = claimed[1 if _BY_COLUMN[form] else 0]
                if node["indptr"].shape != (lines + 1,):
                    raise UserError(
                        f"{what}: {name}: its structure is broken: it claims {lines:,} rows, but indptr has "
                        f"{node['indptr'].size:,} entries; compare the file with its source, or write it again"
                    )
            refuse_claims(node, what, depth=depth - 1)
        elif node is not None:
            refuse_size(node, f"{what}: {name}")
