"""Ranking metrics: ties, order of pairs, monotone transformations."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from grn_cotrain.metrics import links as metrics
from tests import references
from tests.references import filtered_ranks

MODEST = settings(deadline=None, max_examples=60)

PAIRS = st.lists(
    st.tuples(st.integers(-4, 4), st.booleans(), st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=60
)


def arrays(pairs: list[tuple[int, bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    scores, labels, groups, strata = zip(*pairs, strict=True)
    return np.array(scores, dtype=float), np.array(labels), np.array(groups), np.array(strata)


def every_metric(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, strata: np.ndarray) -> list[float]:
    per_tf = metrics.per_tf(scores, labels, groups, min_positives=1)
    ranks = filtered_ranks(scores, labels, groups)
    return [
        metrics.auroc(scores, labels),
        metrics.average_precision(scores, labels),
        metrics.precision_at_k(scores, labels, 5),
        references.early_precision_ratio(scores, labels),
        references.stratified_auroc(scores, labels, strata),
        references.degree_matched_auroc(scores, labels, groups, strata, min_positives=1),
        per_tf.macro_auroc,
        per_tf.macro_ap,
        float(ranks.realistic_P.sum()),
        float(ranks.optimistic_P.sum()),
    ]


@MODEST
@given(PAIRS)
def test_equal_scikit_learn_under_ties(pairs: list[tuple[int, bool, int, int]]) -> None:
    scores, labels, _, _ = arrays(pairs)
    assume(labels.any() and not labels.all())
    np.testing.assert_allclose(metrics.auroc(scores, labels), roc_auc_score(labels, scores), atol=1e-12)
    np.testing.assert_allclose(
        metrics.average_precision(scores, labels), average_precision_score(labels, scores), atol=1e-12
    )


@MODEST
@given(PAIRS, st.randoms(use_true_random=False))
def test_invariant_to_order_and_monotone_transformations(pairs: list[tuple[int, bool, int, int]], random) -> None:
    values = arrays(pairs)
    assume(values[1].any() and not values[1].all())
    before = every_metric(*values)
    shuffled = list(pairs)
    random.shuffle(shuffled)
    np.testing.assert_allclose(every_metric(*arrays(shuffled)), before, atol=1e-12)
    scores, *rest = values
    np.testing.assert_allclose(every_metric(np.exp(3 * scores) - 7, *rest), before, atol=1e-12)


@MODEST
@given(PAIRS)
def test_optimistic_at_most_realistic_at_most_pessimistic(pairs: list[tuple[int, bool, int, int]]) -> None:
    scores, labels, groups, _ = arrays(pairs)
    ranks = filtered_ranks(scores, labels, groups)
    assert (ranks.optimistic_P <= ranks.realistic_P).all()
    assert (ranks.realistic_P <= ranks.pessimistic_P).all()
    assert (ranks.pessimistic_P <= ranks.num_candidates_P).all()
    np.testing.assert_allclose(ranks.realistic_P, (ranks.optimistic_P + ranks.pessimistic_P) / 2)


@MODEST
@given(PAIRS)
def test_reversing_scores_mirrors_auroc(pairs: list[tuple[int, bool, int, int]]) -> None:
    scores, labels, groups, _ = arrays(pairs)
    assume(labels.any() and not labels.all())
    np.testing.assert_allclose(metrics.auroc(-scores, labels), 1 - metrics.auroc(scores, labels), atol=1e-12)
    forward = metrics.per_tf(scores, labels, groups, min_positives=1).auroc_S
    backward = metrics.per_tf(-scores, labels, groups, min_positives=1).auroc_S
    np.testing.assert_allclose(backward, 1 - forward, atol=1e-12)
