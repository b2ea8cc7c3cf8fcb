"""Isotonic calibration: a probability for each level of a score, as often as validation pairs of that level are edges.

Dimension letters: M pairs, N levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from grn_cotrain.errors import UserError

__all__ = ["Isotonic"]


@dataclass(frozen=True)
class Isotonic:
    """Probabilities that rise with the score and have no other form (Zadrozny & Elkan 2002).

    Attributes
    ----------
    scores, probabilities
        Levels in rising order; between two levels, probabilities are interpolated, and beyond the ends they are
        constant.
    num_pairs, prevalence
        Pairs that it was fitted on and the share of positives that it holds for.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    num_pairs: int
    prevalence: float

    @classmethod
    def fit(cls, scores_M: np.ndarray, labels_M: np.ndarray, *, prevalence: float | None = None) -> Self:
        """Fit on validation scores; a constant score gives the prevalence.

        A level of few pairs is held back by one pseudo-pair at the prevalence, so that a single edge at the top of the
        list does not make a probability of 1.

        Parameters
        ----------
        scores_M, labels_M
            Scores of validation pairs, and whether each is an edge.
        prevalence
            Share of positives among the pairs that these were sampled from, where negatives were left out: the
            negatives then weigh more. Default: the share among the given pairs.

        Raises
        ------
        UserError
            A score is not finite, or a class is missing.
        """
        from sklearn.isotonic import IsotonicRegression

        scores_M, labels_M = np.asarray(scores_M, dtype=np.float64), np.asarray(labels_M, dtype=bool)
        if not np.isfinite(scores_M).all():
            raise UserError(f"scores: {(~np.isfinite(scores_M)).sum()} are not finite; give finite scores")
        if labels_M.all() or not labels_M.any():
            raise UserError("labels: validation holds one class only; give positives and negatives")
        share = float(labels_M.mean()) if prevalence is None else prevalence
        negative = labels_M.sum() * (1 - share) / share / (~labels_M).sum()
        weight_M = np.where(labels_M, 1.0, negative)
        level_M = (
            IsotonicRegression().fit(scores_M, labels_M.astype(np.float64), sample_weight=weight_M).predict(scores_M)
        )
        level_N, index_M = np.unique(level_M, return_inverse=True)
        weight_N = np.bincount(index_M, weight_M)
        held_N = (level_N * weight_N + share) / (weight_N + 1)
        held_N = (
            IsotonicRegression()
            .fit(np.arange(len(level_N)), held_N, sample_weight=weight_N + 1)
            .predict(np.arange(len(level_N)))
        )
        low_N = np.full(len(level_N), np.inf)
        high_N = np.full(len(level_N), -np.inf)
        np.minimum.at(low_N, index_M, scores_M)
        np.maximum.at(high_N, index_M, scores_M)
        # Both ends of a level, so that all of it has its probability.
        ends, values = np.stack([low_N, high_N], 1).ravel(), np.repeat(held_N, 2)
        kept = np.append(True, ends[1:] > ends[:-1])
        return cls(tuple(ends[kept].tolist()), tuple(values[kept].tolist()), len(labels_M), share)

    def probability(self, scores_M: np.ndarray) -> np.ndarray:
        """Probabilities ``[M]``, float64 in [0, 1]."""
        return np.interp(np.asarray(scores_M, dtype=np.float64), self.scores, self.probabilities)

    @classmethod
    def read(cls, loaded: Any, what: str) -> Self:
        """Read the keys of a JSON object; anything else is an error that begins with ``what``."""
        try:
            found = cls(
                _numbers(loaded["scores"]),
                _numbers(loaded["probabilities"]),
                int(loaded["num_pairs"]),
                float(loaded["prevalence"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"{what}: keys are missing or not numbers; train the run again") from None
        rises = all(np.diff(values).min(initial=0) >= 0 for values in (found.scores, found.probabilities))
        sound = found.scores and len(found.scores) == len(found.probabilities) and rises
        if not sound or found.probabilities[0] < 0 or found.probabilities[-1] > 1:
            raise UserError(f"{what}: levels do not rise from 0 to 1; train the run again")
        return found


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in found):
        raise ValueError("not finite")
    return found
