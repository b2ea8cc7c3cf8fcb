"""Platt scaling: from scores to probabilities, by one logistic regression on validation scores.

Dimension letters: M pairs.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import expit

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json

__all__ = ["PLATT_FILE", "Platt"]

PLATT_FILE = "platt.json"
"""Its name in a model folder."""

_WEAK_PENALTY = 1e4


@dataclass(frozen=True)
class Platt:
    """``probability = sigmoid(slope * score + offset)`` (Platt 1999), for the prevalence of the pairs it was fitted on.

    Attributes
    ----------
    slope, offset
        Of the scores as given. A negative slope says that validation ranked negatives higher; it is kept, not hidden.
    num_pairs, prevalence
        Pairs that it was fitted on and their share of positives.
    """

    slope: float
    offset: float
    num_pairs: int
    prevalence: float

    @classmethod
    def fit(cls, scores_M: np.ndarray, labels_M: np.ndarray) -> Self:
        """Fit on validation scores; a constant score gives the prevalence.

        Raises
        ------
        UserError
            A score is not finite, or a class is missing.
        """
        from sklearn.linear_model import LogisticRegression

        scores_M, labels_M = np.asarray(scores_M, dtype=np.float64), np.asarray(labels_M, dtype=bool)
        if not np.isfinite(scores_M).all():
            raise UserError(f"scores: {(~np.isfinite(scores_M)).sum()} are not finite; give finite scores")
        if labels_M.all() or not labels_M.any():
            raise UserError("labels: validation holds one class only; give positives and negatives")
        # Standardised, so that the weak penalty, which only bounds separable data, does not depend on the scores' unit.
        centre, spread = float(scores_M.mean()), float(scores_M.std()) or 1.0
        standard_M = (scores_M - centre) / spread
        model = LogisticRegression(C=_WEAK_PENALTY, max_iter=1000).fit(standard_M[:, None], labels_M)
        slope = float(model.coef_[0, 0]) / spread
        offset = float(model.intercept_[0]) - slope * centre
        return cls(slope, offset, len(labels_M), float(labels_M.mean()))

    def probability(self, scores_M: np.ndarray) -> np.ndarray:
        """Probabilities ``[M]``, float64 in [0, 1]."""
        return expit(self.slope * np.asarray(scores_M, dtype=np.float64) + self.offset)

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; a file that is none is an error in one line."""
        loaded = read_json(path, what="Platt scaling", shape={})
        try:
            platt = cls(
                float(loaded["slope"]), float(loaded["offset"]), int(loaded["num_pairs"]), float(loaded["prevalence"])
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"Platt scaling '{path}': keys are missing or no numbers; fit it anew") from None
        if not (math.isfinite(platt.slope) and math.isfinite(platt.offset)):
            raise UserError(f"Platt scaling '{path}': slope or offset is not finite; fit it anew")
        return platt
