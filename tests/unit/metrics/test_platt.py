"""Platt scaling: recovers a known sigmoid, keeps order, round trip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from grn_cotrain.data.edge_split import EdgeSplit, LabelledPairs
from grn_cotrain.data.splits import make_split
from grn_cotrain.errors import UserError
from grn_cotrain.metrics.isotonic import Isotonic
from grn_cotrain.metrics.platt import Calibration, Platt
from tests.cases.networks import labelled_split, random_grn

OLD = {"slope": 1.5, "offset": -2.0, "num_pairs": 10, "prevalence": 0.4}
"""Content of ``platt.json`` in a model of version 0.1."""


def test_recovers_a_known_sigmoid_in_any_unit() -> None:
    """The prevalence of a sigmoid is recovered by what fits now, whatever the unit of the scores."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=100_000)
    truth = expit(1.5 * scores - 2)
    labels = rng.random(100_000) < truth
    for unit in (1.0, 1e4, 1e-4):
        found = Isotonic.fit(scores * unit, labels)
        assert np.abs(found.probability(scores * unit) - truth).mean() == pytest.approx(0, abs=0.05)
        assert found.probability(scores * unit).mean() == pytest.approx(labels.mean(), abs=1e-3)
    assert found.num_pairs == 100_000


def test_constant_score_gives_prevalence() -> None:
    labels = np.arange(100) < 20
    assert Isotonic.fit(np.full(100, 3.0), labels).probability(np.array([3.0]))[0] == pytest.approx(0.2, abs=1e-3)


def test_separable_scores_stay_finite_and_ordered() -> None:
    found = Isotonic.fit(np.arange(50.0), np.arange(50) >= 25)
    probability = found.probability(np.linspace(-100, 100, 50))
    assert np.isfinite(probability).all()
    assert (np.diff(probability) >= 0).all()


def test_old_scaling_is_read() -> None:
    platt = Platt.read(OLD, "platt.json")
    np.testing.assert_allclose(platt.probability(np.array([0.0, 2.0])), expit([-2.0, 1.0]))
    with pytest.raises(UserError, match="missing"):
        Platt.read({"slope": 1}, "bad.json")
    with pytest.raises(UserError, match="not finite"):
        Platt.read({**OLD, "slope": float("nan")}, "bad.json")


def scores_of(pairs: LabelledPairs) -> np.ndarray:
    return 2.0 * pairs.labels_M + np.random.default_rng(0).normal(size=pairs.num_pairs)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("random", "seen"),
        ("unseen-tf", "unseen TF"),
        ("unseen-target", "unseen target"),
        ("unseen-both", "unseen TF and target"),
    ],
)
def test_pairs_of_the_kind_that_validates_have_the_one_scaling_and_others_none(
    kind: str, name: str, tmp_path: Path
) -> None:
    split = make_split(random_grn(), kind)[0]  # type: ignore[arg-type]
    pairs = split.pairs("validation")
    calibration = Calibration.fit(scores_of(pairs), pairs, split)
    assert calibration is not None
    share = pairs.prevalence
    if kind == "unseen-target":  # all genes are drawn alike, so training genes tell the prevalence too
        known_M = np.concatenate([pairs.labels_M, split.pairs("train").labels_M])
        share = known_M.mean()
    expected = Isotonic.fit(scores_of(pairs), pairs.labels_M, prevalence=float(share))
    assert calibration.main.prevalence == pytest.approx(share)
    assert list(calibration.by_kind) == [name]
    np.testing.assert_allclose(calibration.main.probability(np.arange(-3, 5)), expected.probability(np.arange(-3, 5)))
    test = split.pairs("test")
    score_M = scores_of(test)
    np.testing.assert_array_equal(
        calibration.probability(score_M, test.pairs_2M), calibration.main.probability(score_M)
    )
    train_2E = split.train_2E
    seen_E = calibration.probability(np.zeros(train_2E.shape[1]), train_2E)
    assert np.isnan(seen_E).all() == (kind != "random")
    assert calibration.missing(train_2E) == ({} if kind == "random" else {"seen": train_2E.shape[1]})

    calibration.save(tmp_path / "platt.json")
    loaded = Calibration.load(tmp_path / "platt.json")
    np.testing.assert_array_equal(loaded.probability(score_M, test.pairs_2M), calibration.main.probability(score_M))
    np.testing.assert_array_equal(loaded.kinds_of(train_2E), calibration.kinds_of(train_2E))
    assert loaded.main == calibration.main
    content = json.loads((tmp_path / "platt.json").read_text())
    assert ("kinds" in content) == (kind != "random")


def test_a_file_without_kinds_is_one_scaling_for_all(tmp_path: Path) -> None:
    (tmp_path / "platt.json").write_text(json.dumps(OLD))
    platt = Platt.read(OLD, "platt.json")
    calibration = Calibration.load(tmp_path / "platt.json")
    np.testing.assert_array_equal(
        calibration.probability(np.arange(4.0), np.array([[0, 1, 2, 3], [4, 5, 6, 7]])),
        platt.probability(np.arange(4.0)),
    )


@pytest.mark.parametrize(
    "change", [{"kinds": {}}, {"kinds": {"odd": {}}}, {"kinds": [1]}, {"hidden_targets": "x"}, {"kinds": {"seen": {}}}]
)
def test_broken_kinds_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    split = make_split(random_grn(), "unseen-target")[0]
    pairs = split.pairs("validation")
    calibration = Calibration.fit(scores_of(pairs), pairs, split)
    assert calibration is not None
    calibration.save(tmp_path / "platt.json")
    content = json.loads((tmp_path / "platt.json").read_text())
    (tmp_path / "platt.json").write_text(json.dumps(content | change))
    with pytest.raises(UserError, match="train the run again"):
        Calibration.load(tmp_path / "platt.json")


def test_a_sample_of_the_negatives_does_not_raise_probabilities() -> None:
    """All positives and a tenth of the negatives: without a correction every probability would be about ten times."""
    split = make_split(random_grn(num_genes=300, num_tfs=40, density=0.05), "unseen-target")[0]
    pairs = split.pairs("validation")
    score_M = scores_of(pairs)
    keep_M = pairs.labels_M | (np.random.default_rng(1).random(pairs.num_pairs) < 0.1)
    some = LabelledPairs(pairs.pairs_2M[:, keep_M], pairs.labels_M[keep_M])
    share = float((~some.labels_M).sum() / (~pairs.labels_M).sum())
    every = Calibration.fit(score_M, pairs, split)
    sampled = Calibration.fit(score_M[keep_M], some, split, sampled=share)
    assert every is not None
    assert sampled is not None
    assert sampled.main.prevalence == pytest.approx(every.main.prevalence, rel=1e-9)
    mean = sampled.probability(score_M, pairs.pairs_2M).mean()
    assert mean == pytest.approx(every.main.prevalence, rel=0.15)
    assert Isotonic.fit(score_M[keep_M], some.labels_M).probability(score_M).mean() > 3 * pairs.prevalence


def test_an_imported_split_has_the_kinds_of_its_pairs() -> None:
    """Labelled pairs: of targets 2 to 7, the test names 6 and 7, which no training pair does."""
    split = EdgeSplit(**{**vars(labelled_split()), "hidden_targets_N": np.array([6, 7])})
    pairs = split.pairs("validation")
    calibration = Calibration.fit(np.array([1.0, 0.0]), pairs, split)
    assert calibration is not None
    assert set(calibration.by_kind) == {"seen"}
    assert np.isnan(calibration.probability(np.zeros(4), split.pairs("test").pairs_2M)).all()
    assert calibration.missing(split.pairs("test").pairs_2M) == {"unseen target": 4}


def test_a_kind_whose_check_failed_is_not_trusted(tmp_path: Path) -> None:
    split = make_split(random_grn(num_genes=300, num_tfs=40, density=0.05), "unseen-target")[0]
    pairs = split.pairs("validation")
    calibration = Calibration.fit(scores_of(pairs), pairs, split)
    assert calibration is not None
    check = calibration.checks["unseen target"]
    assert check.holds
    assert not calibration.failed
    assert calibration.trusted is not None
    assert calibration.trusted.by_kind == calibration.by_kind
    failed = replace(calibration, checks={"unseen target": replace(check, num_failed=2)})
    failed.save(tmp_path / "platt.json")
    loaded = Calibration.load(tmp_path / "platt.json")
    assert loaded.trusted is None
    assert list(loaded.failed) == ["unseen target"]
    assert loaded.main == calibration.main, "the calibration is kept, so that its figure can be drawn"
    content = json.loads((tmp_path / "platt.json").read_text())
    (tmp_path / "platt.json").write_text(json.dumps(content | {"checks": {"odd": {}}}))
    with pytest.raises(UserError, match="checks cannot be read"):
        Calibration.load(tmp_path / "platt.json")
