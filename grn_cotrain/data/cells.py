"""Cells over a vocabulary, in memory: one CSR matrix, its assays, their normalisation, its splits and its ablations.

Dimension letters: C cells, B some of them, G features of every modality, F features of one assay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.assay_kinds import TARGET_SUM
from grn_cotrain.data.assays import Assay, build_assays
from grn_cotrain.data.store import StoreBase, content_hash_of
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

__all__ = ["TARGET_SUM", "CellSplit", "MemoryStore", "cell_split"]


@dataclass(frozen=True, eq=False)
class MemoryStore(StoreBase):
    """Cells x features, in vocabulary order, in memory. Build one with :meth:`build`, which validates.

    Attributes
    ----------
    vocab
        Vocabulary whose feature ``i`` is column ``i``.
    values_CG
        CSR float32 with sorted indices and no stored zeros: values as stored, of each assay in its own kind.
    obs
        One row a cell.
    assays
        Assays by name, in the order of the vocabulary's spaces.
    """

    vocab: FeatureVocab
    values_CG: sparse.csr_matrix
    obs: pd.DataFrame
    assays: Mapping[str, Assay]

    @classmethod
    def build(
        cls,
        vocab: FeatureVocab,
        values_CG: Any,
        *,
        kind: str | Mapping[str, str],
        obs: pd.DataFrame | None = None,
        size_factor_C: np.ndarray | Mapping[str, np.ndarray] | None = None,
        present: Mapping[str, np.ndarray] | None = None,
    ) -> MemoryStore:
        """Canonicalise and validate.

        Parameters
        ----------
        values_CG
            Any 2-D array or scipy sparse matrix with one column a feature of ``vocab``; copied, never changed.
        kind
            ``counts`` or ``log`` for all assays, or the kind of each assay by its name. With ``counts`` for all, each
            assay has its usual kind: peaks that are all 1 are ``binary``, proteins ``clr``.
        size_factor_C
            Depth of each cell: of the first assay, or of each assay by its name. By default the kind of each assay
            computes it from ``values_CG``.
        present
            Which cells have which assay, bool ``[C]`` by name; by default all cells have all.

        Raises
        ------
        UserError
            Wrong shape; NaN, infinite or negative values; a cell with non-zero counts and no positive size factor;
            values in cells that do not have the assay.
        """
        values = sparse.csr_matrix(values_CG, dtype=np.float32, copy=True)
        values.sum_duplicates()
        values.eliminate_zeros()
        values.sort_indices()
        num_cells = values.shape[0]
        if values.shape[1] != vocab.num_features:
            raise UserError(
                f"cells: {values.shape[1]} columns for {vocab.num_features} features of the vocabulary; "
                "align the columns with FeatureVocab.align first"
            )
        if not np.isfinite(values.data).all():
            raise UserError("cells: values hold NaN or infinity; remove or repair these cells")
        if values.nnz and float(values.data.min()) < 0:
            raise UserError("cells: values hold negative numbers; give counts or log1p values, not scaled ones")
        assays = build_assays(vocab.spaces, values, kind, size_factor_C, present)
        if obs is None:
            obs = pd.DataFrame(index=[f"cell{i}" for i in range(num_cells)])
        if len(obs) != num_cells:
            raise UserError(f"cells: obs has {len(obs)} rows for {num_cells} cells; give one row a cell")
        return cls(vocab, values, obs, assays)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (first 16 hex digits) of vocabulary, kinds, values, depth and presence; obs doesn't count."""
        return content_hash_of(self)

    def rows(self, index_B: np.ndarray) -> dict[str, sparse.csr_matrix]:
        """Values as stored of the cells at ``index_B``, in that order: assay -> CSR float32 ``[B, F]``."""
        part_BG = self.values_CG[np.asarray(index_B)]
        if len(self.assays) == 1:
            return dict.fromkeys(self.assays, part_BG)
        return {name: part_BG[:, assay.space.columns] for name, assay in self.assays.items()}

    def num_values(self, assay: str, *, tokens: bool = False) -> np.ndarray:
        """Stored values of each cell in an assay, int64 ``[C]``; ``tokens``: of features that can be tokens."""
        space = self.assays[assay].space
        if len(self.assays) == 1 and not (tokens and not all(space.is_token)):
            return np.diff(self.values_CG.indptr).astype(np.int64)
        wanted_G = np.zeros(self.num_features, dtype=np.int64)
        wanted_G[space.columns] = space.is_token_F if tokens else 1
        return _row_sums(wanted_G, self.values_CG.indices, self.values_CG.indptr)

    @cached_property
    def _normalised_CG(self) -> sparse.csr_matrix:
        return self._normalised(self.values_CG, None)

    def normalised(self, index: np.ndarray | None = None, assay: str | None = None) -> sparse.csr_matrix:
        """Normalised values, CSR float32 ``[B, columns]``: each assay by its own kind and depth.

        The whole matrix is made once and shared: don't write to it.

        Parameters
        ----------
        index
            Rows, in any order; by default all cells.
        assay
            Only the columns of this assay; by default those of the vocabulary.
        """
        if index is None:
            whole_CG = self._normalised_CG
            return whole_CG if assay is None or len(self.assays) == 1 else whole_CG[:, self.assays[assay].space.columns]
        return super().normalised(index, assay)

    def verify(self) -> None:
        """There is no file to check."""

    def take(self, index_B: np.ndarray) -> MemoryStore:
        """The cells at ``index_B``, in that order, in memory."""
        index_B = np.asarray(index_B)
        assays = {name: assay.take(index_B) for name, assay in self.assays.items()}
        return MemoryStore(self.vocab, self.values_CG[index_B], self.obs.iloc[index_B], assays)

    def part(self, index_B: np.ndarray) -> MemoryStore:
        """The cells at ``index_B``, in that order."""
        return self.take(index_B)

    def only(self, assay: str) -> MemoryStore:
        """The cells that have an assay, with the features of this assay alone."""
        space = self.assays[assay].space
        return self.with_features(np.arange(space.start, space.stop)).take(np.flatnonzero(self.present(assay)))

    def with_features(self, index_G: np.ndarray) -> MemoryStore:
        """The cells with the features at ``index_G`` (ascending); depths stay those of all features."""
        vocab = self.vocab.select(index_G)
        spaces = {space.name: space for space in vocab.spaces}
        assays = {
            name: replace(assay, space=spaces[assay.space.name])
            for name, assay in self.assays.items()
            if assay.space.name in spaces
        }
        return replace(self, vocab=vocab, values_CG=self.values_CG[:, index_G], assays=assays)

    def with_vocab(self, vocab: FeatureVocab) -> MemoryStore:
        """The same cells over a vocabulary of the same features, about which more is known."""
        return replace(self, vocab=vocab)

    def permuted_genes(self, tf_index: np.ndarray, seed: int) -> MemoryStore:
        """Exchange whole profiles between genes: TFs among TFs, others among others.

        Profiles stay inside a modality, and those of features that are never tokens (spike-ins)
        stay with such features.
        Cells keep their totals and the matrix its singular values; only the names of the profiles change.
        """
        is_tf_G = np.zeros(self.num_features, dtype=bool)
        is_tf_G[np.asarray(tf_index, dtype=np.int64)] = True
        groups = pd.MultiIndex.from_arrays([self.vocab.modality, self.vocab.is_token, is_tf_G])
        group_G = pd.factorize(groups)[0]
        generator = np.random.default_rng(seed)
        source_G = np.arange(self.num_features)
        for group in np.unique(group_G):
            members = np.flatnonzero(group_G == group)
            source_G[members] = generator.permutation(members)
        values = self.values_CG[:, source_G]
        values.sort_indices()
        vocab = self.vocab
        if vocab.features is not None:  # rows of other data sets follow the profile
            vocab = replace(vocab, features=vocab.features.permuted(vocab.symbols, source_G))
        return replace(self, values_CG=values, vocab=vocab)

    def permuted_cells(self, seed: int) -> MemoryStore:
        """Shuffle each feature over the cells that have its assay, which destroys co-expression alone.

        Every feature keeps its distribution exactly. The *normalised* values are shuffled, so the result has kind
        ``"log"``: counts moved between cells of different depth would change each gene's normalised distribution too.
        """
        generator = np.random.default_rng(seed)
        columns = self.normalised().tocsc(copy=True)
        for assay in self.assays.values():
            rows_M = np.flatnonzero(assay.present_C)
            place_C = np.cumsum(assay.present_C) - 1
            for feature in range(assay.space.start, assay.space.stop):
                low, high = columns.indptr[feature], columns.indptr[feature + 1]
                if high > low:
                    moved_M = rows_M[generator.permutation(rows_M.size)]
                    columns.indices[low:high] = moved_M[place_C[columns.indices[low:high]]]
        columns.has_sorted_indices = False
        values = columns.tocsr()
        values.sort_indices()
        ones_C = np.ones(self.num_cells)
        assays = {name: replace(assay, kind="log", size_factor_C=ones_C) for name, assay in self.assays.items()}
        return replace(self, values_CG=values, assays=assays)


def _row_sums(weight_G: np.ndarray, indices: np.ndarray, indptr: np.ndarray, *, step: int = 4096) -> np.ndarray:
    """Sum of the weights of each row's columns, int64 ``[C]``, a few rows at a time."""
    result_C = np.zeros(len(indptr) - 1, dtype=np.int64)
    for start in range(0, len(result_C), step):
        ends = indptr[start : start + step + 1].astype(np.int64)
        total_N = np.concatenate([[0], np.cumsum(weight_G[indices[ends[0] : ends[-1]]])])
        result_C[start : start + step] = np.diff(total_N[ends - ends[0]])
    return result_C


@dataclass(frozen=True)
class CellSplit:
    """Sorted, disjoint rows of a :class:`MemoryStore` that cover it."""

    train_C: np.ndarray
    validation_C: np.ndarray
    test_C: np.ndarray


def cell_split(num_cells: int, *, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> CellSplit:
    """Split cells at random; each part gets at least one cell.

    Raises
    ------
    UserError
        Fewer than three cells, or shares that leave no training cell.
    """
    num_validation = max(1, round(num_cells * validation))
    num_test = max(1, round(num_cells * test))
    if num_cells - num_validation - num_test < 1:
        raise UserError(
            f"validation_cells {validation}, test_cells {test}: leave no training cell of {num_cells}; "
            "give smaller shares or more cells"
        )
    order = np.random.default_rng(seed).permutation(num_cells)
    ends = (num_validation, num_validation + num_test)
    return CellSplit(
        train_C=np.sort(order[ends[1] :]),
        validation_C=np.sort(order[: ends[0]]),
        test_C=np.sort(order[ends[0] : ends[1]]),
    )
