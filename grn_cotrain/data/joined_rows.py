"""Rows of several matrices as those of one: features next to each other, or cells one below the other.

Dimension letters: B some cells, C cells, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from grn_cotrain.data.rows import ChangedRows, RowSource
from grn_cotrain.data.store import BLOCK_VALUES

__all__ = ["BelowRows", "BesideRows", "HeldRows"]


class HeldRows(ChangedRows):
    """Rows of a matrix in memory.

    Parameters
    ----------
    values_CF
        CSR ``[C, F]`` or what can be made one; a value stored as 0 is left out.
    """

    def __init__(self, values_CF: sparse.csr_matrix) -> None:
        self.values_CF = sparse.csr_matrix(values_CF, dtype=np.float32)
        self.shape = self.values_CF.shape

    @property
    def rows_at_once(self) -> int:
        """Cells that hold about :data:`BLOCK_VALUES` values."""
        return max(1, int(BLOCK_VALUES * self.shape[0] / max(1, self.values_CF.nnz)))

    def take(self, index_B: np.ndarray) -> HeldRows:
        """The cells at ``index_B``, in that order."""
        return HeldRows(self.values_CF[index_B])

    def read(self, index_B: np.ndarray) -> sparse.csr_matrix:
        """The cells at ``index_B``, in that order."""
        part_BF = self.values_CF[index_B]
        part_BF.sum_duplicates()
        part_BF.eliminate_zeros()
        return part_BF


class BesideRows(ChangedRows):
    """Features of several sources next to each other, over one list of cells.

    Parameters
    ----------
    sources
        Sources with their own cells.
    rows
        For each source the row of each cell, int64 ``[C]``; -1 where a source does not have the cell.
    """

    def __init__(self, sources: Sequence[RowSource], rows: Sequence[np.ndarray]) -> None:
        self.sources, self.rows = list(sources), [np.asarray(row_C, dtype=np.int64) for row_C in rows]
        self.shape = (len(self.rows[0]), sum(source.shape[1] for source in self.sources))

    @property
    def rows_at_once(self) -> int:
        """Cells that the source with the most values at once allows, shared by all sources."""
        return max(1, min(source.rows_at_once for source in self.sources) // len(self.sources))

    def take(self, index_B: np.ndarray) -> BesideRows:
        """The cells at ``index_B``, in that order."""
        return BesideRows(self.sources, [row_C[index_B] for row_C in self.rows])

    def read(self, index_B: np.ndarray) -> sparse.csr_matrix:
        """The cells at ``index_B``, in that order."""
        parts = []
        for source, row_C in zip(self.sources, self.rows, strict=True):
            row_B = row_C[index_B]
            has_B = row_B >= 0
            part_BF = source.read(row_B[has_B])
            if not has_B.all():
                number_B = np.zeros(len(row_B), dtype=part_BF.indptr.dtype)
                number_B[has_B] = np.diff(part_BF.indptr)
                indptr = np.concatenate([[0], np.cumsum(number_B)])
                shape = (len(row_B), source.shape[1])
                part_BF = sparse.csr_matrix((part_BF.data, part_BF.indices, indptr), shape=shape, copy=False)
            parts.append(part_BF)
        return parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr")


class BelowRows(ChangedRows):
    """Cells of several sources one below the other, over the same features.

    Parameters
    ----------
    sources
        Sources of one width.
    row_C
        Cells to have, by their place in the list of all; default: all, in order.
    """

    def __init__(self, sources: Sequence[RowSource], row_C: np.ndarray | None = None) -> None:
        self.sources = list(sources)
        self._start_S = np.concatenate([[0], np.cumsum([source.shape[0] for source in self.sources])])
        self._row_C = np.arange(self._start_S[-1]) if row_C is None else row_C
        self.shape = (len(self._row_C), self.sources[0].shape[1])

    @property
    def rows_at_once(self) -> int:
        """Cells that the source with the most values at once allows."""
        return max(1, min(source.rows_at_once for source in self.sources))

    def take(self, index_B: np.ndarray) -> BelowRows:
        """The cells at ``index_B``, in that order."""
        return BelowRows(self.sources, self._row_C[index_B])

    def read(self, index_B: np.ndarray) -> sparse.csr_matrix:
        """The cells at ``index_B``, in that order."""
        row_B = self._row_C[np.asarray(index_B, dtype=np.int64)]
        source_B = np.searchsorted(self._start_S, row_B, side="right") - 1
        parts, places = [], []
        for number, source in enumerate(self.sources):
            place = np.flatnonzero(source_B == number)
            if place.size:
                parts.append(source.read(row_B[place] - self._start_S[number]))
                places.append(place)
        if not parts:
            return sparse.csr_matrix((0, self.shape[1]), dtype=np.float32)
        if len(parts) == 1:
            return parts[0]
        order = np.concatenate(places)
        joined_BF = sparse.vstack(parts, format="csr")
        return joined_BF if np.array_equal(order, np.arange(len(order))) else joined_BF[np.argsort(order)]
