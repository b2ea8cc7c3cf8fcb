"""Cells over a vocabulary: one CSR matrix, its size factors, its normalisation, its splits and its ablations.

Dimension letters: C cells, G genes (features).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError

__all__ = ["TARGET_SUM", "CellMatrix", "CellSplit", "cell_split"]

TARGET_SUM = 1e4
"""Counts are scaled to this many per cell before the logarithm."""


@dataclass(frozen=True, eq=False)
class CellMatrix:
    """Cells x features, in vocabulary order. Build one with :meth:`build`, which validates.

    Attributes
    ----------
    vocab
        Vocabulary whose feature ``i`` is column ``i``.
    values_CG
        CSR float32 with sorted indices and no stored zeros: raw counts, or log-scale values as given.
    kind
        ``"counts"`` or ``"log"``: what ``values_CG`` holds.
    obs
        One row a cell.
    size_factor_C
        float64 total counts of the cell before genes were selected. Log-scale values don't use it.
    """

    vocab: FeatureVocab
    values_CG: sparse.csr_matrix
    kind: Literal["counts", "log"]
    obs: pd.DataFrame
    size_factor_C: np.ndarray

    @classmethod
    def build(
        cls,
        vocab: FeatureVocab,
        values_CG: Any,
        *,
        kind: Literal["counts", "log"],
        obs: pd.DataFrame | None = None,
        size_factor_C: np.ndarray | None = None,
    ) -> CellMatrix:
        """Canonicalise and validate.

        Parameters
        ----------
        values_CG
            Any 2-D array or scipy sparse matrix with one column a feature of ``vocab``; copied, never changed.
        size_factor_C
            Default: row sums of ``values_CG`` (counts), ones (log).

        Raises
        ------
        UserError
            Wrong shape; NaN, infinite or negative values; a cell with non-zero counts and no positive size factor.
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
        if kind not in ("counts", "log"):
            raise UserError(f"cells: kind '{kind}'; choose from counts, log")
        if size_factor_C is None:
            totals = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
            size_factor_C = totals if kind == "counts" else np.ones(num_cells)
        size_factor_C = np.array(size_factor_C, dtype=np.float64)
        if size_factor_C.shape != (num_cells,) or not np.isfinite(size_factor_C).all():
            raise UserError(f"cells: size factors must be {num_cells} finite numbers; give one total count a cell")
        if kind == "counts" and bool((size_factor_C[np.diff(values.indptr) > 0] <= 0).any()):
            raise UserError("cells: a cell with counts has a size factor of 0 or less; give its total counts")
        if obs is None:
            obs = pd.DataFrame(index=[f"cell{i}" for i in range(num_cells)])
        if len(obs) != num_cells:
            raise UserError(f"cells: obs has {len(obs)} rows for {num_cells} cells; give one row a cell")
        return cls(vocab, values, kind, obs, size_factor_C)

    @property
    def num_cells(self) -> int:
        """C."""
        return int(self.values_CG.shape[0])

    @property
    def num_genes(self) -> int:
        """G, features of every modality."""
        return int(self.values_CG.shape[1])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (first 16 hex digits) of vocabulary, kind, values and size factors; obs doesn't count."""
        digest = hashlib.sha256(f"{self.vocab.content_hash}|{self.kind}|{self.values_CG.shape}".encode())
        for array in (
            self.values_CG.indptr.astype("<i8"),
            self.values_CG.indices.astype("<i8"),
            self.values_CG.data.astype("<f4"),
            self.size_factor_C.astype("<f8"),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def _normalised_CG(self) -> sparse.csr_matrix:
        if self.kind == "log":
            return self.values_CG
        # A cell without counts may have size factor 0; it has no values to scale.
        scale_C = TARGET_SUM / np.where(self.size_factor_C > 0, self.size_factor_C, 1.0)
        normalised = self.values_CG.copy()
        scale_N = np.repeat(scale_C, np.diff(self.values_CG.indptr))
        normalised.data = np.log1p(self.values_CG.data * scale_N).astype(np.float32)
        return normalised

    def normalised(self) -> sparse.csr_matrix:
        """CSR float32 ``[C, G]``: log1p of counts per ten thousand, or the log values themselves.

        Made once and shared: don't write to it.
        """
        return self._normalised_CG

    def rows(self, index_C: np.ndarray) -> CellMatrix:
        """The cells at ``index_C``, in that order."""
        index_C = np.asarray(index_C)
        return CellMatrix(
            self.vocab, self.values_CG[index_C], self.kind, self.obs.iloc[index_C], self.size_factor_C[index_C]
        )

    def permuted_genes(self, tf_index: np.ndarray, seed: int) -> CellMatrix:
        """Exchange whole profiles between genes: TFs among TFs, others among others.

        Profiles stay inside a modality, and those of features that are never tokens (spike-ins)
        stay with such features.
        Cells keep their totals and the matrix its singular values; only the names of the profiles change.
        """
        is_tf_G = np.zeros(self.num_genes, dtype=bool)
        is_tf_G[np.asarray(tf_index, dtype=np.int64)] = True
        groups = pd.MultiIndex.from_arrays([self.vocab.modality, self.vocab.is_token, is_tf_G])
        group_G = pd.factorize(groups)[0]
        generator = np.random.default_rng(seed)
        source_G = np.arange(self.num_genes)
        for group in np.unique(group_G):
            members = np.flatnonzero(group_G == group)
            source_G[members] = generator.permutation(members)
        values = self.values_CG[:, source_G]
        values.sort_indices()
        return replace(self, values_CG=values)

    def permuted_cells(self, seed: int) -> CellMatrix:
        """Shuffle each gene over the cells, which destroys co-expression and keeps every gene's distribution exactly.

        The *normalised* values are shuffled, so the result has kind ``"log"``: counts moved between cells of
        different depth would change each gene's normalised distribution too.
        """
        generator = np.random.default_rng(seed)
        columns = self.normalised().tocsc(copy=True)
        for gene in range(self.num_genes):
            low, high = columns.indptr[gene], columns.indptr[gene + 1]
            if high > low:
                columns.indices[low:high] = generator.permutation(self.num_cells)[columns.indices[low:high]]
        columns.has_sorted_indices = False
        values = columns.tocsr()
        values.sort_indices()
        return CellMatrix(self.vocab, values, "log", self.obs, np.ones(self.num_cells))


@dataclass(frozen=True)
class CellSplit:
    """Sorted, disjoint rows of a :class:`CellMatrix` that cover it."""

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
