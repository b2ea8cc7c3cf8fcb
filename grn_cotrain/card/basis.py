"""Flexible features of a gene's degree and mean expression, for strong baselines.

An embedding of 64 dimensions can hold any curve of a degree. A baseline of one straight line would lose to it and make
degree look like biology, so each number enters as a piecewise linear curve with knots at its quantiles.

Dimension letters: G genes, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["curve", "curves", "standardised"]

_NUM_KNOTS = 8


def standardised(values_GF: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1; constant columns become 0."""
    values_GF = np.asarray(values_GF, dtype=np.float64)
    centred_GF = values_GF - values_GF.mean(axis=0)
    spread_F = centred_GF.std(axis=0)
    return np.divide(centred_GF, spread_F, out=np.zeros_like(centred_GF), where=spread_F > 1e-12)


def curve(values_G: np.ndarray) -> np.ndarray:
    """Piecewise linear features ``[G, F]``: the value, a flag for the least value, hinges at distinct quantiles."""
    values_G = np.asarray(values_G, dtype=np.float64)
    above_G = values_G[values_G > values_G.min(initial=np.inf)]
    columns = [values_G, values_G == values_G.min(initial=np.inf)]
    if above_G.size:
        knots = np.unique(np.quantile(above_G, np.arange(1, _NUM_KNOTS + 1) / (_NUM_KNOTS + 1)))
        columns += [np.maximum(values_G - knot, 0) for knot in knots]
    return standardised(np.stack([column.astype(np.float64) for column in columns], axis=1))


def curves(*numbers: Sequence[float] | np.ndarray) -> np.ndarray:
    """Curves of several numbers side by side, and the products of any two of them."""
    values = [np.asarray(number, dtype=np.float64) for number in numbers]
    scaled_GF = standardised(np.stack(values, axis=1))
    products = [scaled_GF[:, i] * scaled_GF[:, j] for i in range(len(values)) for j in range(i)]
    parts = [curve(value) for value in values]
    return np.concatenate(parts + ([standardised(np.stack(products, axis=1))] if products else []), axis=1)
