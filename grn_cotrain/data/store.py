"""Interface of cells for everything that reads them: rows on demand, each assay with its own kind and depth.

Dimension letters: C cells, B some of them, G features of every modality, F features of one assay, N stored values.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.assays import Assay
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["BLOCK_VALUES", "IN_MEMORY_VALUES", "CellStore", "StoreBase", "array_hash", "content_hash_of"]

BLOCK_VALUES = 2**19
"""Stored values that one block of :meth:`StoreBase.blocks` holds, about: 4 MB, and 20 MB with what is made of them."""
IN_MEMORY_VALUES = 2**27
"""Cells of at most so many stored values (about 1 GB) are read into memory; larger ones stay on disk."""


@runtime_checkable
class CellStore(Protocol):
    """Cells over a vocabulary, in memory or on disk.

    Nothing outside ``data/`` asks for all cells at once, except controls and evaluations of genes that are defined on
    the whole matrix.
    """

    @property
    def vocab(self) -> FeatureVocab: ...
    @property
    def obs(self) -> pd.DataFrame: ...
    @property
    def assays(self) -> Mapping[str, Assay]: ...
    @property
    def num_cells(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size_factor_C(self) -> np.ndarray: ...
    def present(self, assay: str) -> np.ndarray: ...
    def rows(self, index_B: np.ndarray) -> dict[str, sparse.csr_matrix]: ...
    def num_values(self, assay: str, *, tokens: bool = False) -> np.ndarray: ...
    def normalised(self, index: np.ndarray | None = None, assay: str | None = None) -> sparse.csr_matrix: ...
    def measured(self, assay: str = "rna") -> sparse.csr_matrix: ...
    def blocks(
        self, rows: np.ndarray | None = None, assay: str | None = None, *, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]: ...
    def stored_blocks(self, assay: str | None = None) -> Iterator[sparse.csr_matrix]: ...
    def take(self, index_B: np.ndarray) -> CellStore: ...
    def part(self, index_B: np.ndarray) -> CellStore: ...
    def only(self, assay: str) -> CellStore: ...
    def genes(self) -> CellStore: ...
    def permuted_genes(self, tf_index: np.ndarray, seed: int) -> CellStore: ...
    def permuted_cells(self, seed: int) -> CellStore: ...
    @abstractmethod
    def verify(self) -> None: ...


class StoreBase(ABC):
    """Methods that follow from rows and assays, for every store."""

    vocab: FeatureVocab
    obs: pd.DataFrame
    assays: Mapping[str, Assay]

    @abstractmethod
    def rows(self, index_B: np.ndarray) -> dict[str, sparse.csr_matrix]:
        """Values as stored of the cells at ``index_B``, in that order: assay -> CSR float32 ``[B, F]``."""

    @abstractmethod
    def num_values(self, assay: str, *, tokens: bool = False) -> np.ndarray:
        """Stored values of each cell in an assay, int64 ``[C]``; ``tokens``: of features that can be tokens."""

    @property
    def num_cells(self) -> int:
        """C."""
        return len(self.obs)

    @property
    def num_features(self) -> int:
        """G, features of every modality."""
        return self.vocab.num_features

    @property
    def kind(self) -> str:
        """Kind of the first assay: of the genes, where there are any."""
        return next(iter(self.assays.values())).kind

    @property
    def size_factor_C(self) -> np.ndarray:
        """float64 depth of each cell in the first assay."""
        return next(iter(self.assays.values())).size_factor_C

    def present(self, assay: str) -> np.ndarray:
        """bool ``[C]``: which cells have the assay."""
        return self.assays[assay].present_C

    def normalised(self, index: np.ndarray | None = None, assay: str | None = None) -> sparse.csr_matrix:
        """Normalised values, CSR float32 ``[B, columns]``: each assay by its own kind and depth.

        Parameters
        ----------
        index
            Rows, in any order; by default all cells.
        assay
            Only the columns of this assay; by default those of the vocabulary.
        """
        index_B = np.arange(self.num_cells) if index is None else np.asarray(index, dtype=np.int64)
        stored = self.rows(index_B)
        names = list(self.assays) if assay is None else [assay]
        parts = [self.assays[name].normalised(stored[name], index_B) for name in names]
        return parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr")

    @abstractmethod
    def verify(self) -> None:
        """Check what is stored against what was recorded of it."""

    @abstractmethod
    def only(self, assay: str) -> CellStore:
        """The cells that have an assay, with the features of this assay alone."""

    @abstractmethod
    def take(self, index_B: np.ndarray) -> CellStore:
        """The cells at ``index_B``, in that order, in memory."""

    @abstractmethod
    def part(self, index_B: np.ndarray) -> CellStore:
        """The cells at ``index_B``, in that order; values that are on disk stay there."""

    def permuted_genes(self, tf_index: np.ndarray, seed: int) -> CellStore:
        """See :meth:`~grn_cotrain.data.cells.MemoryStore.permuted_genes`; the result is in memory."""
        return self.take(np.arange(self.num_cells)).permuted_genes(tf_index, seed)

    def permuted_cells(self, seed: int) -> CellStore:
        """See :meth:`~grn_cotrain.data.cells.MemoryStore.permuted_cells`; the result is in memory."""
        return self.take(np.arange(self.num_cells)).permuted_cells(seed)

    def genes(self) -> CellStore:
        """The cells that have RNA, with the genes alone: column ``i`` is gene index ``i``.

        Functions that are defined on genes (controls, evidence of links) read this. A store of one assay that every
        cell has is returned as it is, and so is one without genes.
        """
        first = next(iter(self.assays.values()))
        if first.space.name != "gene" or (len(self.assays) == 1 and first.present_C.all()):
            return cast("CellStore", self)
        return self.only(first.name)

    def measured(self, assay: str = "rna") -> sparse.csr_matrix:
        """Normalised values of an assay in the cells that have it, CSR float32 ``[B, F]``.

        For genes, column ``i`` is gene index ``i``. A cell without the assay has no row: its zeros are not
        measurements.
        """
        present_C = self.present(assay)
        return self.normalised(None if present_C.all() else np.flatnonzero(present_C), assay)

    def blocks(
        self, rows: np.ndarray | None = None, assay: str | None = None, *, size: int | None = None
    ) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Cells block by block: ``(rows, normalised values)``, so that no more than a block is held at once.

        Parameters
        ----------
        rows
            Cells to visit, in this order; by default all. With ``assay``, cells that do not have it are left out.
        assay
            Only this assay; by default all columns of the vocabulary.
        size
            Cells a block; by default as many as hold about :data:`BLOCK_VALUES` values.
        """
        rows_C = np.arange(self.num_cells) if rows is None else np.asarray(rows, dtype=np.int64)
        if assay is not None:
            rows_C = rows_C[self.present(assay)[rows_C]]
        if size is None:
            per_cell = sum(float(self.num_values(name).mean()) for name in self.assays) if self.num_cells else 1.0
            size = max(1, int(BLOCK_VALUES / max(1.0, per_cell)))
        for start in range(0, len(rows_C), size):
            some_B = rows_C[start : start + size]
            yield some_B, self.normalised(some_B, assay)

    def _normalised(self, values_CG: sparse.csr_matrix, index_B: np.ndarray | None) -> sparse.csr_matrix:
        """Normalise values over all columns."""
        parts = list(self.assays.values())
        if len(parts) == 1:
            return parts[0].normalised(values_CG, index_B)
        blocks = [assay.normalised(values_CG[:, assay.space.columns], index_B) for assay in parts]
        return sparse.hstack(blocks, format="csr")

    def stored_blocks(self, assay: str | None = None) -> Iterator[sparse.csr_matrix]:
        """Values as stored of all cells, in order, block by block: CSR float32 over all columns, or an assay's."""
        names = list(self.assays) if assay is None else [assay]
        number_C = np.sum([self.num_values(name) for name in names], axis=0)
        size = max(1, int(BLOCK_VALUES / max(1.0, float(number_C.mean()) if self.num_cells else 1.0)))
        for start in range(0, self.num_cells, size):
            stored = self.rows(np.arange(start, min(start + size, self.num_cells)))
            parts = [stored[name] for name in names]
            yield parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr")


def array_hash(index: np.ndarray) -> str:
    """SHA-256 (first 16 hex digits) of integers in their order."""
    return hashlib.sha256(np.ascontiguousarray(index, dtype="<i8").tobytes()).hexdigest()[:16]


def content_hash_of(cells: StoreBase) -> str:
    """SHA-256 (first 16 hex digits) of vocabulary, kinds, values, depth and presence; obs doesn't count.

    Values are read twice, block by block, so that memory does not grow with them.
    """
    first, *others = cells.assays.values()
    shape = (cells.num_cells, cells.num_features)
    digest = hashlib.sha256(f"{cells.vocab.content_hash}|{first.kind}|{shape}".encode())
    number_C = np.sum([cells.num_values(name) for name in cells.assays], axis=0)
    digest.update(np.concatenate([[0], np.cumsum(number_C)]).astype("<i8").tobytes())
    for part_BG in cells.stored_blocks():
        digest.update(part_BG.indices.astype("<i8").tobytes())
    for part_BG in cells.stored_blocks():
        digest.update(part_BG.data.astype("<f4").tobytes())
    digest.update(first.size_factor_C.astype("<f8").tobytes())
    for assay in others:
        digest.update(f"|{assay.name}|{assay.kind}".encode() + assay.size_factor_C.astype("<f8").tobytes())
    for assay in cells.assays.values():
        if not assay.present_C.all():
            digest.update(f"|{assay.name}".encode() + np.packbits(assay.present_C).tobytes())
    return digest.hexdigest()[:16]
