"""Smoothed rates over neighbours, shrunk to a prior: what every kNN control is.

Dimension letters: G genes, S sources, R rows, N columns.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from grn_cotrain.controls._edge_table import EdgeTable

__all__ = ["LastSums", "relative_rate", "same_family", "shrink", "smooth_sources", "smooth_targets", "vote_shares"]


class LastSums:
    """Keeps the last pair of sums: options that differ in the weight of the prior alone ask for the same ones."""

    def __init__(self) -> None:
        self._asked: tuple[Any, ...] = ()
        self._anchors: tuple[Any, ...] = ()
        self._sums: tuple[np.ndarray, np.ndarray] | None = None

    def get(
        self, asked: tuple[Any, ...], anchors: tuple[Any, ...], compute: Callable[[], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute, unless ``asked`` is equal and each of ``anchors`` is the same object as the last time."""
        same = len(anchors) == len(self._anchors) and all(map(operator.is_, anchors, self._anchors))
        if self._sums is None or asked != self._asked or not same:
            self._asked, self._anchors, self._sums = asked, anchors, compute()
        return self._sums


def relative_rate(table: EdgeTable, *, of: str) -> np.ndarray:
    """Rates of sources (``[S]``) or targets (``[G]``) over the mean; 1 for all of a held-out side."""
    effect = table.source_effect_S if of == "source" else table.target_effect_G
    return 1 + effect / table.mean_rate if table.mean_rate > 0 else np.ones(len(effect))


def shrink(
    positive_RN: np.ndarray, weight_RN: np.ndarray, prior_RN: np.ndarray | np.float64, prior_weight: float
) -> np.ndarray:
    """``(positives + prior_weight * prior) / (weight + prior_weight)``: no neighbours, no opinion but the prior."""
    return (positive_RN + prior_weight * prior_RN) / (weight_RN + prior_weight)


def vote_shares(weights_NG: sparse.csr_array, prior_weight: float) -> sparse.csr_array:
    """Weights over their sum and the weight of the prior: what one positive neighbour adds to :func:`shrink`."""
    total_N = np.asarray(weights_NG.sum(axis=1), dtype=np.float64) + prior_weight
    return (sparse.diags_array(1 / total_N) @ weights_NG).tocsr()


def smooth_targets(
    table: EdgeTable, weights_NG: sparse.csr_array, rows: np.ndarray | slice
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over neighbours of targets: weighted positives and weight of known entries, ``[R, N]`` each."""
    labels_RG = table.sparse_SG[rows]
    positive_RN = (labels_RG @ weights_NG.T).toarray()
    if table.complete:
        # The one unknown entry of a row, its self-pair, counts as a negative here: its weight is one in thousands.
        weight_RN = table.seen_S[rows][:, None] * (weights_NG @ table.seen_G.astype(np.float32))
    else:
        weight_RN = (sparse.csr_array(table.known_SG[rows].astype(np.float32)) @ weights_NG.T).toarray()
    return positive_RN, weight_RN


def smooth_sources(
    table: EdgeTable, weights_RS: np.ndarray, columns: np.ndarray | slice
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over neighbours of sources: weighted positives and weight of known entries, ``[R, N]`` each."""
    weights = sparse.csr_array(weights_RS.astype(np.float32))
    positive_RN = np.asarray((weights @ table.sparse_SG).toarray())[:, columns]
    if table.complete:
        weight_RN = (weights @ table.seen_S.astype(np.float32))[:, None] * table.seen_G[columns]
    else:
        weight_RN = np.asarray((weights @ sparse.csr_array(table.known_SG.astype(np.float32))).toarray())[:, columns]
    return positive_RN, weight_RN


def same_family(families: np.ndarray) -> np.ndarray:
    """bool ``[S, S]``: same family, not the same gene."""
    together_SS = families[:, None] == families
    np.fill_diagonal(together_SS, False)
    return together_SS
