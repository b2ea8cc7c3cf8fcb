"""Folds of the training part, made in the manner of the split's regime; fits that never saw what they score.

Anything that is computed from labels and then used as a feature must be computed out of fold: leave-one-out degree
rates, for example, reveal the label that was left out (on a published split they take AUROC from .890 to .733).

Dimension letters: G genes, S sources, R rows of a fold, N columns of a fold, M pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.data.edge_split import EdgeSplit

__all__ = ["Fold", "Folds", "assemble", "make_folds"]

_MAX_FOLDS_BOTH = 3  # a product of folds: 3 x 3 fits


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: the table without it, and the entries that it scores.

    Attributes
    ----------
    table
        The training table with this fold hidden.
    rows_R, columns_N
        Positions of rows, gene indices of columns; their product holds the fold's entries.
    inside_RN
        Which of these entries belong to the fold; None: all of them.
    """

    table: EdgeTable
    rows_R: np.ndarray
    columns_N: np.ndarray
    inside_RN: np.ndarray | None = None

    def position(self, rows_M: np.ndarray, columns_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the fold's entries in a block ``[R, N]`` of it; rows and columns are sorted."""
        return np.searchsorted(self.rows_R, rows_M), np.searchsorted(self.columns_N, columns_M)


@dataclass(frozen=True, eq=False)
class Folds:
    """A partition of the training table's entries; iterate to get each :class:`Fold` (the tables are made again).

    ``row_fold_S`` and ``column_fold_G`` number the folds of held-out rows and columns (-1: in none of them); None if
    that side is not held out. Without either, pairs are drawn: an edge and its reverse fall into one fold.
    """

    table: EdgeTable
    num: int
    row_fold_S: np.ndarray | None
    column_fold_G: np.ndarray | None
    hide_columns: bool
    hide_rows: bool
    labelled: bool
    seed: int

    @cached_property
    def _pair_fold_SG(self) -> np.ndarray:
        num_genes = np.uint64(self.table.num_genes)
        rows, columns = self.table.sources_S[:, None].astype(np.uint64), np.arange(num_genes, dtype=np.uint64)[None, :]
        low, high = np.minimum(rows, columns), np.maximum(rows, columns)
        return (_mix(low * num_genes + high, self.seed) % np.uint64(self.num)).astype(np.int8)

    @cached_property
    def fold_SG(self) -> np.ndarray:
        """int16 number of each entry's fold; -1 for entries that no fold scores."""
        rows, columns = self.row_fold_S, self.column_fold_G
        if rows is None and columns is None:
            return self._pair_fold_SG.astype(np.int16)
        num_rows, num_genes = self.table.labels_SG.shape
        row_S = np.zeros(num_rows, dtype=np.int16) if rows is None else rows
        column_G = np.zeros(num_genes, dtype=np.int16) if columns is None else columns
        number_SG = row_S[:, None] * (1 if columns is None else self.num) + column_G
        number_SG[row_S < 0] = -1
        number_SG[:, column_G < 0] = -1
        return number_SG.astype(np.int16)

    def __iter__(self) -> Iterator[Fold]:
        num_rows, num_genes = self.table.labels_SG.shape
        every_row, every_column = np.arange(num_rows), np.arange(num_genes)
        if self.row_fold_S is None and self.column_fold_G is None:
            for f in range(self.num):
                inside_SG = self._pair_fold_SG == f
                hidden = self.table.hide(pairs_SG=inside_SG, forget=self.labelled)
                yield Fold(hidden, every_row, every_column, inside_SG)
            return
        row_groups = (
            [None] if self.row_fold_S is None else [np.flatnonzero(self.row_fold_S == f) for f in range(self.num)]
        )
        column_groups = (
            [None] if self.column_fold_G is None else [np.flatnonzero(self.column_fold_G == f) for f in range(self.num)]
        )
        for rows_R in row_groups:
            for columns_N in column_groups:
                hidden_rows, hidden_columns = rows_R, columns_N
                # Where the split hides the other edges of a held-out gene too, so do the folds.
                if self.hide_columns and rows_R is not None:
                    also = self.table.sources_S[rows_R]
                    hidden_columns = also if columns_N is None else np.union1d(columns_N, also)
                if self.hide_rows and columns_N is not None:
                    also = np.flatnonzero(np.isin(self.table.sources_S, columns_N))
                    hidden_rows = also if rows_R is None else np.union1d(rows_R, also)
                yield Fold(
                    self.table.hide(rows_R=hidden_rows, columns_N=hidden_columns),
                    every_row if rows_R is None else rows_R,
                    every_column if columns_N is None else columns_N,
                )


def make_folds(split: EdgeSplit, table: EdgeTable, *, folds: int = 5, seed: int = 0) -> Folds:
    """Folds over training TFs (unseen-tf), training genes (unseen-target), both, or training pairs (all others).

    ``unseen-both`` takes a product of at most 3 x 3 folds.
    """
    generator = np.random.default_rng([seed, 11])
    held_out = table.held_out
    num = min(folds, _MAX_FOLDS_BOTH) if held_out == "both" else folds
    rows = columns = None
    if held_out in ("source", "both"):
        rows = _assign(len(table.sources_S), np.flatnonzero(table.seen_S), num, generator)
    if held_out in ("target", "both"):
        columns = _assign(table.num_genes, np.flatnonzero(table.seen_G), num, generator)
    hides_columns = held_out in ("source", "both") and np.isin(split.hidden_sources_S, split.hidden_targets_N).all()
    hides_rows = held_out in ("target", "both") and split.track == "hidden"
    return Folds(table, num, rows, columns, bool(hides_columns), hides_rows, split.labelled, seed)


def assemble(folds: Folds, predict: Callable[[Fold], np.ndarray], full_SG: np.ndarray) -> np.ndarray:
    """Scores of every entry by the fit that did not see it; entries of no fold keep ``full_SG``.

    ``predict`` returns scores ``[R, N]`` of a fold's rows and columns.
    """
    result_SG = full_SG.astype(np.float32, copy=True)
    for fold in folds:
        block_RN = predict(fold)
        index = np.ix_(fold.rows_R, fold.columns_N)
        result_SG[index] = block_RN if fold.inside_RN is None else np.where(fold.inside_RN, block_RN, result_SG[index])
    return result_SG


def _assign(length: int, members: np.ndarray, num: int, generator: np.random.Generator) -> np.ndarray:
    fold = np.full(length, -1, dtype=np.int16)
    fold[generator.permutation(members)] = np.arange(len(members)) % num
    return fold


def _mix(keys: np.ndarray, seed: int) -> np.ndarray:
    """SplitMix64: a fixed hash, so that folds do not depend on the order of pairs (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        keys = keys + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return keys ^ (keys >> np.uint64(31))
