"""Isotonic calibration: honest whatever the form, held back where pairs are few, and read back as it was."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from grn_cotrain.errors import UserError
from grn_cotrain.metrics.isotonic import Isotonic


def test_a_form_that_no_sigmoid_has() -> None:
    """Two plateaus: a sigmoid would be too high between them and too low at both ends."""
    generator = np.random.default_rng(0)
    score_M = generator.uniform(-3, 3, size=200_000)
    truth_M = np.where(score_M > 2, 0.3, 0.01)
    found = Isotonic.fit(score_M, generator.random(score_M.size) < truth_M)
    new_M = np.array([-2.5, 0.0, 1.8, 2.2, 2.9])
    np.testing.assert_allclose(found.probability(new_M), [0.01, 0.01, 0.01, 0.3, 0.3], atol=0.02)
    assert found.probability(np.array([99.0]))[0] == found.probability(np.array([score_M.max()]))[0]
    assert found.probability(score_M).mean() == pytest.approx(truth_M.mean(), abs=2e-3)


def test_a_single_edge_at_the_top_does_not_make_a_certainty() -> None:
    score_M = np.arange(1000.0)
    found = Isotonic.fit(score_M, score_M == 999)
    # One pair of one edge, and one pseudo-pair at the prevalence of one in a thousand.
    assert found.probability(np.array([999.0]))[0] == pytest.approx((1 + 0.001) / 2)
    assert found.probability(np.array([500.0]))[0] == pytest.approx(0.001 / 1000, abs=1e-6)


def test_order_is_kept_and_constants_are_the_prevalence() -> None:
    labels_M = np.arange(100) < 20
    assert Isotonic.fit(np.full(100, 3.0), labels_M).probability(np.array([3.0, 9.0])) == pytest.approx([0.2, 0.2])
    score_M = np.random.default_rng(1).normal(size=500)
    found = Isotonic.fit(score_M, score_M + np.random.default_rng(2).normal(size=500) > 0.5)
    probability = found.probability(np.linspace(-9, 9, 300))
    assert (np.diff(probability) >= 0).all()
    assert probability.min() >= 0
    assert probability.max() < 1


def test_round_trip_and_what_is_refused() -> None:
    found = Isotonic.fit(np.arange(10.0), np.arange(10) % 3 == 0)
    stored = json.loads(json.dumps(asdict(found)))
    assert Isotonic.read(stored, "file") == found
    for change in ({"scores": []}, {"scores": "x"}, {"probabilities": [0.5]}, {"probabilities": [float("nan")]}):
        with pytest.raises(UserError, match=r"file: .*train the run again"):
            Isotonic.read({**stored, **change}, "file")
    with pytest.raises(UserError, match="one class"):
        Isotonic.fit(np.arange(3.0), np.ones(3, dtype=bool))
    with pytest.raises(UserError, match="1 are not finite"):
        Isotonic.fit(np.array([0.0, np.nan]), np.array([True, False]))
