"""Platt scaling: recovers a known sigmoid, keeps order, round trip."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.platt import Platt


def test_recovers_a_known_sigmoid_in_any_unit() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=100_000)
    labels = rng.random(100_000) < expit(1.5 * scores - 2)
    for unit in (1.0, 1e4, 1e-4):
        platt = Platt.fit(scores * unit, labels)
        assert platt.slope * unit == pytest.approx(1.5, abs=0.05)
        assert platt.offset == pytest.approx(-2, abs=0.05)
        assert platt.probability(scores * unit).mean() == pytest.approx(labels.mean(), abs=1e-3)
    assert platt.num_pairs == 100_000


def test_constant_score_gives_prevalence() -> None:
    labels = np.arange(100) < 20
    assert Platt.fit(np.full(100, 3.0), labels).probability(np.array([3.0]))[0] == pytest.approx(0.2, abs=1e-3)


def test_separable_scores_stay_finite_and_ordered() -> None:
    platt = Platt.fit(np.arange(50.0), np.arange(50) >= 25)
    probability = platt.probability(np.linspace(-100, 100, 50))
    assert np.isfinite(probability).all()
    assert (np.diff(probability) >= 0).all()


def test_round_trip(tmp_path) -> None:  # type: ignore[no-untyped-def]
    platt = Platt.fit(np.arange(10.0), np.arange(10) % 3 == 0)
    platt.save(tmp_path / "platt.json")
    assert Platt.load(tmp_path / "platt.json") == platt
    (tmp_path / "bad.json").write_text('{"slope": 1}')
    with pytest.raises(UserError, match="missing"):
        Platt.load(tmp_path / "bad.json")


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="one class"):
        Platt.fit(np.arange(3.0), np.ones(3, dtype=bool))
    with pytest.raises(UserError, match="1 are not finite"):
        Platt.fit(np.array([0.0, np.nan]), np.array([True, False]))
