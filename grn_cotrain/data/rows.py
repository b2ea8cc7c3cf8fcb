"""Rows of matrices on disk: read when they are asked for, and changed on the way by steps that act on rows alone.

Dimension letters: C cells, B some of them, F features, N stored values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.store import BLOCK_VALUES
from grn_cotrain.errors import UserError

__all__ = ["ChangedRows", "RowSource", "RowsThrough", "StoredRows", "row_blocks"]

_GAP = 16_384
"""Stored values between two wanted rows that are read with them: chunks on disk are about so large."""
_CACHE = 32 * 2**20
_MOST_DENSE = 2**24
"""Values of an array that are read at once so that each chunk is unpacked once: 64 MB."""
_FIX = "write the file again, or prepare the folder again"


class RowSource(Protocol):
    """Rows of a matrix, CSR float32 with sorted indices and no stored zeros."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and features."""

    @property
    def rows_at_once(self) -> int:
        """Cells that hold about :data:`BLOCK_VALUES` values as they are stored."""

    def read(self, index_B: np.ndarray) -> sparse.csr_matrix:
        """The cells at ``index_B``, in that order."""

    def num_values(self) -> np.ndarray:
        """Values of each cell, int64 ``[C]``."""

    def take(self, index_B: np.ndarray) -> RowSource:
        """The cells at ``index_B``, in that order."""

    def columns(self, index_F: np.ndarray | slice) -> RowSource:
        """The features at ``index_F``, in that order."""


def row_blocks(source: RowSource) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
    """All cells in order, block by block: their rows, and CSR float32 ``[B, F]``."""
    size = source.rows_at_once
    for start in range(0, source.shape[0], size):
        some_B = np.arange(start, min(start + size, source.shape[0]))
        yield some_B, source.read(some_B)


class ChangedRows:
    """Ways to derive other rows, the same for every source."""

    def columns(self: RowSource, index_F: np.ndarray | slice) -> RowsThrough:
        """The features at ``index_F``, in that order."""
        width = len(np.arange(self.shape[1])[index_F])
        return RowsThrough(self, lambda part_BF: part_BF[:, index_F], width)

    def num_values(self: RowSource) -> np.ndarray:
        """Values of each cell, int64 ``[C]``: all are read once."""
        blocks = [np.diff(part_BF.indptr) for _, part_BF in row_blocks(self)]
        return np.concatenate([np.empty(0, np.int64), *blocks]).astype(np.int64)


class RowsThrough(ChangedRows):
    """Rows of another source after a step that treats every row by itself.

    Parameters
    ----------
    source
        The other source.
    step
        CSR ``[B, F]`` -> CSR ``[B, width]``.
    width
        Features after the step.
    """

    def __init__(self, source: RowSource, step: Callable[[sparse.csr_matrix], sparse.csr_matrix], width: int) -> None:
        self.source, self.step, self.shape = source, step, (source.shape[0], width)

    @property
    def rows_at_once(self) -> int:
        """As of the source, whose values are held too."""
        return self.source.rows_at_once

    def take(self, index_B: np.ndarray) -> RowsThrough:
        """The cells at ``index_B``, in that order."""
        return RowsThrough(self.source.take(index_B), self.step, self.shape[1])

    def read(self, index_B: np.ndarray) -> sparse.csr_matrix:
        """The cells at ``index_B``, in that order."""
        part_BF = self.step(self.source.read(index_B))
        part_BF.sum_duplicates()
        part_BF.eliminate_zeros()
        return part_BF


class StoredRows(ChangedRows):
    """Rows of one matrix in an h5ad or h5mu file or a zarr store: CSR, or an array with a row a cell.

    Only the pointers to rows are kept in memory, 8 bytes a cell.

    Parameters
    ----------
    path
        File or store.
    shape
        Cells and features that it must have.
    group
        Where the matrix is stored: ``X``, ``layers/counts``, ``mod/rna/X``.
    row_C
        Row of the matrix that holds each cell, -1 where it holds none; by default row ``i`` holds cell ``i``.
    keeps
        An object that lives as long as these rows, such as the owner of a temporary file.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        group: str = "X",
        *,
        row_C: np.ndarray | None = None,
        keeps: object = None,
    ) -> None:
        self.path, self.shape, self.group = path, shape, group
        self._row_C, self._keeps = row_C, keeps
        self._what = f"cells '{path}'"

    @cached_property
    def _node(self) -> Any:
        """The open matrix; the file stays open as long as this object lives."""
        import h5py

        with reading(self._what, _FIX):
            if self.path.is_dir():
                import zarr

                root: Any = zarr.open_group(str(self.path), mode="r")
            else:
                root = h5py.File(self.path, "r", rdcc_nbytes=_CACHE)
            node = root[self.group]
        rows = self.shape[0] if self._row_C is None else None
        form = str(node.attrs.get("encoding-type", ""))
        found = tuple(int(n) for n in np.asarray(node.attrs.get("shape", getattr(node, "shape", (-1, -1)))).ravel())
        if form not in ("csr_matrix", "array") or len(found) != 2:
            raise UserError(f"{self._what}: {self.group} is {form or 'no matrix'}; store it as CSR, a row a cell")
        if found[1] != self.shape[1] or rows not in (None, found[0]):
            raise UserError(
                f"{self._what}: {self.group} is {found[0]:,} x {found[1]:,}, expected {self.shape[0]:,} x "
                f"{self.shape[1]:,}; {_FIX}"
            )
        return node

    @cached_property
    def _indptr(self) -> np.ndarray | None:
        """int64 pointers to the stored rows; None if the matrix is an array."""
        if not hasattr(self._node, "keys"):
            return None
        with reading(self._what, _FIX):
            return np.asarray(self._node["indptr"][:], dtype=np.int64)

    def take(self, index_B: np.ndarray) -> StoredRows:
        """The same matrix, of the cells at ``index_B`` in that order."""
        row_B = index_B if self._row_C is None else self._row_C[index_B]
        return StoredRows(self.path, (len(index_B), self.shape[1]), self.group, row_C=row_B, keeps=self._keeps)

    @property
    def rows_at_once(self) -> int:
        """Cells that hold about :data:`BLOCK_VALUES` values."""
        if self._indptr is None:
            chunk = (getattr(self._node, "chunks", None) or (1,))[0]  # rows that are unpacked together
            width = max(1, self.shape[1])
            return max(1, BLOCK_VALUES // width, min(int(chunk), _MOST_DENSE // width))
        number_C = self.num_values()
        return max(1, int(BLOCK_VALUES / max(1.0, float(number_C.mean()) if number_C.size else 1.0)))

    def num_values(self) -> np.ndarray:
        """Stored values of each cell, int64 ``[C]``."""
        if self._indptr is None:
            return super().num_values()
        number = np.diff(self._indptr)
        if self._row_C is None:
            return number
        return np.where(self._row_C >= 0, number[self._row_C], 0)

    def read(self, index_B: np.ndarray) -> sparse.csr_matrix:
        """The cells at ``index_B``, in that order: CSR float32 ``[B, F]``.

        Rows are read from disk in ascending order, each once, and neighbours together.
        """
        wanted_B = np.asarray(index_B, dtype=np.int64)
        wanted_B = wanted_B if self._row_C is None else self._row_C[wanted_B]
        row_U, place_B = np.unique(wanted_B, return_inverse=True)
        has_none = bool(row_U.size and row_U[0] < 0)
        row_U = row_U[1:] if has_none else row_U
        with reading(self._what, _FIX):
            part_UF = self._read_dense(row_U) if self._indptr is None else self._read_sparse(row_U)
        if has_none:
            empty = sparse.csr_matrix((1, self.shape[1]), dtype=np.float32)
            part_UF = sparse.vstack([empty, part_UF], format="csr")
        return part_UF if np.array_equal(place_B, np.arange(part_UF.shape[0])) else part_UF[place_B]

    def _read_dense(self, row_U: np.ndarray) -> sparse.csr_matrix:
        values = np.asarray(self._node[row_U, :] if not self.path.is_dir() else self._node.oindex[row_U, :])
        return sparse.csr_matrix(values.astype(np.float32, copy=False))

    def _read_sparse(self, row_U: np.ndarray) -> sparse.csr_matrix:
        assert self._indptr is not None
        low_U, high_U = self._indptr[row_U], self._indptr[row_U + 1]
        indptr = np.concatenate([[0], np.cumsum(high_U - low_U)])
        data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
        breaks = np.flatnonzero(low_U[1:] - high_U[:-1] > _GAP) + 1
        for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(row_U)], strict=True):
            if first == last:
                continue
            start, stop = int(low_U[first]), int(high_U[last - 1])
            stored, columns = self._node["data"][start:stop], self._node["indices"][start:stop]
            if stop - start > indptr[last] - indptr[first]:  # rows between them were read too
                ends = zip(low_U[first:last] - start, high_U[first:last] - start, strict=True)
                keep = np.concatenate([np.arange(a, b) for a, b in ends])
                stored, columns = stored[keep], columns[keep]
            data[indptr[first] : indptr[last]] = stored
            indices[indptr[first] : indptr[last]] = columns
        return sparse.csr_matrix((data, indices, indptr), shape=(len(row_U), self.shape[1]), copy=False)
