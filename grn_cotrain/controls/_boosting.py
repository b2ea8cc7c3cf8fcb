"""Classifiers on out-of-fold pair features, above all boosted trees.

Dimension letters: G genes, S sources, M pairs, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._table_control import EvidenceControl
from grn_cotrain.controls.base import Control
from grn_cotrain.controls.out_of_fold import Folds
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
        max_features=config.share_features,
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
    table: EdgeTable
    model: Any

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Fit the classifier; without positives, or with a single class of pairs, scores are 0."""
        if self.needs_cells:
            self.require(cells)
        generator = np.random.default_rng([self.seed, self.stream])
        self.features = PairFeatures(split, cells, self.groups, seed=self.seed)
        self.table = self.features.table
        rows_M, columns_M, labels_M = training_entries(self.table, self.config.max_negatives, generator)
        self.model = None
        if labels_M.any() and not labels_M.all():
            features_MF = self.features.out_of_fold(rows_M, columns_M)
            fold_M = self.features.folds.fold_SG[rows_M, columns_M]
            self.model = self.fitted(features_MF, labels_M, fold_M)
        return self

    @abstractmethod
    def fitted(self, features_MF: np.ndarray, labels_M: np.ndarray, fold_M: np.ndarray) -> Any:
        """An estimator with ``decision_function``, fitted to training pairs of both classes; ``fold_M`` are folds."""

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Log-odds ``[M]``."""
        scores_M = np.zeros(pairs_2M.shape[1])
        if self.model is None:
            return scores_M
        for start in range(0, pairs_2M.shape[1], _BLOCK):
            features_MF = self.features.full(pairs_2M[:, start : start + _BLOCK])
            scores_M[start : start + len(features_MF)] = log_odds(self.model, features_MF)
        return scores_M


@dataclass(frozen=True)
class CrossFitted:
    """One model a fold, none of which saw the labels of its fold; the log-odds are their mean."""

    models: Mapping[int, Any]

    def decision_function(self, features_MF: np.ndarray) -> np.ndarray:
        """Mean log-odds ``[M]``."""
        return np.asarray(np.mean([model.decision_function(features_MF) for model in self.models.values()], axis=0))


class PairBooster(PairModel, EvidenceControl):
    """Histogram gradient boosting (scikit-learn) on pair features; subclasses name the groups of features.

    All training positives and at most 100k negatives, features out of fold within training. One model a fold learns
    from the entries of the other folds; its number of trees is the one with the lowest log loss on the fold, whose
    genes are as new to it as those of the test, and a node chooses among a third of the features, so that columns of
    noise cost little. The score is the mean of the models' log-odds. Neither validation nor test pairs are read.

    Attributes
    ----------
    features
        Pair features, with the training table and its folds.
    model
        A :class:`CrossFitted`; None if training has one class of pairs.
    """

    version: ClassVar[int] = 2
    log_odds = True
    stream = 13

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`PairBooster`.

        Attributes
        ----------
        max_negatives
            Training negatives, drawn evenly.
        max_trees
            Ceiling on the number of trees; the fold that is left out picks it.
        learning_rate
            Shrinkage of a tree.
        max_leaves
            Leaves of a tree.
        min_leaf
            Pairs of a leaf, at least.
        l2
            Penalty on the values of leaves.
        patience
            Trees without a lower loss on the fold before boosting stops.
        share_features
            Share of the features, drawn at random, that a node chooses from.
        """

        max_negatives: int = 100_000
        max_trees: int = 400
        learning_rate: float = 0.05
        max_leaves: int = 15
        min_leaf: int = 200
        l2: float = 1.0
        patience: int = 10
        share_features: float = 0.3

        def __post_init__(self) -> None:
            for name in ("max_negatives", "max_trees", "learning_rate", "min_leaf", "patience"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")
            require(self.max_leaves >= 2, f"max_leaves: got {self.max_leaves}; give at least 2")
            share = self.share_features
            require(0 < share <= 1, f"share_features: got {share}; give a share above 0 and at most 1")

    model: CrossFitted | None

    @classmethod
    def holds_degrees(cls) -> bool:
        """See :class:`EvidenceControl`."""
        return "graph" in cls.groups

    def fitted(self, features_MF: np.ndarray, labels_M: np.ndarray, fold_M: np.ndarray) -> CrossFitted:
        """See :class:`PairModel`; a model a fold, which stops where its loss on the fold is lowest."""
        models: dict[int, Any] = {}
        for fold in np.unique(fold_M):
            rest_M = fold_M != fold
            if len(np.unique(labels_M[rest_M])) == 2 and len(np.unique(labels_M[~rest_M])) == 2:
                validation = (features_MF[~rest_M], labels_M[~rest_M])
                models[int(fold)] = self._fit_model(features_MF[rest_M], labels_M[rest_M], validation)
        if not models:  # too few positives for folds: one model, with as many trees as it may have
            models[-1] = self._fit_model(features_MF, labels_M, None)
        return CrossFitted(models)

    def _fit_model(
        self, features_MF: np.ndarray, labels_M: np.ndarray, validation: tuple[np.ndarray, np.ndarray] | None
    ) -> Any:
        return fit_trees(self.config, features_MF, labels_M, validation, self.seed)

    def out_of_fold(self, folds: Folds) -> np.ndarray:
        """float32 ``[S, G]``: scores of every training entry by the model that never saw its label, and of all others.

        As in stacking, the features that this model learned from come from fits that saw some of these labels.
        """
        if folds.num != self.features.folds.num or not np.array_equal(folds.fold_SG, self.features.folds.fold_SG):
            raise ValueError("out_of_fold: other folds than the features were made with; give the same seed")
        return self._scored(np.ones_like(self.table.known_SG))

    def of_seen_pairs(self, split: EdgeSplit, cells: CellStore | None) -> np.ndarray:
        """See :class:`EvidenceControl`; the folds of this fit are pairs, whatever the split holds out."""
        if split.held_out == "none":
            return self._scored(self.table.known_SG)
        again = type(self)(self.config, seed=self.seed).fit(replace(split, kind="random"), cells)
        return again._scored(again.table.known_SG)

    def evidence(self, folds: Folds, channel: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`EvidenceControl`; :meth:`of_seen_pairs` scores training entries for use, so both are equal."""
        assert channel is None, channel
        train_SG = self.out_of_fold(folds)
        return train_SG, train_SG

    def _scored(self, asked_SG: np.ndarray) -> np.ndarray:
        """Scores of the entries asked for: of training ones by the model of their fold, of others by all models."""
        result_SG, asked_SG = np.zeros(asked_SG.shape, dtype=np.float32), asked_SG.copy()
        own_SG = self.features.folds.fold_SG
        for fold, model in self.model.models.items() if self.model is not None else ():
            rows_M, columns_M = np.nonzero((own_SG == fold) & self.table.known_SG & asked_SG)
            for start in range(0, len(rows_M), _BLOCK):
                some = slice(start, start + _BLOCK)
                features_MF = self.features.out_of_fold(rows_M[some], columns_M[some])
                result_SG[rows_M[some], columns_M[some]] = log_odds(model, features_MF)
            asked_SG[rows_M, columns_M] = False
        rows_M, columns_M = np.nonzero(asked_SG)
        if len(rows_M):
            result_SG[rows_M, columns_M] = self.score(np.stack([self.table.sources_S[rows_M], columns_M]))
        return result_SG
