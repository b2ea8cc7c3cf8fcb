"""Links and expression in turns: predicted edges support the regulon factors, whose evidence predicts the edges.

Dimension letters: G genes, S sources, M pairs, F features or channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit

from grn_cotrain.config import require
from grn_cotrain.controls._boosting import PairBooster, fit_trees, log_odds, training_entries, validation_pairs
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._factor_model import Support
from grn_cotrain.controls._table_control import EvidenceControl
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.boosting_all import BoostingAll
from grn_cotrain.controls.out_of_fold import Fold, Folds, assemble
from grn_cotrain.controls.pair_features import PairFeatures
from grn_cotrain.controls.regulon_factor import RegulonFactor
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.rewire import rewired
from grn_cotrain.data.store import CellStore
from grn_cotrain.recipe_train import Reading

__all__ = ["RegulonLoop"]

_LEAST = 0.1  # a less likely edge does not support a factor
_BLOCK = 200_000


@dataclass(frozen=True, eq=False)
class _Known:
    """Training entries of all rounds: rows, columns, labels, number of the fold, and features without the factors."""

    rows_M: np.ndarray
    columns_M: np.ndarray
    labels_M: np.ndarray
    fold_M: np.ndarray
    features_MF: np.ndarray
    validation: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None  # rows, columns, features, labels


@CONTROLS.register("regulon_loop", paper="-")
class RegulonLoop(EvidenceControl):
    """Boosted trees and regulon factors that support each other: links and expression, trained in turns.

    The first pass fits the trees of ``boosting_all`` with the channels of ``regulon_factor`` among their features, out
    of fold. In each round after it, the probabilities above 0.1 of pairs whose label is not known are a soft support of
    the factors (those of a fold come from trees that were fitted on the other folds), EM runs again, and trees are
    fitted on the new channels. The trees of the last round score.

    Config
    ------
    rounds
        Rounds after the first pass; 0 gives one pass.
    reads
        ``factors``; or a baseline that shows what a gain is due to: ``log_p`` (the log-odds of the round before alone,
        which is stacking), ``no_edges`` (activities from TFs' own transcripts), ``rewired_edges`` (another support with
        the same degrees), ``permuted_cells`` (each gene's values are shuffled over the cells before EM).
    max_negatives
        Training negatives, drawn evenly.
    max_trees
        Ceiling on the number of trees; validation picks it.
    """

    name = "regulon_loop"
    cost = "costly"
    needs_cells = True
    log_odds = True
    channels: ClassVar[tuple[str, ...]] = RegulonFactor.channels

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`RegulonLoop`."""

        rounds: int = 2
        reads: Reading = "factors"
        max_negatives: int = PairBooster.Config.max_negatives
        max_trees: int = PairBooster.Config.max_trees

        def __post_init__(self) -> None:
            require(self.rounds >= 0, f"rounds: got {self.rounds}; give 0 or more")
            for name in ("max_negatives", "max_trees"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")

    features: PairFeatures
    factor: RegulonFactor

    @classmethod
    def holds_degrees(cls) -> bool:
        """See :class:`EvidenceControl`; its trees read what ``boosting_all`` reads."""
        return BoostingAll.holds_degrees()

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Run the rounds; without two classes of training pairs, scores are 0."""
        cells = self.require(cells)
        self.features = PairFeatures(split, cells, BoostingAll.groups, seed=self.seed)
        self.table = self.features.table
        if self.config.reads == "permuted_cells":
            cells = cells.permuted_cells(self.seed)
        self.factor = RegulonFactor(RegulonFactor.Config(), seed=self.seed).fit(split, cells)
        self._model: Any = None
        known = self._read_entries(split)
        # Log-odds of the round before: of each fold by trees of the other folds, and of all pairs by all trees.
        by_fold: dict[int, np.ndarray] = {}
        full_SG: np.ndarray | None = None
        for last in [False] * self.config.rounds + [True]:
            self._full_FSG = self._read(self.table, full_SG)
            by_fold, self._train_FSG = self._round(known, by_fold, predict=not last)
            if self._model is None:
                break
            if not last:
                full_SG = self._predict(self._model, self.table, self._open(self.table), self._full_FSG)
        self._known, self._by_fold = known, by_fold
        return self

    def _read_entries(self, split: EdgeSplit) -> _Known:
        generator = np.random.default_rng([self.seed, 13])
        limit, table, folds = self.config.max_negatives, self.table, self.features.folds
        rows_M, columns_M, labels_M = training_entries(table, limit, generator)
        # A sample of negatives makes edges look common; probabilities are moved back.
        negatives = float(table.known_SG.sum() - table.labels_SG.sum())
        self._shift = float(np.log(max(int((~labels_M).sum()), 1) / max(negatives, 1.0)))
        held_out, validation = validation_pairs(split, limit // 4, generator), None
        if held_out is not None:
            pairs_2M, truth_M = held_out
            at_M, _ = table.rows(pairs_2M[0])
            validation = (at_M, pairs_2M[1], self.features.full(pairs_2M), truth_M)
        features_MF = self.features.out_of_fold(rows_M, columns_M)
        return _Known(rows_M, columns_M, labels_M, folds.fold_SG[rows_M, columns_M], features_MF, validation)

    def _round(
        self, known: _Known, before: Mapping[int, np.ndarray], *, predict: bool
    ) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """Channels out of fold, trees on them, and log-odds of each fold by trees of the others."""
        folds, train_FSG = self.features.folds, self._full_FSG.copy()
        for number, fold in enumerate(folds):
            mine_SG = folds.fold_SG == number
            train_FSG[:, mine_SG] = self._read(fold.table, before.get(number))[:, mine_SG]
        channels_MF = train_FSG[:, known.rows_M, known.columns_M].T
        features_MF = np.concatenate([known.features_MF, channels_MF], axis=1)
        everything_M = np.ones(len(known.labels_M), dtype=bool)
        self._model = self._trees(known, features_MF, everything_M)
        found: dict[int, np.ndarray] = {}
        if predict and self._model is not None:
            for number, fold in enumerate(folds):
                model = self._trees(known, features_MF, known.fold_M != number)
                found[number] = self._predict(model, fold.table, folds.fold_SG == number, train_FSG, fold)
        return found, train_FSG

    def _read(self, table: EdgeTable, logit_SG: np.ndarray | None) -> np.ndarray:
        """Channels ``[F, S, G]`` from the labels of ``table`` and from log-odds of pairs it doesn't know."""
        reads, factor = self.config.reads, self.factor
        if reads == "log_p":
            alone_SG = np.zeros(table.labels_SG.shape, np.float32) if logit_SG is None else logit_SG
            return np.repeat(alone_SG[None], len(self.channels), axis=0)
        if reads == "factors" and logit_SG is None:
            return factor.channel_scores(table, factor.option)
        weight_SG = table.labels_SG
        if reads == "no_edges":
            weight_SG = np.zeros_like(weight_SG)
        elif logit_SG is not None:
            soft_SG = expit(logit_SG + self._shift) * (logit_SG != 0)
            weight_SG = np.maximum(weight_SG, np.where(soft_SG > _LEAST, soft_SG, 0)).astype(np.float32)
        read_G = table.seen_G | (weight_SG > 0).any(axis=0)
        if reads == "rewired_edges":
            weight_SG = _rewired(weight_SG, table.sources_S, self.seed)
        return factor.channel_scores(table, factor.option, Support(table.sources_S, weight_SG, read_G))

    def _trees(self, known: _Known, features_MF: np.ndarray, used_M: np.ndarray) -> Any:
        """Trees on some training entries; None without two classes of them."""
        labels_M = known.labels_M[used_M]
        if not labels_M.any() or labels_M.all():
            return None
        held_out = None
        if known.validation is not None:
            rows_M, columns_M, given_MF, truth_M = known.validation
            held_out = (np.concatenate([given_MF, self._full_FSG[:, rows_M, columns_M].T], axis=1), truth_M)
        config = PairBooster.Config(max_negatives=self.config.max_negatives, max_trees=self.config.max_trees)
        return fit_trees(config, features_MF[used_M], labels_M, held_out, self.seed)

    def _open(self, table: EdgeTable) -> np.ndarray:
        """Pairs whose label is not known: where nothing is held out, all that are no training edge."""
        return table.labels_SG == 0 if table.held_out == "none" else ~table.known_SG

    def _predict(
        self, model: Any, table: EdgeTable, pairs_SG: np.ndarray, channels_FSG: np.ndarray, fold: Fold | None = None
    ) -> np.ndarray:
        """Log-odds ``[S, G]`` of some pairs, 0 for all others and for self-pairs."""
        logit_SG = np.zeros(pairs_SG.shape, dtype=np.float32)
        pairs_SG = pairs_SG.copy()
        pairs_SG[np.arange(len(table.sources_S)), table.sources_S] = False
        rows_M, columns_M = np.nonzero(pairs_SG)
        for start in range(0, len(rows_M) if model is not None else 0, _BLOCK):
            at = (rows_M[start : start + _BLOCK], columns_M[start : start + _BLOCK])
            features_MF = np.concatenate([self.features.entries(*at, fold), channels_FSG[:, at[0], at[1]].T], axis=1)
            logit_SG[at] = log_odds(model, features_MF)
        return logit_SG

    def evidence(self, folds: Folds, channel: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`~grn_cotrain.controls._table_control.EvidenceControl`; its own folds are those of the rounds."""
        if channel is not None:
            at = self.channels.index(channel)
            return self._train_FSG[at], self._full_FSG[at]
        del folds
        every_SG = np.ones(self.table.labels_SG.shape, dtype=bool)
        full_SG = self._predict(self._model, self.table, every_SG, self._full_FSG)
        by_fold, _ = self._round(self._known, self._by_fold, predict=True)
        made = iter(range(len(by_fold)))
        return assemble(
            self.features.folds, lambda fold: by_fold[next(made)][np.ix_(fold.rows_R, fold.columns_N)], full_SG
        ), full_SG

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Log-odds ``[M]``."""
        scores_M = np.zeros(pairs_2M.shape[1])
        if self._model is None:
            return scores_M
        rows_M, _ = self.table.rows(pairs_2M[0])
        for start in range(0, len(scores_M), _BLOCK):
            at = (rows_M[start : start + _BLOCK], pairs_2M[1, start : start + _BLOCK])
            features_MF = np.concatenate([self.features.entries(*at), self._full_FSG[:, at[0], at[1]].T], axis=1)
            scores_M[start : start + _BLOCK] = log_odds(self._model, features_MF)
        return scores_M

    def estimate_seconds(self, split: EdgeSplit, cells: CellStore | None) -> float | None:
        """Each round fits six sets of trees and predicts every pair once; measured on one core."""
        pairs = len(np.unique(split.train_2E[0])) * split.num_genes
        return (self.config.rounds + 1) * (4.0 + 1.2e-4 * pairs)


def _rewired(weight_SG: np.ndarray, sources_S: np.ndarray, seed: int) -> np.ndarray:
    """The same weights at other pairs: each TF keeps its weights, each gene its number of TFs."""
    rows_E, target_E = np.nonzero(weight_SG)
    source_E = sources_S[rows_E]
    kept_E = source_E != target_E
    pairs_2E = rewired(np.stack([source_E[kept_E], target_E[kept_E]]).astype(np.int64), seed)
    result_SG = np.zeros_like(weight_SG)
    result_SG[np.searchsorted(sources_S, pairs_2E[0]), pairs_2E[1]] = weight_SG[rows_E[kept_E], target_E[kept_E]]
    return result_SG
