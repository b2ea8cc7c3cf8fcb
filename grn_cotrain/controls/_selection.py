"""Choosing a constant inside training: out-of-fold scores of a sample of training pairs, macro AUROC over TFs.

Dimension letters: M pairs, S sources.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.controls._edge_table import EdgeTable

__all__ = ["macro_auroc", "sample_entries"]

_MIN_POSITIVES = 2  # per TF and fold


def sample_entries(
    table: EdgeTable, *, negatives_per_source: int = 200, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All training positives, and for each row that has some the given number of known negatives (or all).

    Returns
    -------
    rows_M, columns_M, labels_M
        Positions of rows, gene indices, bool; sorted by row.
    """
    generator = np.random.default_rng([seed, 12])
    rows, columns, labels = [], [], []
    for row in np.flatnonzero(table.labels_SG.any(axis=1)):
        positives = np.flatnonzero(table.labels_SG[row])
        negatives = np.flatnonzero(table.known_SG[row] & (table.labels_SG[row] == 0))
        if len(negatives) > negatives_per_source:
            negatives = generator.choice(negatives, negatives_per_source, replace=False)
        rows.append(np.full(len(positives) + len(negatives), row))
        columns.append(np.concatenate([positives, negatives]))
        labels.append(np.arange(len(columns[-1])) < len(positives))
    if not rows:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, empty.astype(bool)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(labels)


def macro_auroc(
    scores_M: np.ndarray, labels_M: np.ndarray, groups_M: np.ndarray, *, min_positives: int = _MIN_POSITIVES
) -> float:
    """Mean AUROC over groups with enough positives and a negative, ties half; .5 where there is no such group."""
    if len(scores_M) == 0:
        return 0.5
    order = np.lexsort((scores_M, groups_M))
    score, group, label = scores_M[order], groups_M[order], labels_M[order]
    new_group = np.append(True, group[1:] != group[:-1])
    group = np.cumsum(new_group) - 1
    new_tie = np.append(True, (score[1:] != score[:-1]) | new_group[1:])
    tie = np.cumsum(new_tie) - 1
    position = np.arange(len(score)) - np.flatnonzero(new_group)[group]
    rank = (np.bincount(tie, weights=position) / np.bincount(tie))[tie] + 1
    positive = np.bincount(group, weights=label)
    negative = np.bincount(group) - positive
    kept = (positive >= min_positives) & (negative > 0)
    if not kept.any():
        return 0.5
    won = np.bincount(group, weights=rank * label) - positive * (positive + 1) / 2
    return float((won[kept] / (positive * negative)[kept]).mean())
