"""Boosted regression of every target on the TFs' expression, in the manner of GRNBoost2 (own implementation).

Dimension letters: C cells, G genes, S sources, M pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore

__all__ = ["GRNBoost2"]


@CONTROLS.register("grnboost2", paper="Moerman et al. 2019, 10.1093/bioinformatics/bty916 (own implementation)")
class GRNBoost2(Control):
    """Importance of the TF in stochastic gradient boosting of the target's expression; no edge is read.

    The settings of GRNBoost2: trees of depth 3 on a tenth of the TFs and nine tenths of the cells each, learning rate
    0.01, stopped when the mean gain in out-of-bag loss over the last 25 trees is not positive; importances are
    multiplied by the number of trees. Targets are regressed when first scored, from a seed of their own, since a
    whole transcriptome takes hours: the default of ``max_trees`` is a tenth of GRNBoost2's ceiling of 5,000.

    Config
    ------
    max_trees, learning_rate, window
        Ceiling on the number of trees; shrinkage; trees over which the gain is averaged.
    """

    name = "grnboost2"
    cost = "costly"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`GRNBoost2`."""

        max_trees: int = 500
        learning_rate: float = 0.01
        window: int = 25

        def __post_init__(self) -> None:
            for name in ("max_trees", "learning_rate", "window"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")

    sources_S: np.ndarray
    profiles_CS: np.ndarray
    importance: dict[int, np.ndarray]

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Keep the expression of the split's TFs."""
        cells = self.require(cells)
        self.sources_S = np.unique(
            np.concatenate([split.train_sources_S, split.validation_sources_S, split.test_sources_S])
        )
        self._columns = cells.normalised().tocsc()
        self.profiles_CS = self._columns[:, self.sources_S].toarray()
        self.importance = {}
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Importances ``[M]``; 0 for sources outside the split."""
        scores_M = np.zeros(pairs_2M.shape[1])
        position_G = np.full(self._columns.shape[1], -1)
        position_G[self.sources_S] = np.arange(len(self.sources_S))
        row_M = position_G[pairs_2M[0]]
        order_M = np.argsort(pairs_2M[1], kind="stable")
        targets, first = np.unique(pairs_2M[1][order_M], return_index=True)
        for target, mine in zip(targets.tolist(), np.split(order_M, first[1:]), strict=True):
            if target not in self.importance:
                self.importance[target] = self._regress(target)
            scores_M[mine] = np.where(row_M[mine] >= 0, self.importance[target][row_M[mine]], 0)
        return scores_M

    def _regress(self, target: int) -> np.ndarray:
        """Importances of all TFs for one target, ``[S]``; a TF does not explain itself."""
        from sklearn.ensemble import GradientBoostingRegressor

        importance_S = np.zeros(len(self.sources_S))
        others_S = np.flatnonzero(self.sources_S != target)
        expression_C = self._columns[:, [target]].toarray().ravel()
        if expression_C.std() == 0 or len(others_S) == 0:
            return importance_S
        window = self.config.window

        def stop(iteration: int, model: GradientBoostingRegressor, _: object) -> bool:
            return iteration >= window and float(np.mean(model.oob_improvement_[iteration - window : iteration])) <= 0

        model = GradientBoostingRegressor(
            n_estimators=self.config.max_trees,
            learning_rate=self.config.learning_rate,
            max_depth=3,
            max_features=0.1 if len(others_S) >= 10 else None,
            subsample=0.9,
            random_state=int(np.random.SeedSequence([self.seed, target]).generate_state(1)[0]),
        ).fit(self.profiles_CS[:, others_S], expression_C, monitor=stop)
        importance_S[others_S] = model.feature_importances_ * model.n_estimators_
        return importance_S
