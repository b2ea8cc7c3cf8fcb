"""Metrics against scikit-learn and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from grn_cotrain.errors import UserError
from grn_cotrain.metrics import links as metrics
from tests import references


def draw(levels: int = 10, num_pairs: int = 600, num_tfs: int = 8, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    labels = rng.random(num_pairs) < 0.15
    scores = rng.integers(0, levels, num_pairs) + labels * rng.integers(0, 3, num_pairs)
    return scores.astype(float), labels, rng.integers(0, num_tfs, num_pairs)


@pytest.mark.parametrize("levels", [1, 2, 10, 10**9])
def test_pooled_equal_scikit_learn(levels: int) -> None:
    scores, labels, _ = draw(levels)
    assert metrics.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert metrics.average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_missing_class_is_nan() -> None:
    for labels in (np.zeros(5, dtype=bool), np.ones(5, dtype=bool)):
        assert math.isnan(metrics.auroc(np.arange(5.0), labels))
        assert math.isnan(metrics.average_precision(np.arange(5.0), labels))
        assert math.isnan(metrics.precision_at_k(np.arange(5.0), labels, 2))


def test_per_tf_equals_scikit_learn_tf_by_tf() -> None:
    scores, labels, sources = draw(levels=6, num_tfs=30, num_pairs=900)
    sources = sources * 3 + 5  # gene indices have gaps
    labels[sources == 8] = False
    labels[sources == 11] = True
    found = metrics.per_tf(scores, labels, sources, min_positives=3)
    rankable = [s for s in np.unique(sources) if 3 <= labels[sources == s].sum() < (sources == s).sum()]
    assert found.source_S.tolist() == rankable
    assert 8 not in rankable
    assert 11 not in rankable
    for i, s in enumerate(rankable):
        mine = sources == s
        assert found.auroc_S[i] == pytest.approx(roc_auc_score(labels[mine], scores[mine]), abs=1e-12)
        expected = average_precision_score(labels[mine], scores[mine])
        assert found.average_precision_S[i] == pytest.approx(expected, abs=1e-12)
        assert found.positives_S[i] == labels[mine].sum()
        assert found.negatives_S[i] == (~labels[mine]).sum()
    assert found.macro_auroc == pytest.approx(found.auroc_S.mean())
    assert found.num_tfs == len(rankable)


def test_per_tf_without_rankable_tf() -> None:
    found = metrics.per_tf(np.arange(4.0), np.array([True, False, False, False]), np.zeros(4, dtype=int))
    assert found.num_tfs == 0
    assert math.isnan(found.macro_auroc)


def test_constant_scorer_is_chance_everywhere() -> None:
    _, labels, sources = draw(num_pairs=3000)
    constant = np.full(3000, 4.2)
    prevalence = labels.mean()
    assert metrics.auroc(constant, labels) == 0.5
    assert metrics.average_precision(constant, labels) == pytest.approx(prevalence)
    assert metrics.precision_at_k(constant, labels, 10) == pytest.approx(prevalence)
    assert references.early_precision_ratio(constant, labels) == pytest.approx(1)
    per_tf = metrics.per_tf(constant, labels, sources)
    assert per_tf.macro_auroc == 0.5
    assert references.stratified_auroc(constant, labels, sources) == 0.5
    assert references.degree_matched_auroc(constant, labels, sources, np.arange(3000) % 5) == 0.5


def test_precision_at_k_is_the_mean_over_orders_of_ties() -> None:
    scores = np.array([9.0, 5, 5, 5, 5, 1])
    labels = np.array([True, True, False, False, True, True])
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        order = np.lexsort((rng.random(6), -scores))
        drawn.append(labels[order[:3]].mean())
    assert metrics.precision_at_k(scores, labels, 3) == pytest.approx((1 + 2 * 0.5) / 3)
    assert metrics.precision_at_k(scores, labels, 3) == pytest.approx(np.mean(drawn), abs=0.02)
    assert metrics.precision_at_k(scores, labels, 100) == pytest.approx(labels.mean())


def test_residual_auroc_of_the_reference_itself_is_near_half() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-2 * logits + 2))
    strata = metrics.logit_strata(logits, labels)
    beyond = logits + rng.normal(size=20_000) * 0.1
    assert metrics.auroc(logits, labels) > 0.8
    assert abs(references.stratified_auroc(logits, labels, strata) - 0.5) < 0.03
    assert abs(references.stratified_auroc(beyond, labels, strata) - 0.5) < 0.03
    # What the reference cannot know is seen in full.
    hidden = labels + rng.normal(size=20_000)
    assert references.stratified_auroc(hidden, labels, strata) > 0.7


def test_stratified_auroc_is_the_positive_weighted_mean() -> None:
    scores, labels, strata = draw(levels=7, num_tfs=5)
    parts = [(labels[strata == q].sum(), roc_auc_score(labels[strata == q], scores[strata == q])) for q in range(5)]
    expected = sum(n * value for n, value in parts) / sum(n for n, _ in parts)
    assert references.stratified_auroc(scores, labels, strata) == pytest.approx(expected, abs=1e-12)


def test_degree_matched_removes_degree_and_nothing_else() -> None:
    """A degree scorer has .5 on a network drawn from degrees alone; a scorer of pairs keeps its signal."""
    rng = np.random.default_rng(2)
    num_tfs, num_genes = 60, 400
    propensity_G = rng.gamma(0.5, 0.1, num_genes)
    edge_SG = rng.random((num_tfs, num_genes)) < np.minimum(propensity_G, 0.9)
    pairs = np.stack([np.repeat(np.arange(num_tfs), num_genes), np.tile(np.arange(num_genes) + 100, num_tfs)])
    labels = edge_SG.ravel()
    known = pairs[:, labels]
    degree = metrics.leave_one_out_degree(pairs, labels, known, 500)
    # The scorer sees the degree that a held-out third of the edges leaves.
    seen = known[:, rng.random(known.shape[1]) < 2 / 3]
    score = np.bincount(seen[1], minlength=500)[pairs[1]].astype(float)
    test = ~np.isin(pairs[0] * 500 + pairs[1], seen[0] * 500 + seen[1])
    pairs, labels, degree, score = pairs[:, test], labels[test], degree[test], score[test]
    assert metrics.per_tf(score, labels, pairs[0]).macro_auroc > 0.65
    assert abs(references.degree_matched_auroc(score, labels, pairs[0], degree) - 0.5) < 0.03
    informed = labels + rng.normal(size=len(labels))
    assert references.degree_matched_auroc(informed, labels, pairs[0], degree) > 0.7


def test_degree_matched_equals_brute_force() -> None:
    scores, labels, sources = draw(levels=9, num_pairs=2000)
    degree = np.random.default_rng(3).integers(0, 6, 2000)
    per_tf = []
    for s in np.unique(sources):
        won = []
        for i in np.flatnonzero(labels & (sources == s)):
            rivals = scores[~labels & (sources == s) & (degree == degree[i])]
            if len(rivals):
                won.append((rivals < scores[i]).mean() + (rivals == scores[i]).mean() / 2)
        per_tf.append(np.mean(won))
    found = references.degree_matched_auroc(scores, labels, sources, degree)
    assert found == pytest.approx(np.mean(per_tf), abs=1e-12)


def test_degree_strata_are_exact_for_small_degrees() -> None:
    strata = metrics.degree_strata(np.arange(200))
    assert strata[:18].tolist() == [*range(17), 16]
    assert (np.diff(strata) >= 0).all()
    assert strata[-1] < 60


def test_leave_one_out_degree_leaves_the_pair_out() -> None:
    known = np.array([[0, 1, 2], [5, 5, 6]])
    pairs = np.array([[0, 3, 2], [5, 5, 6]])
    degree = metrics.leave_one_out_degree(pairs, np.array([True, False, True]), known, 7)
    assert degree.tolist() == [1, 2, 0]


def test_brier_and_reliability() -> None:
    rng = np.random.default_rng(4)
    probability = rng.beta(1, 9, 20_000)
    labels = rng.random(20_000) < probability
    assert metrics.brier_score(probability, labels) == pytest.approx(brier_score_loss(labels, probability))
    bins = metrics.reliability(probability, labels)
    assert bins["num_pairs"].sum() == 20_000
    assert len(bins) == 10
    assert (bins["probability"] - bins["observed"]).abs().max() < 0.03
    with pytest.raises(UserError, match="outside"):
        metrics.brier_score(np.array([1.2]), np.array([True]))


def test_planted_leak_is_visible() -> None:
    """A scorer that has seen the test edges stands out in every metric, most of all within degree strata."""
    scores, labels, sources = draw(levels=10**6, num_pairs=5000)
    leaked = np.where(labels, 1e7, scores)
    assert metrics.auroc(leaked, labels) == 1
    assert references.degree_matched_auroc(leaked, labels, sources, np.zeros(5000, dtype=int)) == 1
