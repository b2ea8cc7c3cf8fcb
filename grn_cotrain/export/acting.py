r"""The probability that an edge acts in some cells, from co-expression in these cells and the activity of its TF.

For an edge :math:`t \to g` and a group of cells :math:`c`,

.. math::

    P(t \to g \mid c) = P(t \to g) \, q_{tgc}, \qquad
    \frac{q}{1 - q} = \frac{\pi_c}{1 - \pi_c}\, L_c(u_{tgc})\, A_c(v_{tc}),

and :math:`q = 0` where a gene is not detected in the group.

- :math:`u`: share of rewired training edges (all degrees kept) whose absolute partial correlation in these cells, given
  the cells' depth, is at least that of the pair. It is uniform where edges are like rewired ones.
- :math:`v`: share of rewired regulons whose activity in these cells, against all other cells, is at least that of the
  TF. The activity is the t statistic of a univariate linear model of the genes' shifts on the regulon's signs.
- :math:`L(u) = a u^{a - 1}` and :math:`\pi_c`: maximum likelihood of the beta-uniform mixture
  :math:`(1 - \pi) + \pi a u^{a - 1}` (Pounds & Morris 2003) on the training edges of this group. Where the mixture is
  no better than the uniform distribution on TFs that it was not fitted on, :math:`a = 1`: there is no evidence,
  and all edges keep their order. :math:`A_c` is fitted in the same way on TFs.

The two ratios are multiplied as if they were independent, and :math:`\pi` stays within 0.05 to 0.95.

Dimension letters: E edges, M pairs, G genes, T TFs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

__all__ = ["BetaUniform", "acting", "exceedance", "regulon_activity"]

_SHARES = (0.05, 0.95)
_FOLDS = 5
_LEAST = 20  # values that a mixture is fitted on; with fewer there is no evidence


@dataclass(frozen=True)
class BetaUniform:
    """Beta-uniform mixture of shares in (0, 1] (Pounds & Morris 2003, Bioinformatics 19, 1236).

    Attributes
    ----------
    share
        Share of values that are not uniform, 0.05 to 0.95.
    shape
        Exponent in (0, 1]; at 1 a value is not evidence.
    """

    share: float = 0.5
    shape: float = 1.0

    @classmethod
    def fit(cls, value_M: np.ndarray, unit_M: np.ndarray) -> BetaUniform:
        """Maximum likelihood, kept if it is better than the uniform distribution on units that it was not fitted on.

        Parameters
        ----------
        value_M
            Shares; fewer than 20 give no evidence.
        unit_M
            Gene index of the TF of each value: folds hold out whole TFs, since edges of a TF are alike.
        """
        if len(value_M) < _LEAST:
            return cls()
        fold_M = unit_M % _FOLDS
        gain = sum(
            cls._likeliest(value_M[fold_M != fold])._gain(value_M[fold_M == fold])
            for fold in range(_FOLDS)
            if 0 < (fold_M == fold).sum() < len(value_M)
        )
        return cls._likeliest(value_M) if gain > 0 else cls()

    @classmethod
    def _likeliest(cls, value_M: np.ndarray) -> BetaUniform:
        starts = [(share, shape) for share in (0.2, 0.5, 0.8) for shape in (0.3, 0.6, 0.9)]
        found = [
            minimize(lambda x: -cls(*x)._gain(value_M), start, bounds=(_SHARES, (0.02, 1.0)), method="L-BFGS-B")
            for start in starts
        ]
        best = min(found, key=lambda one: float(one.fun))
        return cls(float(best.x[0]), float(best.x[1]))

    def _gain(self, value_M: np.ndarray) -> float:
        """Log-likelihood; that of the uniform distribution is 0."""
        return float(np.log(1 - self.share + self.share * self.ratio(value_M)).sum())

    def ratio(self, value_M: np.ndarray) -> np.ndarray:
        """Likelihood ratio ``[M]`` of a value that is not uniform against one that is; 1 for NaN."""
        found_M = self.shape * np.exp((self.shape - 1) * np.log(value_M))
        return np.where(np.isnan(value_M), 1.0, found_M)


def exceedance(value_M: np.ndarray, null_E: np.ndarray) -> np.ndarray:
    """Share of ``null_E``, with the value itself added, that is at least each value: float64 ``[M]`` in (0, 1]."""
    ordered = np.sort(null_E)
    above_M = ordered.size - np.searchsorted(ordered, value_M, "left")
    return np.where(np.isnan(value_M), np.nan, (above_M + 1) / (ordered.size + 1))


def acting(
    pairs: BetaUniform, u_M: np.ndarray, tfs: BetaUniform, v_M: np.ndarray, detected_M: np.ndarray
) -> np.ndarray:
    """``q`` of each pair, float64 ``[M]``.

    Parameters
    ----------
    pairs, u_M
        Mixture of the training edges of these cells, and each pair's share; NaN where the cells do not measure a gene.
    tfs, v_M
        Mixture of the TFs, and the share of each pair's TF; NaN where it has too few targets.
    detected_M
        Whether both genes are detected (or not measured) in these cells.
    """
    odds_M = pairs.share / (1 - pairs.share) * pairs.ratio(u_M) * tfs.ratio(v_M)
    return np.where(detected_M, odds_M / (1 + odds_M), 0.0)


def regulon_activity(
    shift_G: np.ndarray, pairs_2E: np.ndarray, sign_E: np.ndarray, sources_T: np.ndarray, *, least: int = 5
) -> np.ndarray:
    """Activity of each TF: t statistic of the slope of the genes' shifts on the TF's signs, 0 for other genes.

    This is ``ulm`` of decoupler (Badia-i-Mompel et al. 2022) for one profile.

    Parameters
    ----------
    shift_G
        Shift of each gene; NaN for genes that do not count.
    pairs_2E, sign_E
        Edges, and their signs; 0 counts as activating.
    sources_T
        Sorted sources; those with fewer than ``least`` targets that count have NaN.

    Returns
    -------
    float64 ``[T]``.
    """
    counts_E = ~np.isnan(shift_G[pairs_2E[1]])
    source_E, target_E = pairs_2E[:, counts_E]
    sign_E = np.where(sign_E[counts_E] < 0, -1.0, 1.0)
    place_E, size = np.searchsorted(sources_T, source_E), len(sources_T)
    used = shift_G[~np.isnan(shift_G)]
    number = used.size
    centred_E, spread = shift_G[target_E] - (used.mean() if number else 0.0), float(used.std()) if number else 0.0
    count_T = np.bincount(place_E, minlength=size).astype(np.float64)
    weight_T = np.bincount(place_E, sign_E, minlength=size)
    product_T = np.bincount(place_E, sign_E * centred_E, minlength=size) / max(number, 1)
    deviation_T = np.sqrt(np.maximum(count_T / max(number, 1) - (weight_T / max(number, 1)) ** 2, 1e-12)) * spread
    r_T = np.clip(product_T / np.maximum(deviation_T, 1e-12), -0.999999, 0.999999)
    t_T = r_T * np.sqrt(max(number - 2, 1) / (1 - r_T**2))
    return np.where((count_T >= least) & (spread > 0), t_T, np.nan)
