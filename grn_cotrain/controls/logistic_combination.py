"""Logistic regression on the closed-form evidence and the gene marginals: a linear peer of the boosters.

Dimension letters: M pairs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from grn_cotrain.config import require
from grn_cotrain.controls._boosting import PairModel
from grn_cotrain.controls.base import CONTROLS

__all__ = ["LogisticCombination"]


@CONTROLS.register("logistic_combination", paper="-")
class LogisticCombination(PairModel):
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
    version = 2
    groups = ("gene", "evidence")
    stream = 14

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`LogisticCombination`."""

        C: float = 1.0
        max_negatives: int = 100_000

        def __post_init__(self) -> None:
            for name in ("C", "max_negatives"):
                require(getattr(self, name) > 0, f"{name}: got {getattr(self, name)}; give a positive number")

    def fitted(self, features_MF: np.ndarray, labels_M: np.ndarray, fold_M: np.ndarray) -> Any:
        """See :class:`~grn_cotrain.controls._boosting.PairModel`."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import QuantileTransformer

        del fold_M
        ranks = QuantileTransformer(
            n_quantiles=min(1000, len(labels_M)), output_distribution="normal", random_state=self.seed
        )
        return make_pipeline(ranks, LogisticRegression(C=self.config.C, max_iter=1000)).fit(features_MF, labels_M)
