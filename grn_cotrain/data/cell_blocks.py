"""Cells in blocks: what one pass over a store holds at a time.

Dimension letters: C cells of the store, B cells of a block, G features of every assay, F features of one, K some of
them, A assays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from grn_cotrain.data.assays import Assay
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["Block", "Layout", "cell_blocks", "column_values", "is_in_memory"]


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns of a store, and the assay that measures each of them.

    Attributes
    ----------
    vocab
        Features, in the order of the columns.
    assays
        Assays, in the order of the vocabulary's spaces.
    assay_G
        int64 index of each feature's assay.
    """

    vocab: FeatureVocab
    assays: tuple[Assay, ...]
    assay_G: np.ndarray

    @classmethod
    def of(cls, cells: CellStore) -> Layout:
        """Layout of a store."""
        assay_G = np.zeros(cells.num_features, dtype=np.int64)
        for place, assay in enumerate(cells.assays.values()):
            assay_G[assay.space.columns] = place
        return cls(cells.vocab, tuple(cells.assays.values()), assay_G)

    @property
    def num_features(self) -> int:
        """G."""
        return len(self.assay_G)

    @cached_property
    def is_token_G(self) -> np.ndarray:
        """bool: features that can be tokens."""
        return np.asarray(self.vocab.is_token, dtype=bool)

    def with_reads(self) -> list[tuple[int, Assay]]:
        """Assays whose values are reads, and so have a depth, with their places."""
        return [(place, assay) for place, assay in enumerate(self.assays) if assay.has_reads]

    def mean_of_assay(self, value_G: np.ndarray, weight_G: np.ndarray) -> np.ndarray:
        """float64 ``[G]``: weighted mean of ``value_G`` over the features of the same assay; 0 without any weight."""
        size = len(self.assays)
        weight_A = np.bincount(self.assay_G, weight_G, minlength=size)
        sum_A = np.bincount(self.assay_G, weight_G * value_G, minlength=size)
        return np.asarray((sum_A / np.where(weight_A > 0, weight_A, 1.0))[self.assay_G])


@dataclass(frozen=True, eq=False)
class Block:
    """Some cells of a store.

    Attributes
    ----------
    cells
        The store.
    rows_B
        int64 rows of the cells in the store.
    values_BG
        CSR float32, normalised; a feature whose assay a cell lacks has no value there.
    present_BA
        bool: the assays that each cell has.
    """

    cells: CellStore
    rows_B: np.ndarray
    values_BG: sparse.csr_matrix
    present_BA: np.ndarray

    @cached_property
    def raw(self) -> dict[str, sparse.csr_matrix]:
        """Values as stored, assay -> CSR float32 ``[B, F]``. They are read when they are asked for."""
        return self.cells.rows(self.rows_B)

    @cached_property
    def cell_N(self) -> np.ndarray:
        """int64 place in the block of each stored value's cell."""
        return np.repeat(np.arange(len(self.rows_B)), np.diff(self.values_BG.indptr))


def cell_blocks(cells: CellStore, rows_C: np.ndarray, size: int | None = None) -> Iterator[Block]:
    """The cells at ``rows_C`` in that order, at most ``size`` at a time; by default as the store chooses."""
    present_CA = np.stack([assay.present_C for assay in cells.assays.values()], axis=1)
    for rows_B, values_BG in cells.blocks(rows_C, size=size):
        yield Block(cells, rows_B, values_BG, present_CA[rows_B])


def column_values(cells: CellStore, rows_C: np.ndarray, columns_K: np.ndarray) -> sparse.csr_matrix:
    """Normalised values of some features only, CSR float32 ``[C, K]``, read block by block."""
    parts = [block.values_BG[:, columns_K] for block in cell_blocks(cells, rows_C)]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, len(columns_K)), dtype=np.float32)


def is_in_memory(cells: CellStore) -> bool:
    """Whether the store holds its values in memory, so that one more copy of them is affordable."""
    return isinstance(cells, MemoryStore)
