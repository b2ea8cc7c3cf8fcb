"""Mixtures, exceedances and activities behind networks of groups."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.export.acting import BetaUniform, acting, exceedance, regulon_activity


def test_uniform_shares_say_nothing() -> None:
    values = np.random.default_rng(0).uniform(size=4000)
    found = BetaUniform.fit(values, np.arange(4000))
    np.testing.assert_allclose(found.ratio(np.array([0.01, 0.5])), 1.0, atol=0.15)
    assert BetaUniform.fit(values[:10], np.arange(10)) == BetaUniform(), "ten values are too few"


def test_the_mixture_is_recovered() -> None:
    rng = np.random.default_rng(0)
    few = rng.uniform(size=3000) < 0.4
    values = np.where(few, rng.uniform(size=3000) ** (1 / 0.2), rng.uniform(size=3000))
    found = BetaUniform.fit(np.maximum(values, 1e-6), np.arange(3000))
    assert found.share == pytest.approx(0.4, abs=0.08)
    assert found.shape == pytest.approx(0.2, abs=0.05)


def test_an_excess_of_one_tf_alone_is_not_kept() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.uniform(size=400), rng.uniform(0, 0.002, size=40)])
    unit = np.concatenate([np.repeat(np.arange(40), 10), np.full(40, 41)])
    spread = np.concatenate([np.arange(40) % 40, rng.integers(0, 40, 400)])
    one = BetaUniform.fit(values, unit)
    assert one.ratio(np.array([0.001]))[0] <= BetaUniform.fit(values, spread).ratio(np.array([0.001]))[0]


def test_exceedance_counts_and_is_never_zero() -> None:
    found = exceedance(np.array([5.0, 0.0, 2.0, np.nan]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found[:3], [1 / 4, 1.0, 3 / 4])
    assert np.isnan(found[3])


def test_acting_multiplies_odds_and_needs_detection() -> None:
    pairs, tfs = BetaUniform(0.5, 0.5), BetaUniform(0.3, 0.25)
    found = acting(
        pairs, np.array([0.01, np.nan, 0.01]), tfs, np.array([0.5, np.nan, 0.5]), np.array([True, True, False])
    )
    odds = 0.5 * 0.01**-0.5 * 0.25 * 0.5**-0.75
    np.testing.assert_allclose(found, [odds / (1 + odds), 0.5, 0.0])


def test_activity_is_the_t_of_a_regression() -> None:
    from scipy.stats import linregress

    rng = np.random.default_rng(0)
    shift = rng.normal(size=50)
    shift[7] = np.nan
    pairs = np.array([[0] * 8 + [1] * 3, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])
    sign = np.array([1, -1, 0, 1, -1, 1, 1, 1, 1, 1, 1])
    weights = np.zeros(50)
    weights[pairs[1, :8]] = np.where(sign[:8] < 0, -1, 1)
    used = ~np.isnan(shift)
    fit = linregress(weights[used], shift[used])
    found = regulon_activity(shift, pairs, sign, np.array([0, 1]))
    assert found[0] == pytest.approx(fit.slope / fit.stderr, rel=1e-6)
    assert np.isnan(found[1]), "three targets are too few"
