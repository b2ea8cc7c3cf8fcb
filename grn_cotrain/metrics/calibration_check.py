r"""Whether a calibration holds on validation pairs that it was not fitted on.

Folds hold out whole genes, the genes that training held out, since pairs of one gene are alike: each fold's
probabilities come from a calibration of the other folds. In bins :math:`b` that expect equally many edges, the share
that is promised must be in the interval of the share that is seen,

.. math::

    \bar y_b \pm t_{1 - 0.05 / 2B,\, U - 1} \sqrt{V_b} / \textstyle\sum_m w_m, \qquad
    V_b = \max\Big(\tfrac{U}{U - 1} \sum_u (r_{ub} - \bar r_b)^2,\; \sum_m w_m p_m (1 - p_m)\Big),

where :math:`r_{ub}` is the number of edges of gene :math:`u` in the bin minus the number that is promised, and
:math:`w` undoes the sampling of negatives. :math:`V` is the larger of the variance between genes (Liang & Zeger 1986)
and that of independent pairs; all :math:`B` bins together fail by chance in about 5 % (Bonferroni).

Dimension letters: M pairs, U genes, B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from grn_cotrain.errors import UserError
from grn_cotrain.metrics.isotonic import Isotonic

__all__ = ["CalibrationCheck", "check_calibration", "check_diagonal"]

_FOLDS = 5
_BINS = 10
_EXPECTED = 5.0  # edges that a bin promises at least: shares of fewer are noise
_LEVEL = 0.05


@dataclass(frozen=True)
class CalibrationCheck:
    """The bin of a calibration that is furthest from the diagonal, in units of its interval.

    Attributes
    ----------
    num_bins, num_failed
        Bins, and those whose promised share is outside the interval of the share that is seen.
    promised, seen, low, high
        Mean probability, share of edges, and the interval of this share, in the bin that is furthest.
    """

    num_bins: int
    num_failed: int
    promised: float
    seen: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether every bin is on the diagonal within its interval."""
        return self.num_failed == 0

    def line(self, kind: str) -> str:
        """Why probabilities of a kind of pair are withheld, in a sentence."""
        return (
            f"probabilities of pairs of kind '{kind}' are withheld: on validation pairs that the calibration was not"
            f" fitted on, {self.promised:.2g} is promised where {self.seen:.2g} [{self.low:.2g}, {self.high:.2g}] is"
            f" seen ({self.num_failed} of {self.num_bins} bins are outside their intervals)"
        )

    @classmethod
    def read(cls, loaded: Any, what: str) -> Self:
        """Read the keys of a JSON object; anything else is an error that begins with ``what``."""
        try:
            counts = int(loaded["num_bins"]), int(loaded["num_failed"])
            found = cls(*counts, *(float(loaded[key]) for key in ("promised", "seen", "low", "high")))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"{what}: its check cannot be read; train the run again") from None
        return found


def check_calibration(
    scores_M: np.ndarray, labels_M: np.ndarray, unit_M: np.ndarray, *, prevalence: float, sampled: float = 1.0
) -> CalibrationCheck | None:
    """Cross-fit an isotonic calibration and compare what it promises with what is seen.

    Parameters
    ----------
    scores_M, labels_M
        Validation pairs of one kind.
    unit_M
        Gene of each pair that folds hold out as a whole.
    prevalence
        Share of edges that the probabilities are for, as in :meth:`~grn_cotrain.metrics.isotonic.Isotonic.fit`.
    sampled
        Share of the negatives that are among the pairs.

    Returns
    -------
    CalibrationCheck or None
        None if there is too little to check: fewer than two bins of five edges, or a fold without edges.
    """
    labels_M = np.asarray(labels_M, dtype=bool)
    probability_M = _cross_fitted(np.asarray(scores_M, dtype=np.float64), labels_M, unit_M, prevalence)
    if probability_M is None or labels_M.sum() < 2 * _EXPECTED:
        return None
    return check_diagonal(probability_M, labels_M, unit_M, sampled=sampled)


def check_diagonal(
    probability_M: np.ndarray, labels_M: np.ndarray, unit_M: np.ndarray, *, sampled: float = 1.0
) -> CalibrationCheck:
    """Compare probabilities with labels that they were not fitted on; see :func:`check_calibration`."""
    weight_M = np.where(labels_M, 1.0, 1 / sampled)
    bin_M = _bins(probability_M, weight_M)
    unit_M = np.unique(unit_M, return_inverse=True)[1]
    units, bins = int(unit_M.max()) + 1, int(bin_M.max()) + 1
    residual_UB = np.bincount(
        unit_M * bins + bin_M, weight_M * (labels_M - probability_M), minlength=units * bins
    ).reshape(units, bins)
    between_B = np.square(residual_UB - residual_UB.mean(axis=0)).sum(axis=0) * units / (units - 1)
    alone_B = np.bincount(bin_M, weight_M * probability_M * (1 - probability_M), minlength=bins)
    number_B = np.bincount(bin_M, weight_M, minlength=bins)
    promised_B = np.bincount(bin_M, weight_M * probability_M, minlength=bins) / number_B
    seen_B = np.bincount(bin_M, weight_M * labels_M, minlength=bins) / number_B
    half_B = _critical(bins, units) * np.sqrt(np.maximum(between_B, alone_B)) / number_B
    ratio_B = np.abs(promised_B - seen_B) / np.maximum(half_B, 1e-300)
    worst = int(ratio_B.argmax())
    ends = max(0.0, seen_B[worst] - half_B[worst]), min(1.0, seen_B[worst] + half_B[worst])
    return CalibrationCheck(bins, int((ratio_B > 1).sum()), *map(float, (promised_B[worst], seen_B[worst], *ends)))


def _cross_fitted(
    scores_M: np.ndarray, labels_M: np.ndarray, unit_M: np.ndarray, prevalence: float
) -> np.ndarray | None:
    units_U, place_M = np.unique(unit_M, return_inverse=True)
    if len(units_U) < _FOLDS:
        return None
    fold_M = np.random.default_rng(0).permutation(np.arange(len(units_U)) % _FOLDS)[place_M]
    found_M = np.empty(len(scores_M))
    for fold in range(_FOLDS):
        fitted_M = fold_M != fold
        if labels_M[fitted_M].all() or not labels_M[fitted_M].any():
            return None
        calibration = Isotonic.fit(scores_M[fitted_M], labels_M[fitted_M], prevalence=prevalence)
        found_M[~fitted_M] = calibration.probability(scores_M[~fitted_M])
    return found_M


def _bins(probability_M: np.ndarray, weight_M: np.ndarray) -> np.ndarray:
    """Position of each pair's bin; bins promise equally many edges, and equal probabilities share a bin."""
    order_M = np.argsort(probability_M, kind="stable")
    promised_M = np.cumsum((probability_M * weight_M)[order_M])
    bins = int(np.clip(promised_M[-1] // _EXPECTED, 1, _BINS))
    ends = np.searchsorted(promised_M, np.arange(1, bins) / bins * promised_M[-1])
    edges = np.unique(probability_M[order_M][np.minimum(ends, len(order_M) - 1)])
    return np.unique(np.searchsorted(edges, probability_M, side="right"), return_inverse=True)[1]


def _critical(bins: int, units: int) -> float:
    from scipy.stats import t

    return float(t.ppf(1 - _LEVEL / (2 * bins), units - 1)) if units > 1 else math.inf
