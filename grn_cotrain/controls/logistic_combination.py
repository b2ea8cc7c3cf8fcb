"""Logistic regression on the closed-form evidence and the gene marginals: a linear peer of the boosters.

Dimension letters: M pairs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._boosting import training_entries
from grn_cotrain.controls.base import CONTROLS, Control
from grn_cotrain.controls.pair_features import PairFeatures
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.store import CellStore
from grn_cotrain.errors import UserError

__all__ = ["LogisticCombination"]

_BLOCK = 500_000


@CONTROLS.register("logistic_combination", paper="-")
class LogisticCombination(Control):
    """L2 logistic regression on kernel ridge, the kNN scores, and each gene's own mean, deviation and TF flag.

    Scores enter out of fold, as ranks of the training entries (their tails are too heavy for a linear model).

    Config
    ------
    C
        Inverse strength of the penalty on the standardised features.
    max_negatives
        Training negatives, drawn evenly.
    """

    name = "logistic_combination"
    needs_cells = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`LogisticCombination`."""

        C: float = 1.0
        max_negatives: int = 100_000

        def __post_init__(self) -> None:
            for name in ("C", "max_negatives"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")

    features: PairFeatures
    model: Any

    def fit(self, split: EdgeSplit, cells: CellStore | None) -> Self:
        """Fit the weights; without two classes of training pairs, scores are 0."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import QuantileTransformer

        if cells is None:
            raise UserError(f"control '{self.name}': no cells; give cells, or leave it out of --controls")
        generator = np.random.default_rng([self.seed, 14])
        self.features = PairFeatures(split, cells, ("gene", "evidence"), seed=self.seed)
        rows_M, columns_M, labels_M = training_entries(self.features.table, self.config.max_negatives, generator)
        self.model = None
        if labels_M.any() and not labels_M.all():
            ranks = QuantileTransformer(
                n_quantiles=min(1000, len(labels_M)), output_distribution="normal", random_state=self.seed
            )
            self.model = make_pipeline(ranks, LogisticRegression(C=self.config.C, max_iter=1000))
            self.model.fit(self.features.out_of_fold(rows_M, columns_M), labels_M)
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        """Log-odds ``[M]``."""
        scores_M = np.zeros(pairs_2M.shape[1])
        if self.model is None:
            return scores_M
        for start in range(0, pairs_2M.shape[1], _BLOCK):
            block_2M = pairs_2M[:, start : start + _BLOCK]
            scores_M[start : start + _BLOCK] = self.model.decision_function(self.features.full(block_2M))
        return scores_M
