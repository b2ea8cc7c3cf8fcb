"""Training positives as a table, sources x genes, and what of it is known: what closed-form controls are fitted to.

Dimension letters: G genes, M pairs, S sources, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from grn_cotrain.data.edge_split import EdgeSplit, Side

__all__ = ["EdgeTable", "Side"]


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """Label of every (source, gene) entry, as far as training shows it.

    Attributes
    ----------
    sources_S
        Sorted gene indices of the rows: every source that training, validation or test may name.
    labels_SG
        float32, 1 for training positives, 0 elsewhere.
    known_SG
        bool; entries whose label is information. All entries of seen rows and columns, since every unlabelled pair may
        be a training negative; of published splits the labelled pairs.
    held_out
        The side that is new at test time. On the other side, rates of seen genes are facts and are used as they are.
    kept_source_rate_S
        Rates of the rows of the whole training part, in a table that hides some columns; see :meth:`hide`.
    """

    sources_S: np.ndarray
    labels_SG: np.ndarray
    known_SG: np.ndarray
    held_out: Side
    kept_source_rate_S: np.ndarray | None = None

    @classmethod
    def of(cls, split: EdgeSplit) -> EdgeTable:
        """Build the table of a split's training part; validation and test pairs are not read."""
        sources_S = np.unique(
            np.concatenate(
                [split.train_sources_S, split.validation_sources_S, split.test_sources_S, split.hidden_sources_S]
            )
        )
        shape = (len(sources_S), split.num_genes)
        labels_SG = np.zeros(shape, dtype=np.float32)
        source_E, target_E = split.train_2E
        rows_E, inside_E = rows_of(sources_S, source_E)
        labels_SG[rows_E[inside_E], target_E[inside_E]] = 1
        known_SG = np.zeros(shape, dtype=bool)
        negatives_2N = split.negatives("train")
        if negatives_2N is not None:
            rows_N, inside_N = rows_of(sources_S, negatives_2N[0])
            known_SG[rows_N[inside_N], negatives_2N[1][inside_N]] = True
            known_SG |= labels_SG > 0
        else:
            seen_S = np.isin(sources_S, split.train_sources_S)
            seen_G = np.zeros(split.num_genes, dtype=bool)
            seen_G[split.train_targets_N] = True
            known_SG[:] = seen_S[:, None] & seen_G
        known_SG[np.arange(len(sources_S)), sources_S] = False
        # A file may label negatives of genes that it holds out: their lack of a positive carries no information.
        known_SG[np.isin(sources_S, split.hidden_sources_S)] = False
        known_SG[:, split.hidden_targets_N] = False
        return cls(sources_S, labels_SG * known_SG, known_SG, split.held_out)

    @property
    def num_genes(self) -> int:
        """G."""
        return int(self.labels_SG.shape[1])

    @cached_property
    def seen_S(self) -> np.ndarray:
        """bool; rows of which anything is known."""
        return np.asarray(self.known_SG.any(axis=1))

    @cached_property
    def seen_G(self) -> np.ndarray:
        """bool; columns of which anything is known."""
        return np.asarray(self.known_SG.any(axis=0))

    @cached_property
    def complete(self) -> bool:
        """Whether all of every seen row x seen column is known (self-pairs apart), as of unlabelled splits."""
        num_self = int((self.seen_S & self.seen_G[self.sources_S]).sum())
        return int(self.known_SG.sum()) == int(self.seen_S.sum()) * int(self.seen_G.sum()) - num_self

    @cached_property
    def sparse_SG(self) -> sparse.csr_array:
        """The positives, float32 CSR ``[S, G]``."""
        row_E, column_E = np.divmod(np.flatnonzero(self.labels_SG), self.num_genes)
        first_S = np.searchsorted(row_E, np.arange(len(self.sources_S) + 1))
        return sparse.csr_array((np.ones(len(row_E), dtype=np.float32), column_E, first_S), self.labels_SG.shape)

    @cached_property
    def adjacency_GG(self) -> sparse.csr_array:
        """The directed graph of the positives, float32 CSR ``[G, G]``."""
        entries = self.sparse_SG.tocoo()
        return sparse.csr_array(
            (entries.data, (self.sources_S[entries.coords[0]], entries.coords[1])), (self.num_genes, self.num_genes)
        )

    @cached_property
    def mean_rate(self) -> float:
        """Share of positives among known entries."""
        return float(self.labels_SG.sum() / max(int(self.known_SG.sum()), 1))

    @cached_property
    def source_rate_S(self) -> np.ndarray:
        """Share of positives in each row, float64; unseen rows get the mean, not 0."""
        if self.kept_source_rate_S is not None:
            return self.kept_source_rate_S
        return _rates(self.labels_SG.sum(axis=1), self.known_SG.sum(axis=1), self.mean_rate)

    @cached_property
    def target_rate_G(self) -> np.ndarray:
        """Share of positives in each column, float64; unseen columns get the mean, not 0."""
        return _rates(self.labels_SG.sum(axis=0), self.known_SG.sum(axis=0), self.mean_rate)

    @cached_property
    def source_effect_S(self) -> np.ndarray:
        """Difference between a row's rate and the mean; 0 for all where sources are the held-out side."""
        if self.held_out in ("source", "both"):
            return np.zeros(len(self.sources_S))
        return self.source_rate_S - self.mean_rate

    @cached_property
    def target_effect_G(self) -> np.ndarray:
        """Difference between a column's rate and the mean; 0 for all where targets are the held-out side."""
        if self.held_out in ("target", "both"):
            return np.zeros(self.num_genes)
        return self.target_rate_G - self.mean_rate

    def rows(self, sources_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each gene index, and whether it has one (the row is 0 where not)."""
        return rows_of(self.sources_S, sources_M)

    def hide(
        self,
        *,
        rows_R: np.ndarray | None = None,
        columns_N: np.ndarray | None = None,
        pairs_SG: np.ndarray | None = None,
        forget: bool = True,
    ) -> EdgeTable:
        """Return the table without the entries of these rows, of these columns, and of this mask.

        The reverse of a hidden positive leaves the table too, as it does in the splits: on networks stored in both
        directions it would give the answer away. Where targets are held out, rows keep their rates of the whole
        training part: they are the same for all pairs of a row, so they rank none of them, while a rate without the
        hidden columns is the lower, the more positives were hidden, which gives the answer away with the wrong sign.

        Parameters
        ----------
        forget
            Whether hidden entries of ``pairs_SG`` become unknown (labelled pairs), or are known not to be positive, as
            test pairs are on a split of random edges. Hidden rows and columns are always unknown.
        """
        hidden_SG = np.zeros(self.known_SG.shape, dtype=bool) if pairs_SG is None else pairs_SG.copy()
        known_SG = self.known_SG.copy()
        if forget:
            known_SG &= ~hidden_SG
        for axis_index in (rows_R, (slice(None), columns_N) if columns_N is not None else None):
            if axis_index is not None:
                hidden_SG[axis_index] = True
                known_SG[axis_index] = False
        labels_SG = self.labels_SG * ~hidden_SG
        row_E, target_E = self.sparse_SG.tocoo().coords
        lost_E = hidden_SG[row_E, target_E]
        lost_row_E, lost_target_E = row_E[lost_E], target_E[lost_E]
        reverse_row_E, inside_E = self.rows(lost_target_E)
        labels_SG[reverse_row_E[inside_E], self.sources_S[lost_row_E[inside_E]]] = 0
        kept_S = self.source_rate_S if self.held_out == "target" and rows_R is None else self.kept_source_rate_S
        return replace(self, labels_SG=labels_SG, known_SG=known_SG, kept_source_rate_S=kept_S)


def rows_of(sources_S: np.ndarray, queries_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each query in sorted ``sources_S`` (0 where absent), and whether it is there."""
    if len(sources_S) == 0:
        return np.zeros(len(queries_M), dtype=np.int64), np.zeros(len(queries_M), dtype=bool)
    position_M = np.minimum(np.searchsorted(sources_S, queries_M), len(sources_S) - 1)
    inside_M = sources_S[position_M] == queries_M
    return np.where(inside_M, position_M, 0), inside_M


def _rates(positives: np.ndarray, known: np.ndarray, mean: float) -> np.ndarray:
    # Shares of a handful of labels are noise: one pseudo-positive at the mean rate holds them back.
    pseudo = 1 / mean if mean > 0 else 1.0
    return (positives.astype(np.float64) + 1.0 * (mean > 0)) / (known + pseudo)
