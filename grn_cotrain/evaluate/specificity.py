"""How much of a list is a TF's own: the pairs' share of the scores, and precision on one's own targets minus others'.

A score that is popularity alone finds many edges, and gives every TF the same list. Neither AUROC nor average precision
shows that.

Dimension letters: M pairs, S TFs, N genes, C bootstrap columns (column 0: no resampling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from grn_cotrain.evaluate.bootstrap import Bootstrap, Sample

__all__ = ["TOP", "additive_residual", "best_of_rows", "specificity"]

TOP = 50
"""Targets of a TF that a user reads."""

_ROUNDS = 30


def specificity(
    sources_M: np.ndarray,
    targets_M: np.ndarray,
    labels_M: np.ndarray,
    scores_M: np.ndarray,
    bootstrap: Bootstrap,
    *,
    min_positives: int,
) -> dict[str, Sample]:
    """Measure ``pair_share`` and ``own_minus_other`` of :data:`grn_cotrain.present.LINK_METRICS`.

    Parameters
    ----------
    sources_M, targets_M, labels_M
        Candidates; their TFs (and genes, if resampled) must be units of ``bootstrap``.
    scores_M
        Finite; higher is better.
    bootstrap
        Shared by all scorers that are to be compared. The lists and the means stay those of the sample; TFs and genes
        are weighed.
    min_positives
        TFs with fewer positives count neither as own nor as other.
    """
    genes_N, column_M = np.unique(targets_M, return_inverse=True)
    row_M = np.searchsorted(bootstrap.sources_S, sources_M)
    shape = (len(bootstrap.sources_S), len(genes_N))
    weight_NC = None
    if bootstrap.targets_N is not None and bootstrap.target_weight_NC is not None:
        weight_NC = bootstrap.target_weight_NC[np.searchsorted(bootstrap.targets_N, genes_N)]
    grid = _Grid.build(row_M, column_M, shape, bootstrap.source_weight_SC, weight_NC)
    num_tfs, prevalence = len(np.unique(row_M)), float(labels_M.mean()) if len(labels_M) else float("nan")

    score_SN = np.zeros(shape)
    score_SN[row_M, column_M] = scores_M
    score_SN[grid.present_SN] -= scores_M.mean() if len(scores_M) else 0.0
    left_SN = additive_residual(score_SN, grid.present_SN)
    first_C, second_C, count_C = (
        grid.total(values_SN) for values_SN in (score_SN, score_SN**2, grid.present_SN.astype(np.float64))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_C = second_C - first_C**2 / count_C
    tiny = 1e-12 * max(float(second_C[0]), 1e-300)
    share = Sample(
        np.where(spread_C > tiny, grid.total(left_SN**2), 0.0), np.where(spread_C > tiny, spread_C, 0.0), False,
        num_tfs, len(labels_M), prevalence,
    )  # fmt: skip
    label_SN = np.zeros(shape, dtype=bool)
    label_SN[row_M, column_M] = labels_M
    enough_S = label_SN.sum(axis=1) >= max(min_positives, 1)
    best_SN = best_of_rows(np.where(grid.present_SN, score_SN, -np.inf), TOP)
    return {"pair_share": share, "own_minus_other": _own_minus_other(grid, best_SN, label_SN, enough_S)}


@dataclass(frozen=True, eq=False)
class _Grid:
    """Which pairs of TFs and genes are candidates, and how often each TF and gene is drawn."""

    present_SN: np.ndarray
    weight_SC: np.ndarray
    weight_NC: np.ndarray | None

    @classmethod
    def build(
        cls,
        row_M: np.ndarray,
        column_M: np.ndarray,
        shape: tuple[int, int],
        weight_SC: np.ndarray,
        weight_NC: np.ndarray | None,
    ) -> _Grid:
        present_SN = np.zeros(shape, dtype=bool)
        present_SN[row_M, column_M] = True
        return cls(present_SN, weight_SC, weight_NC)

    def rows(self, values: np.ndarray | sparse.csr_array) -> np.ndarray:
        """Sum over genes, ``[S, C]`` (``[S, 1]`` where genes are not drawn)."""
        if self.weight_NC is None:
            return np.asarray(values.sum(axis=1), dtype=np.float64)[:, None]
        return np.asarray(values.astype(np.float32) @ self.weight_NC, dtype=np.float64)

    def total(self, values_SN: np.ndarray) -> np.ndarray:
        """Sum over TFs and genes, ``[C]``."""
        return (self.rows(values_SN) * self.weight_SC).sum(axis=0)


def additive_residual(values_SN: np.ndarray, present_SN: np.ndarray) -> np.ndarray:
    """Residual of a table after the least-squares effects of rows and columns; 0 for entries that are absent."""
    left_SN = np.where(present_SN, values_SN, 0.0)
    count_S1 = np.maximum(present_SN.sum(axis=1, keepdims=True), 1)
    count_1N = np.maximum(present_SN.sum(axis=0, keepdims=True), 1)
    for _ in range(1 if present_SN.all() else _ROUNDS):  # a full table needs each mean once
        left_SN -= left_SN.sum(axis=1, keepdims=True) / count_S1 * present_SN
        column_1N = left_SN.sum(axis=0, keepdims=True) / count_1N
        left_SN -= column_1N * present_SN
        if np.abs(column_1N).max(initial=0.0) < 1e-9 * max(1e-300, np.abs(values_SN).max(initial=0.0)):
            break
    return left_SN


def best_of_rows(score_SN: np.ndarray, count: int) -> sparse.csr_array:
    """Membership of each row's ``count`` best entries, CSR ``[S, N]``; equal scores at the edge share the places."""
    rows, columns, shares = [], [], []
    for row, score_N in enumerate(score_SN):
        known = np.flatnonzero(np.isfinite(score_N))
        if not known.size:
            continue
        most = min(count, known.size)
        edge = np.partition(score_N[known], known.size - most)[known.size - most]
        above, tied = known[score_N[known] > edge], known[score_N[known] == edge]
        rows.append(np.full(above.size + tied.size, row))
        columns.append(np.concatenate([above, tied]))
        shares.append(np.append(np.ones(above.size), np.full(tied.size, (most - above.size) / tied.size)))
    if not rows:
        return sparse.csr_array(score_SN.shape)
    index = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(shares), index), shape=score_SN.shape)


def _own_minus_other(grid: _Grid, best_SN: sparse.csr_array, label_SN: np.ndarray, enough_S: np.ndarray) -> Sample:
    """Precision of each list on the TF's own positives minus its precision on those of the other TFs.

    Genes that are no candidates of another TF (its training targets) leave the list before its precision there is
    taken: else one list for all TFs would not score 0.
    """
    weight_SC = grid.weight_SC * enough_S[:, None]
    truth_SN = sparse.csr_array((label_SN & enough_S[:, None]).astype(np.float64))
    absent_SN = sparse.csr_array((~grid.present_SN & enough_S[:, None]).astype(np.float64))
    positive_NC = np.asarray(truth_SN.T @ weight_SC)  # this TF is among them
    rivals_NC = weight_SC.sum(axis=0) - np.asarray(absent_SN.T @ weight_SC)
    if grid.weight_NC is not None:
        positive_NC, rivals_NC = positive_NC * grid.weight_NC, rivals_NC * grid.weight_NC
    hits_SC, size_SC = grid.rows((best_SN * truth_SN).tocsr()), grid.rows(best_SN)
    with np.errstate(divide="ignore", invalid="ignore"):
        other_SC = (best_SN @ positive_NC - weight_SC * hits_SC) / (best_SN @ rivals_NC - weight_SC * size_SC)
        difference_SC = hits_SC / size_SC - other_SC
    defined_SC = np.isfinite(difference_SC) * weight_SC
    used_S = enough_S & np.isfinite(difference_SC[:, 0])
    num_pairs = int(grid.present_SN[used_S].sum())
    prevalence = float(label_SN[used_S].sum() / num_pairs) if num_pairs else float("nan")
    return Sample(
        (np.nan_to_num(difference_SC, posinf=0.0, neginf=0.0) * defined_SC).sum(axis=0),
        np.broadcast_to(defined_SC.sum(axis=0), (grid.weight_SC.shape[1],)).copy(),
        True, int(used_S.sum()), num_pairs, prevalence,
    )  # fmt: skip
