"""Cells on disk: rows are read when they are asked for, so that memory does not grow with the number of cells.

Dimension letters: C cells, B some of them, F features of one assay, N stored values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.assays import Assay
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.store import BLOCK_VALUES, StoreBase
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

__all__ = ["BackedStore", "StoredRows"]

_GAP = 16_384
"""Stored values between two wanted rows that are read with them: chunks on disk are about so large."""
_CACHE = 32 * 2**20
_FIX = "write the file again, or prepare the folder again"


class StoredRows:
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
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], group: str = "X", *, row_C: np.ndarray | None = None
    ) -> None:
        self.path, self.shape, self.group = path, shape, group
        self._row_C = row_C
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
        return StoredRows(self.path, (len(index_B), self.shape[1]), self.group, row_C=row_B)

    def num_values(self) -> np.ndarray:
        """Stored values of each cell, int64 ``[C]``."""
        if self._indptr is None:
            step = max(1, BLOCK_VALUES // max(1, self.shape[1]))
            blocks = [
                np.diff(self.read(np.arange(start, min(start + step, self.shape[0]))).indptr)
                for start in range(0, self.shape[0], step)
            ]
            return np.concatenate([np.empty(0, np.int64), *blocks]).astype(np.int64)
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
            keep = np.concatenate([np.arange(a, b) for a, b in zip(low_U[first:last], high_U[first:last], strict=True)])
            data[indptr[first] : indptr[last]] = stored[keep - start]
            indices[indptr[first] : indptr[last]] = columns[keep - start]
        return sparse.csr_matrix((data, indices, indptr), shape=(len(row_U), self.shape[1]), copy=False)


class BackedStore(StoreBase):
    """Cells whose values stay on disk; see :class:`~grn_cotrain.data.store.CellStore`.

    Parameters
    ----------
    vocab, obs, assays
        As of cells in memory.
    sources
        Rows of each assay.
    content_hash
        Hash of the same cells in memory.
    verify
        Checks the files against what was recorded of them, when something reads all cells.
    """

    def __init__(
        self,
        vocab: FeatureVocab,
        obs: pd.DataFrame,
        assays: Mapping[str, Assay],
        sources: Mapping[str, StoredRows],
        content_hash: str,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        self.vocab, self.obs, self.assays = vocab, obs, assays
        self.content_hash = content_hash
        self._sources = sources
        self._verify = verify
        self._number: dict[tuple[str, bool], np.ndarray] = {}

    def rows(self, index_B: np.ndarray) -> dict[str, sparse.csr_matrix]:
        """Values as stored of the cells at ``index_B``, in that order: assay -> CSR float32 ``[B, F]``."""
        return {name: source.read(index_B) for name, source in self._sources.items()}

    def normalised(self, index: np.ndarray | None = None, assay: str | None = None) -> sparse.csr_matrix:
        """Normalised values, CSR float32 ``[B, columns]``; only the asked assay is read."""
        if assay is None:
            return super().normalised(index, assay)
        index_B = np.arange(self.num_cells) if index is None else np.asarray(index, dtype=np.int64)
        return self.assays[assay].normalised(self._sources[assay].read(index_B), index_B)

    def num_values(self, assay: str, *, tokens: bool = False) -> np.ndarray:
        """Stored values of each cell in an assay, int64 ``[C]``; ``tokens``: of features that can be tokens."""
        space = self.assays[assay].space
        key = (assay, tokens and not all(space.is_token))
        if key not in self._number:
            source = self._sources[assay]
            self._number[key] = source.num_values() if not key[1] else self._token_values(source, space.is_token_F)
        return self._number[key]

    def _token_values(self, source: StoredRows, is_token_F: np.ndarray) -> np.ndarray:
        number_C = source.num_values()
        step = max(1, int(BLOCK_VALUES / max(1.0, float(number_C.mean()) if number_C.size else 1.0)))
        for start in range(0, self.num_cells, step):
            some_B = np.arange(start, min(start + step, self.num_cells))
            part_BF = source.read(some_B)
            number_C[some_B] = np.diff(part_BF[:, np.flatnonzero(is_token_F)].indptr)
        return number_C

    def take(self, index_B: np.ndarray) -> MemoryStore:
        """The cells at ``index_B``, in that order, in memory."""
        index_B = np.asarray(index_B, dtype=np.int64)
        stored = list(self.rows(index_B).values())
        values_BG = stored[0] if len(stored) == 1 else sparse.hstack(stored, format="csr")
        assays = {name: assay.take(index_B) for name, assay in self.assays.items()}
        return MemoryStore(self.vocab, values_BG, self.obs.iloc[index_B], assays)

    def only(self, assay: str) -> BackedStore:
        """The cells that have an assay, with the features of this assay alone."""
        chosen = self.assays[assay]
        rows_B = np.flatnonzero(chosen.present_C)
        vocab = self.vocab.select(np.arange(chosen.space.start, chosen.space.stop))
        part = replace(chosen.take(rows_B), space=vocab.spaces[0])
        source = self._sources[assay].take(rows_B)
        content_hash = canonical_hash([self.content_hash, assay])
        return BackedStore(vocab, self.obs.iloc[rows_B], {assay: part}, {assay: source}, content_hash, self._verify)

    def verify(self) -> None:
        """Check the files against what was recorded of them; reads them whole, once."""
        self._verify()
