"""A store that makes its cells when they are read, as one on disk reads them: nothing is held but obs and depths."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.assays import Assay
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.store import StoreBase
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["GeneratedStore"]

_PEAK = 6.0


class GeneratedStore(StoreBase):
    """Counts that depend on cell and gene alone, with two programmes of genes.

    Parameters
    ----------
    num_cells, num_genes
        C and G.
    per_cell
        Values of each cell.
    """

    def __init__(self, num_cells: int, num_genes: int, *, per_cell: int) -> None:
        self.vocab = FeatureVocab.from_symbols([f"GENE{i}" for i in range(num_genes)], species="human")
        self.obs = pd.DataFrame(index=pd.RangeIndex(num_cells))
        self.per_cell = per_cell
        present_C = np.ones(num_cells, dtype=bool)
        depth_C = 1000.0 + np.arange(num_cells) % 500
        self.assays = {"rna": Assay("rna", self.vocab.spaces[0], "counts", depth_C, present_C)}

    def rows(self, index_B: np.ndarray) -> dict[str, sparse.csr_matrix]:
        """See :class:`StoreBase`."""
        index_B = np.asarray(index_B, dtype=np.int64)
        num_genes = self.num_features
        step_B = 1 + index_B % 3
        column_BK = np.sort((index_B[:, None] * 7 + step_B[:, None] * np.arange(self.per_cell)) % num_genes, axis=1)
        state_B2 = np.stack([np.sin(0.37 * index_B), np.cos(1.3 * index_B)], axis=1)
        wave_BK = state_B2[:, :1] * np.sin(column_BK) + state_B2[:, 1:] * np.cos(2.0 * column_BK)
        count_BK = 1 + np.floor(_PEAK * np.exp(wave_BK) + (index_B[:, None] * 31 + column_BK * 17) % 5)
        indptr = np.arange(len(index_B) + 1) * self.per_cell
        values = sparse.csr_matrix(
            (count_BK.ravel().astype(np.float32), column_BK.ravel().astype(np.int32), indptr.astype(np.int32)),
            shape=(len(index_B), num_genes),
        )
        return {"rna": values}

    def num_values(self, assay: str, *, tokens: bool = False) -> np.ndarray:
        """See :class:`StoreBase`."""
        del assay, tokens
        return np.full(self.num_cells, self.per_cell)

    def only(self, assay: str) -> GeneratedStore:
        """The store itself, which has one assay in every cell."""
        assert list(self.assays) == [assay]
        return self

    def take(self, index_B: np.ndarray) -> MemoryStore:
        """The cells at ``index_B``, in that order, in memory."""
        (values_BG,) = self.rows(index_B).values()
        assays = {name: entry.take(index_B) for name, entry in self.assays.items()}
        return MemoryStore(self.vocab, values_BG, self.obs.iloc[index_B], assays)

    def part(self, index_B: np.ndarray) -> MemoryStore:
        """The cells at ``index_B``, in that order; nothing is on disk."""
        return self.take(index_B)

    def verify(self) -> None:
        """There is no file to check."""

    def in_memory(self) -> MemoryStore:
        """The same cells, held in memory."""
        every = np.arange(self.num_cells)
        depth_C = self.assays["rna"].size_factor_C
        return MemoryStore.build(self.vocab, self.rows(every)["rna"], kind="counts", size_factor_C=depth_C)
