"""Draws, intervals, folds, and what "A beats B" means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import Bootstrap, Sample, SeedResult, beats, cell_draws, difference, interval
from grn_cotrain.evaluate.measure import Universe, measure


def sample(values: list[float], *, over_units: bool = False, weight: float = 1.0) -> Sample:
    numerator = np.array(values) * weight
    return Sample(numerator, np.full(len(values), weight), over_units, int(weight), 10, 0.1)


def test_draws_are_multinomial_and_depend_on_units_and_seed_only() -> None:
    bootstrap = Bootstrap(np.array([9, 4, 4, 7]), np.array([1, 2]), replicates=200, seed=5)
    assert bootstrap.sources_S.tolist() == [4, 7, 9]
    assert (bootstrap.source_weight_SC[:, 0] == 1).all()
    assert (bootstrap.source_weight_SC.sum(axis=0) == 3).all()
    assert bootstrap.target_weight_NC is not None
    assert (bootstrap.target_weight_NC.sum(axis=0) == 2).all()
    assert bootstrap.source_weight_SC[:, 1:].mean() == pytest.approx(1)
    again = Bootstrap(np.array([4, 7, 9]), np.array([2, 1]), replicates=200, seed=5)
    assert again.key == bootstrap.key
    assert (again.source_weight_SC == bootstrap.source_weight_SC).all()
    for other in (
        Bootstrap(np.array([4, 7, 9]), None, replicates=200, seed=5),
        Bootstrap(np.array([4, 7, 9]), np.array([1, 2]), replicates=200, seed=6),
        Bootstrap(np.array([4, 7, 8]), np.array([1, 2]), replicates=200, seed=5),
        Bootstrap(np.array([4, 7, 9]), np.array([1, 2]), replicates=199, seed=5),
    ):
        assert other.key != bootstrap.key


def test_draws_of_cells_are_those_of_earlier_versions() -> None:
    """Recorded intervals were made with these numbers."""
    assert cell_draws(6, 3, seed=4).tolist() == [[1, 1, 0, 2, 2, 0], [1, 0, 1, 3, 0, 1], [0, 1, 1, 0, 2, 2]]
    for num_cells, replicates, seed in ((1, 2, 0), (7, 4, 3)):
        shares = np.full(num_cells, 1 / num_cells)
        expected = np.random.default_rng((seed, 2)).multinomial(num_cells, shares, replicates)
        np.testing.assert_array_equal(cell_draws(num_cells, replicates, seed), expected)
    assert cell_draws(5, 0, seed=0).shape == (0, 5)


def test_negative_replicates_are_refused() -> None:
    with pytest.raises(UserError, match="bootstrap: got -1"):
        Bootstrap(np.arange(3), replicates=-1)


def test_interval_of_replicates() -> None:
    replicates = np.append(np.linspace(0, 1, 1001), [np.nan] * 10)
    assert interval(0.5, replicates) == (0.5, pytest.approx(0.025), pytest.approx(0.975))
    mostly_undefined = np.append(np.linspace(0, 1, 100), [np.nan] * 200)
    assert math.isnan(interval(0.5, mostly_undefined).low)
    assert math.isnan(interval(0.5, np.zeros(0)).high)


def test_macro_interval_covers() -> None:
    """In repeated experiments on fresh TFs the 95 % interval holds the true mean in about 95 % of them."""
    rng = np.random.default_rng(0)
    num_tfs, num_targets, held = 40, 30, 0
    experiments = 120
    # Each TF has its own signal, so TFs, not pairs, carry the spread. The truth comes from very many TFs.
    signal = rng.normal(0.8, 0.6, 4000)
    from scipy.stats import norm

    truth = norm.cdf(signal / math.sqrt(2)).mean()
    for number in range(experiments):
        drawn = np.random.default_rng([1, number])
        strength = drawn.normal(0.8, 0.6, num_tfs)
        sources, targets = np.repeat(np.arange(num_tfs), num_targets), np.tile(np.arange(num_targets), num_tfs)
        labels = targets < 10
        scores = drawn.normal(size=len(sources)) + labels * strength[sources]
        u = Universe(sources, targets, labels, np.zeros(len(sources), dtype=int))
        _, low, high = measure(u, scores, Bootstrap(sources, replicates=200, seed=number))["macro_auroc"].interval()
        held += low <= truth <= high
    assert 0.87 <= held / experiments <= 1.0
    assert held < experiments  # an interval that always covers is too wide to be one


def test_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=501)
    a, b = sample(list(0.8 + shared)), sample(list(0.7 + shared + rng.normal(size=501) * 0.01))
    b.numerator_C[0], a.numerator_C[0] = 0.7, 0.8
    value, low, high = difference(a, b)
    assert value == pytest.approx(0.1)
    assert 0 < low < high < 0.15
    assert a.interval().high - a.interval().low > 1


def test_folds_are_pooled_over_units_and_averaged_over_lists() -> None:
    few, many = [0.2, 0.3], [0.8, 0.9]
    pooled = Sample.combine([sample(few, over_units=True, weight=1), sample(many, over_units=True, weight=3)])
    np.testing.assert_allclose(pooled.values_C, [(0.2 + 3 * 0.8) / 4, (0.3 + 3 * 0.9) / 4])
    assert pooled.num_tfs == 4
    averaged = Sample.combine([sample(few, weight=1), sample(many, weight=3)])
    np.testing.assert_allclose(averaged.values_C, [0.5, 0.6])
    empty = Sample(np.zeros(2), np.zeros(2), True, 0, 0, float("nan"))
    assert Sample.combine([empty, sample(many, over_units=True)]).values_C.tolist() == many


def results(
    values: list[float], *, key: str = "k", noise: float = 0.01, tfs: int = 50, seed: int = 0
) -> list[SeedResult]:
    rng = np.random.default_rng(seed)
    return [SeedResult(i, value, value + noise * rng.normal(size=400), key, tfs) for i, value in enumerate(values)]


def test_beats_needs_an_interval_above_zero_and_three_seeds() -> None:
    high, low = results([0.80, 0.81, 0.79]), results([0.70, 0.71, 0.69], seed=1)
    verdict = beats(high, low)
    assert verdict
    assert verdict.difference == pytest.approx(0.1)
    assert 0 < verdict.low < 0.1 < verdict.high
    assert not beats(low, high)
    assert "below" in beats(low, high).reason
    assert "2 of at least 3 seeds" in beats(high[:2], low[:2]).reason
    assert not beats(high[:2], low[:2])
    assert "holds zero" in beats(results([0.7] * 3, noise=0.5), results([0.69] * 3, noise=0.5, seed=1)).reason
    assert "8 TFs support no claim" in beats(results([0.9] * 3, tfs=8), low).reason
    assert not beats(high, high)


def test_beats_on_different_test_sets_is_wider() -> None:
    same_a, same_b = results([0.72] * 3, noise=0.05), results([0.70] * 3, noise=0.05, seed=1)
    differing_a = [SeedResult(r.seed, r.value, r.replicates_B, f"k{r.seed}", 50) for r in same_a]
    differing_b = [SeedResult(r.seed, r.value, r.replicates_B, f"k{r.seed}", 50) for r in same_b]
    same, differing = beats(same_a, same_b), beats(differing_a, differing_b)
    assert differing.difference == pytest.approx(same.difference)
    assert differing.high - differing.low > same.high - same.low


def test_beats_refuses_what_is_not_paired() -> None:
    rows = results([0.1, 0.2, 0.3])
    with pytest.raises(UserError, match="same seeds"):
        beats(rows, rows[:2])
    with pytest.raises(UserError, match="given twice"):
        beats([*rows, rows[0]], rows)
    with pytest.raises(UserError, match="resampled"):
        beats(rows, results([0.1, 0.2, 0.3], key="other"))
    with pytest.raises(UserError, match="no results"):
        beats([], [])
