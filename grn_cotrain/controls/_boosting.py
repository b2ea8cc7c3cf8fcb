"""Classifiers on out-of-fold pair features, above all boosted trees.

Dimension letters: M pairs, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls.base import Control
from grn_cotrain.controls.pair_features import Group, PairFeatures
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["PairBooster", "PairModel", "fit_trees", "log_odds", "training_entries", "validation_pairs"]

_BLOCK = 200_000
_ROWS = 4096  # trees walk rows that fit into the cache


def training_entries(
    table: EdgeTable, max_negatives: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All training positives and at most so many known negatives, drawn evenly: rows, columns, labels ``[M]``."""
    positive_M = np.flatnonzero(table.labels_SG)
    negative_M = np.flatnonzero(table.known_SG & (table.labels_SG == 0))
    if len(negative_M) > max_negatives:
        negative_M = np.sort(generator.choice(negative_M, max_negatives, replace=False))
    entries_M = np.concatenate([positive_M, negative_M])
    rows_M, columns_M = np.divmod(entries_M, table.num_genes)
    return rows_M, columns_M, np.arange(len(entries_M)) < len(positive_M)


def validation_pairs(
    split: EdgeSplit, max_negatives: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Validation positives and at most so many negatives; None without both classes."""
    pairs = split.pairs("validation")
    negative_M = np.flatnonzero(~pairs.labels_M)
    if not pairs.labels_M.any() or not len(negative_M):
        return None
    if len(negative_M) > max_negatives:
        negative_M = np.sort(generator.choice(negative_M, max_negatives, replace=False))
    kept_M = np.concatenate([np.flatnonzero(pairs.labels_M), negative_M])
    return pairs.pairs_2M[:, kept_M], pairs.labels_M[kept_M]


def fit_trees(
    config: PairBooster.Config,
    features_MF: np.ndarray,
    labels_M: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
) -> Any:
    """Fit histogram gradient boosting; the log loss on validation features and labels stops it, where there are any."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    held_out = {} if validation is None else {"X_val": validation[0], "y_val": validation[1]}
    return HistGradientBoostingClassifier(
        learning_rate=config.learning_rate,
        max_iter=config.max_trees,
        max_leaf_nodes=config.max_leaves,
        min_samples_leaf=min(config.min_leaf, max(1, len(labels_M) // 20)),
        l2_regularization=config.l2,
        early_stopping=validation is not None,
        scoring="loss",
        n_iter_no_change=config.patience,
        random_state=seed,
    ).fit(features_MF, labels_M, **held_out)


def log_odds(model: Any, features_MF: np.ndarray) -> np.ndarray:
    """Log-odds ``[M]`` of a fitted classifier."""
    scores_M = np.zeros(len(features_MF))
    for low in range(0, len(features_MF), _ROWS):
        scores_M[low : low + _ROWS] = model.decision_function(features_MF[low : low + _ROWS])
    return scores_M


class PairModel(Control):
    """A classifier of pairs by their features; subclasses name groups of features and fit it.

    All training positives and at most ``config.max_negatives`` negatives, features out of fold within training.
    """

    groups: ClassVar[tuple[Group, ...]]
    stream: ClassVar[int]
    """Stream of the draws of negatives, one a classifier."""

    features: PairFeatures
    model: Any

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Fit the classifier; without positives, or with a single class of pairs, scores are 0."""
        if self.needs_cells:
            self.require(cells)
        generator = np.random.default_rng([self.seed, self.stream])
        self.features = PairFeatures(split, cells, self.groups, seed=self.seed)
        rows_M, columns_M, labels_M = training_entries(self.features.table, self.config.max_negatives, generator)
        self.model = None
        if labels_M.any() and not labels_M.all():
            features_MF = self.features.out_of_fold(rows_M, columns_M)
            self.model = self.fitted(features_MF, labels_M, split, generator)
        return self

    @abstractmethod
    def fitted(
        self, features_MF: np.ndarray, labels_M: np.ndarray, split: EdgeSplit, generator: np.random.Generator
    ) -> Any:
        """An estimator with ``decision_function``, fitted to training pairs of both classes."""

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Log-odds ``[M]``."""
        scores_M = np.zeros(pairs_2M.shape[1])
        if self.model is None:
            return scores_M
        for start in range(0, pairs_2M.shape[1], _BLOCK):
            features_MF = self.features.full(pairs_2M[:, start : start + _BLOCK])
            scores_M[start : start + len(features_MF)] = log_odds(self.model, features_MF)
        return scores_M


class PairBooster(PairModel):
    """Histogram gradient boosting (scikit-learn) on pair features; subclasses name the groups of features.

    All training positives and at most 200k negatives, features out of fold within training. The number of trees is the
    one with the lowest log loss on validation pairs, whose genes are as new as those of the test.
    """

    stream = 13

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`PairBooster`.

        Attributes
        ----------
        max_negatives
            Training negatives, drawn evenly.
        max_trees
            Ceiling on the number of trees; validation picks it.
        learning_rate
            Shrinkage of a tree.
        max_leaves
            Leaves of a tree.
        min_leaf
            Pairs of a leaf, at least.
        l2
            Penalty on the values of leaves.
        patience
            Trees without a lower validation loss before boosting stops.
        """

        max_negatives: int = 200_000
        max_trees: int = 200
        learning_rate: float = 0.1
        max_leaves: int = 15
        min_leaf: int = 50
        l2: float = 1.0
        patience: int = 10

        def __post_init__(self) -> None:
            for name in ("max_negatives", "max_trees", "learning_rate", "min_leaf", "patience"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")
            require(self.max_leaves >= 2, f"max_leaves: got {self.max_leaves}; give at least 2")

    def fitted(
        self, features_MF: np.ndarray, labels_M: np.ndarray, split: EdgeSplit, generator: np.random.Generator
    ) -> Any:
        """See :class:`PairModel`; validation pairs choose the number of trees."""
        held_out = validation_pairs(split, self.config.max_negatives // 4, generator)
        validation = None if held_out is None else (self.features.full(held_out[0]), held_out[1])
        return fit_trees(self.config, features_MF, labels_M, validation, self.seed)
