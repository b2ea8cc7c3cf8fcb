"""Cells on disk: rows are read when they are asked for, so that memory does not grow with the number of cells.

Dimension letters: C cells, B some of them, F features of one assay, N stored values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.assay_kinds import modality_of
from grn_cotrain.data.assays import Assay, checked_assay
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.rows import RowSource, row_blocks
from grn_cotrain.data.store import StoreBase, array_hash, content_hash_of
from grn_cotrain.data.vocab import FeatureVocab

__all__ = ["BackedStore"]


class BackedStore(StoreBase):
    """Cells whose values stay on disk; see :class:`~grn_cotrain.data.store.CellStore`.

    Parameters
    ----------
    vocab, obs, assays
        As of cells in memory.
    sources
        Rows of each assay.
    content_hash
        Hash of the same cells in memory; None: it is computed when it is asked for, in two passes.
    verify
        Checks the files against what was recorded of them, when something reads all cells.
    """

    def __init__(
        self,
        vocab: FeatureVocab,
        obs: pd.DataFrame,
        assays: Mapping[str, Assay],
        sources: Mapping[str, RowSource],
        content_hash: str | None = None,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        self.vocab, self.obs, self.assays = vocab, obs, assays
        self._recorded_hash = content_hash
        self._sources = sources
        self._verify = verify
        self._number: dict[tuple[str, bool], np.ndarray] = {}

    @classmethod
    def build(
        cls,
        vocab: FeatureVocab,
        rows: RowSource,
        *,
        kinds: Mapping[str, str],
        obs: pd.DataFrame,
        size_factors: Mapping[str, np.ndarray],
        present: Mapping[str, np.ndarray],
    ) -> BackedStore:
        """Cells whose columns are those of ``vocab``, with the checks of cells in memory; they are read once.

        See :meth:`~grn_cotrain.data.cells.MemoryStore.build` for the parameters, and for what is refused.
        """
        spaces = {modality_of(space.name).assay: space for space in vocab.spaces}
        sources = {name: rows if len(spaces) == 1 else rows.columns(space.columns) for name, space in spaces.items()}
        number = {name: source.num_values() for name, source in sources.items()}
        assays = {
            name: checked_assay(space, kinds[name], number[name] > 0, size_factors[name], present.get(name))
            for name, space in spaces.items()
        }
        store = cls(vocab, obs, assays, sources)
        store._number = {(name, False): number_C for name, number_C in number.items()}
        return store

    @cached_property
    def content_hash(self) -> str:
        """Hash of the same cells in memory."""
        if self._recorded_hash is not None:
            return self._recorded_hash
        return content_hash_of(self)

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

    def _token_values(self, source: RowSource, is_token_F: np.ndarray) -> np.ndarray:
        token_K = np.flatnonzero(is_token_F)
        blocks = [np.diff(part_BF[:, token_K].indptr) for _, part_BF in row_blocks(source)]
        return np.concatenate([np.empty(0, np.int64), *blocks]).astype(np.int64)

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
        hash_of_part = self._hash_with(assay)
        return BackedStore(vocab, self.obs.iloc[rows_B], {assay: part}, {assay: source}, hash_of_part, self._verify)

    def part(self, index_B: np.ndarray) -> BackedStore:
        """The cells at ``index_B``, in that order, on disk."""
        index_B = np.asarray(index_B, dtype=np.int64)
        assays = {name: assay.take(index_B) for name, assay in self.assays.items()}
        sources = {name: source.take(index_B) for name, source in self._sources.items()}
        hash_of_part = self._hash_with(array_hash(index_B))
        return BackedStore(self.vocab, self.obs.iloc[index_B], assays, sources, hash_of_part, self._verify)

    def _hash_with(self, choice: str) -> str | None:
        """Hash of a choice of these cells, without reading them; None if theirs was not recorded."""
        return None if self._recorded_hash is None else canonical_hash([self._recorded_hash, choice])

    def with_features(self, index_G: np.ndarray) -> BackedStore:
        """The cells with the features at ``index_G`` (ascending); depths stay those of all features."""
        vocab = self.vocab.select(index_G)
        spaces = {modality_of(space.name).assay: space for space in vocab.spaces}
        assays = {name: replace(self.assays[name], space=space) for name, space in spaces.items()}
        sources = {}
        for name in assays:
            space = self.assays[name].space
            inside_K = index_G[(index_G >= space.start) & (index_G < space.stop)] - space.start
            sources[name] = self._sources[name].columns(inside_K)
        return BackedStore(vocab, self.obs, assays, sources, verify=self._verify)

    def with_vocab(self, vocab: FeatureVocab) -> BackedStore:
        """The same cells over a vocabulary of the same features, about which more is known."""
        store = BackedStore(vocab, self.obs, self.assays, self._sources, self._recorded_hash, self._verify)
        store._number = self._number
        return store

    def verify(self) -> None:
        """Check the files against what was recorded of them; reads them whole, once."""
        self._verify()
