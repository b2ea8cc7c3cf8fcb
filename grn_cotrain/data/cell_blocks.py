"""Cells in blocks: what one pass over a store holds at a time.

Dimension letters: C cells of the store, B cells of a block, G features, A assays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["BLOCK_CELLS", "Block", "Layout", "cell_blocks", "is_in_memory"]

BLOCK_CELLS = 1024
"""Cells of a block. A block of cells with 2,000 values each takes 16 MB."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns of a store, and the assay that measures each of them.

    Attributes
    ----------
    vocab
        Features, in the order of the columns.
    assays
        Names of the assays.
    kinds
        What each assay's values are: ``counts``, ``log``, ...
    assay_G
        int64 index of each feature's assay.
    """

    vocab: FeatureVocab
    assays: tuple[str, ...]
    kinds: tuple[str, ...]
    assay_G: np.ndarray

    @classmethod
    def of(cls, cells: CellMatrix) -> Layout:
        """Layout of a store."""
        return cls(cells.vocab, ("cells",), (cells.kind,), np.zeros(cells.vocab.num_features, dtype=np.int64))

    @property
    def num_features(self) -> int:
        """G."""
        return len(self.assay_G)

    @cached_property
    def is_token_G(self) -> np.ndarray:
        """bool: features that can be tokens."""
        return np.asarray(self.vocab.is_token, dtype=bool)

    def group_mean(self, value_G: np.ndarray, weight_G: np.ndarray) -> np.ndarray:
        """float64 ``[G]``: weighted mean of ``value_G`` over the features of the same assay; 0 without any weight."""
        size = len(self.assays)
        weight_A = np.bincount(self.assay_G, weight_G, minlength=size)
        sum_A = np.bincount(self.assay_G, weight_G * value_G, minlength=size)
        return (sum_A / np.where(weight_A > 0, weight_A, 1.0))[self.assay_G]


@dataclass(frozen=True, eq=False)
class Block:
    """Some cells of a store.

    Attributes
    ----------
    rows_B
        int64 rows of the cells in the store.
    values_BG
        CSR float32, normalised; a feature whose assay a cell lacks has no value there.
    present_BA
        bool: the assays that each cell has.
    """

    cells: CellMatrix
    rows_B: np.ndarray
    values_BG: sparse.csr_matrix
    present_BA: np.ndarray

    @cached_property
    def raw_BG(self) -> sparse.csr_matrix:
        """CSR float32 as stored, in the same columns. It is read from the store when it is asked for."""
        return self.cells.values_CG[self.rows_B]

    def depth(self, assay: str) -> np.ndarray:
        """float64: total counts of the cells that have the assay, in the order of ``rows_B``."""
        del assay
        return self.cells.size_factor_C[self.rows_B]

    @cached_property
    def cell_N(self) -> np.ndarray:
        """int64 place in the block of each stored value's cell."""
        return np.repeat(np.arange(len(self.rows_B)), np.diff(self.values_BG.indptr))


def cell_blocks(cells: CellMatrix, rows_C: np.ndarray, size: int = BLOCK_CELLS) -> Iterator[Block]:
    """The cells at ``rows_C`` in that order, at most ``size`` at a time."""
    for start in range(0, len(rows_C), size):
        rows_B = rows_C[start : start + size]
        values_BG = cells.normalised()[rows_B]
        yield Block(cells, rows_B, values_BG, np.ones((len(rows_B), 1), dtype=bool))


def is_in_memory(cells: CellMatrix) -> bool:
    """Whether the store holds its values in memory, so that one more copy of them is affordable."""
    return isinstance(cells, CellMatrix)
