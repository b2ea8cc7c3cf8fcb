"""Values equal the plain metrics; replicates equal the plain metrics of explicitly repeated pairs."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.evaluate.bootstrap import Bootstrap
from grn_cotrain.evaluate.measure import Universe, measure
from grn_cotrain.metrics import links as metrics
from grn_cotrain.present import LINK_METRICS
from tests import references
from tests.references import filtered_ranks

NUM_TFS, NUM_TARGETS = 7, 30
TFS, TARGETS = np.arange(NUM_TFS) * 2 + 1, np.arange(NUM_TARGETS) * 3 + 100


def universe(seed: int = 0) -> tuple[Universe, np.ndarray]:
    """Candidates of gene indices with gaps, some pairs absent, scores with ties."""
    rng = np.random.default_rng(seed)
    sources, targets = np.repeat(TFS, NUM_TARGETS), np.tile(TARGETS, NUM_TFS)
    keep = rng.random(len(sources)) < 0.9
    sources, targets = sources[keep], targets[keep]
    labels = rng.random(len(sources)) < 0.2
    scores = rng.integers(0, 8, len(sources)) + 2.0 * labels * rng.random(len(sources)).round(1)
    degree = (targets // 3) % 4
    return Universe(sources, targets, labels, degree, rng.normal(size=len(sources)) + labels), scores


def plain(u: Universe, scores: np.ndarray, copy: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Every metric by the plain functions; ``copy`` tells apart the copies of a TF that was drawn twice."""
    sources = u.sources_M * 100 + copy
    ranks = filtered_ranks(scores, u.labels_M, sources)
    per_tf = metrics.per_tf(scores, u.labels_M, sources)
    auprc = metrics.average_precision(scores, u.labels_M)
    early = metrics.precision_at_k(scores, u.labels_M, int(u.labels_M.sum()))
    assert u.logits_M is not None
    return {
        "auroc": metrics.auroc(scores, u.labels_M),
        "auprc": auprc,
        "auprc_ratio": auprc / u.labels_M.mean(),
        "macro_auroc": per_tf.macro_auroc,
        "macro_ap": per_tf.macro_ap,
        "early_precision": early,
        "epr": early / u.labels_M.mean(),
        "precision_at_100": metrics.precision_at_k(scores, u.labels_M, 100),
        "mrr": ranks.mean_reciprocal_rank(),
        "mrr_adjusted": ranks.mean_reciprocal_rank(adjusted=True),
        "hits_at_10": ranks.hits_at(10),
        "hits_at_10_adjusted": ranks.hits_at(10, adjusted=True),
        "mean_rank_adjusted": ranks.adjusted_mean_rank_index(),
        "degree_matched_auroc": references.degree_matched_auroc(scores, u.labels_M, sources, u.degree_M),
        "brier": metrics.brier_score(probability, u.labels_M),
    }


def test_values_equal_the_plain_metrics() -> None:
    u, scores = universe()
    probability = 1 / (1 + np.exp(-scores))
    for targets in (None, u.targets_M):
        found = measure(u, scores, Bootstrap(u.sources_M, targets, replicates=0), probability_M=probability)
        expected = plain(u, scores, np.zeros(u.num_pairs, dtype=int), probability)
        strata = metrics.logit_strata(u.logits_M, u.labels_M)  # type: ignore[arg-type]
        expected["residual_auroc"] = references.stratified_auroc(scores, u.labels_M, strata)
        assert set(found) == set(expected) == set(LINK_METRICS) - {"pair_share", "own_minus_other"}
        for name, value in expected.items():
            assert found[name].values_C[0] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("two_way", [False, True])
def test_replicates_equal_metrics_of_repeated_pairs(two_way: bool) -> None:
    """The weighted shortcut against the definition: a TF drawn twice is there twice, as two TFs; a gene likewise."""
    u, scores = universe(1)
    probability = 1 / (1 + np.exp(-scores))
    bootstrap = Bootstrap(u.sources_M, u.targets_M if two_way else None, replicates=12, seed=3)
    found = measure(u, scores, bootstrap, probability_M=probability, min_positives=1)
    # Macro metrics count TFs by their test positives in the sample; with one the copies need no second rule.
    for column in range(13):
        weight_S = bootstrap.source_weight_SC[:, column].astype(int)
        copies = weight_S[np.searchsorted(bootstrap.sources_S, u.sources_M)]
        genes = np.ones(u.num_pairs, dtype=int)
        if two_way:
            assert bootstrap.targets_N is not None
            assert bootstrap.target_weight_NC is not None
            place = np.searchsorted(bootstrap.targets_N, u.targets_M)
            genes = bootstrap.target_weight_NC[:, column].astype(int)[place]
        repeated, copy = [], []
        for pair in range(u.num_pairs):
            for number in range(copies[pair]):
                repeated += [pair] * genes[pair]
                copy += [number] * genes[pair]
        again, which = u.subset(np.array(repeated)), np.array(copy)
        expected = plain(again, scores[repeated], which, probability[repeated])
        per_tf = metrics.per_tf(scores[repeated], again.labels_M, again.sources_M * 100 + which, min_positives=1)
        expected["macro_auroc"], expected["macro_ap"] = per_tf.macro_auroc, per_tf.macro_ap
        expected["degree_matched_auroc"] = references.degree_matched_auroc(
            scores[repeated], again.labels_M, again.sources_M * 100 + which, again.degree_M, min_positives=1
        )
        strata = metrics.logit_strata(u.logits_M, u.labels_M)[repeated]  # type: ignore[arg-type]
        expected["residual_auroc"] = references.stratified_auroc(scores[repeated], again.labels_M, strata)
        for name, value in expected.items():
            assert found[name].values_C[column] == pytest.approx(value, abs=1e-5), (name, column)


def test_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from grn_cotrain.evaluate import measure as module

    u, scores = universe(2)
    for targets in (None, u.targets_M):
        bootstrap = Bootstrap(u.sources_M, targets, replicates=70)
        whole = measure(u, scores, bootstrap)
        for name, value in (("_CELLS", 1), ("_ROWS", 3), ("_PAIRS", 7), ("_TWO_WAY_COLUMNS", 16)):
            monkeypatch.setattr(module, name, value)
        pieces = measure(u, scores, bootstrap)
        monkeypatch.undo()
        for name, sample in whole.items():
            np.testing.assert_allclose(pieces[name].values_C, sample.values_C, atol=1e-6, err_msg=name)


def test_constant_scorer_has_a_flat_interval_at_chance() -> None:
    u, _ = universe()
    found = measure(u, np.zeros(u.num_pairs), Bootstrap(u.sources_M, replicates=50))
    for name in ("auroc", "macro_auroc", "residual_auroc", "degree_matched_auroc"):
        assert found[name].interval() == (0.5, 0.5, 0.5), name
    for name in ("auprc_ratio", "epr"):
        np.testing.assert_allclose(found[name].interval(), 1.0)
    assert found["mean_rank_adjusted"].values_C == pytest.approx(0)
    assert found["mrr_adjusted"].values_C[0] < 0


def test_facts_of_samples() -> None:
    u, scores = universe()
    found = measure(u, scores, Bootstrap(u.sources_M, replicates=0), min_positives=5)
    per_tf = metrics.per_tf(scores, u.labels_M, u.sources_M, min_positives=5)
    assert 0 < per_tf.num_tfs < NUM_TFS
    macro = found["macro_auroc"]
    assert macro.num_tfs == per_tf.num_tfs
    assert macro.num_pairs == (per_tf.positives_S + per_tf.negatives_S).sum()
    assert macro.prevalence == pytest.approx((per_tf.positives_S / (per_tf.positives_S + per_tf.negatives_S)).mean())
    assert (found["auroc"].num_tfs, found["auroc"].num_pairs) == (NUM_TFS, u.num_pairs)
    assert found["auroc"].prevalence == pytest.approx(u.labels_M.mean())


def test_no_tf_can_be_ranked() -> None:
    """One positive a TF: pooled metrics stand, macro ones are undefined, nothing fails."""
    sources, targets = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    labels = targets == 0
    u = Universe(sources, targets, labels, np.zeros(12, dtype=int))
    found = measure(u, targets.astype(float), Bootstrap(sources, replicates=5))
    assert np.isnan(found["macro_auroc"].values_C).all()
    assert found["macro_auroc"].num_tfs == 0
    assert found["auroc"].values_C[0] == 0


def test_replicates_of_average_precision_lie_above_the_value_only_where_genes_are_resampled() -> None:
    """A gene that is drawn twice stands twice at its rank, which lifts AP; a TF that is drawn twice changes no AP."""
    rng = np.random.default_rng(3)
    num_tfs, num_genes = 30, 60
    sources_M, targets_M = (side.ravel() for side in np.indices((num_tfs, num_genes)))
    labels_M = rng.random(sources_M.size) < 0.15
    u = Universe(sources_M, num_tfs + targets_M, labels_M, np.ones(sources_M.size, dtype=np.int64))
    first, second = (labels_M * strength + rng.normal(size=labels_M.size) for strength in (1.0, 0.6))

    def lifts(targets: np.ndarray | None) -> dict[str, tuple[float, float]]:
        """By metric: mean of the replicates less the value, for one scorer and for the difference of two."""
        bootstrap = Bootstrap(u.sources_M, targets, replicates=400)
        one, two = (measure(u, scores.astype(np.float32), bootstrap) for scores in (first, second))
        found = {}
        for metric in ("macro_ap", "macro_auroc"):
            a_C, b_C = one[metric].values_C, two[metric].values_C
            found[metric] = (a_C[1:].mean() - a_C[0], (a_C - b_C)[1:].mean() - (a_C - b_C)[0])
        return found

    of_tfs, of_genes = lifts(None), lifts(u.targets_M)
    for alone, paired in of_tfs.values():
        assert abs(alone) < 0.003
        assert abs(paired) < 0.003
    assert of_genes["macro_ap"][0] > 0.01
    assert abs(of_genes["macro_ap"][1]) < 0.4 * of_genes["macro_ap"][0]
    assert abs(of_genes["macro_auroc"][0]) < 0.003
