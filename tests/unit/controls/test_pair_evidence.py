"""Evidence from controls: standardised by training alone, weights of a logistic fit, priors for new genes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from grn_cotrain.controls.evidence import build_evidence, fit_channels
from grn_cotrain.controls.evidence_parts import STRENGTHS, pair_strength
from grn_cotrain.controls.pair_evidence import assemble_evidence, degree_logits
from grn_cotrain.data.edge_split import EdgeSplit
from tests.cases.toy_links import toy_cells, toy_split

G, S = 60, 20


def make_split(kind: str = "random", *, targets: int = G, seed: int = 0) -> EdgeSplit:
    """Edges drawn at random from twenty sources; genes past ``targets`` are hidden as targets."""
    generator = np.random.default_rng(seed)
    edge_SG = generator.random((S, G)) < 0.15
    edge_SG[np.arange(S), np.arange(S)] = False
    pairs_2E = np.stack(np.nonzero(edge_SG))
    hidden_E = pairs_2E[1] >= targets
    everything: dict[str, Any] = {
        "name": "toy", "kind": kind, "track": "visible", "seed": 0, "fold": None,
        "num_genes": G, "vocab_hash": "", "grn_hash": "",
        "train_2E": pairs_2E[:, ~hidden_E], "validation_2E": pairs_2E[:, :0], "test_2E": pairs_2E[:, hidden_E],
        "train_sources_S": np.arange(S), "train_targets_N": np.arange(targets),
        "validation_sources_S": np.arange(S), "validation_targets_N": np.arange(G),
        "test_sources_S": np.arange(S), "test_targets_N": np.arange(targets, G),
        "hidden_sources_S": np.arange(0), "hidden_targets_N": np.arange(targets, G),
        "withheld_2E": pairs_2E[:, :0],
    }  # fmt: skip
    return EdgeSplit(**everything)


def labels_SG(split: EdgeSplit) -> np.ndarray:
    labels = np.zeros((S, G), dtype=bool)
    labels[split.train_2E[0], split.train_2E[1]] = True
    return labels


def channel(split: EdgeSplit, strength: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    noise_SG = np.random.default_rng(seed).normal(size=(S, G))
    scores_SG = 40 + 5 * (noise_SG + strength * labels_SG(split))
    return np.arange(S), scores_SG, scores_SG + 1


def test_each_part_has_its_own_scale_and_both_fits_are_alike() -> None:
    """The full fit has twelve times the spread and another mean; what training weighs is what testing adds."""
    split = make_split("unseen-target", targets=30)
    sources_S, train_SG, _ = channel(split, 1.0, 1)
    evidence = assemble_evidence(split, {"a": (sources_S, train_SG, 12 * train_SG + 7)})
    means = evidence.means
    assert means is not None
    for pair_KSG, target_KG, source_KS, genes in (
        (evidence.train_KSG, means.train_target_KG, means.train_source_KS, slice(0, 30)),
        (evidence.full_KSG, means.full_target_KG, means.full_source_KS, slice(30, 60)),
    ):
        assert pair_KSG[0][:, genes].std() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(pair_KSG[0][:, genes].mean(1), 0, atol=1e-5)  # nothing of the TF is left
        assert pair_KSG[0][:, genes].mean(0).std() < 0.1  # nor of the target
        assert target_KG[0, genes].std() == pytest.approx(1, abs=1e-5)
        assert source_KS[0].std() == pytest.approx(1, abs=1e-5)


def test_a_tf_mean_is_in_its_own_part_alone() -> None:
    split = make_split("unseen-target", targets=45)
    sources_S, train_SG, full_SG = channel(split, 1.0, 1)
    raised_S1 = 1000.0 * np.arange(S)[:, None]
    plain = assemble_evidence(split, {"a": (sources_S, train_SG, full_SG)})
    raised = assemble_evidence(split, {"a": (sources_S, train_SG + raised_S1, full_SG + raised_S1)})
    np.testing.assert_allclose(raised.train_KSG, plain.train_KSG, atol=1e-5)
    np.testing.assert_allclose(raised.full_KSG, plain.full_KSG, atol=1e-5)
    assert plain.means is not None
    assert raised.means is not None
    np.testing.assert_allclose(raised.means.full_target_KG, plain.means.full_target_KG, atol=1e-5)
    assert np.corrcoef(raised.means.train_source_KS[0], np.arange(S))[0, 1] == pytest.approx(1, abs=1e-4)


def test_log_odds_keep_their_order_and_their_scale() -> None:
    """A decoder that starts from a classifier starts at it: one weight for all that is not the TF's mean."""
    split = make_split("unseen-target", targets=45)
    generator = np.random.default_rng(5)
    target_G, pair_SG = generator.normal(size=G), 0.3 * generator.normal(size=(S, G))
    train_SG = -2 + np.arange(S)[:, None] / 10 + target_G + pair_SG + 2.0 * labels_SG(split)
    evidence = assemble_evidence(split, {"a": (np.arange(S), train_SG, train_SG + 1)}, log_odds=["a"])
    means = evidence.means
    assert means is not None
    assert evidence.weight_K is not None
    assert evidence.weight_K[0] == means.weight_2K[1, 0] > 0.2
    logit_SG = means.full_target_KG[0] + evidence.full_KSG[0]
    np.testing.assert_allclose(logit_SG - logit_SG[:, :1], train_SG - train_SG[:, :1], atol=1e-4)


def test_log_odds_of_the_true_chances_have_weight_one() -> None:
    split = make_split("unseen-target", targets=G)
    generator = np.random.default_rng(0)
    odds_SG = generator.normal(-1.5, 1.5, size=(S, G))
    edge_SG = generator.random((S, G)) < 1 / (1 + np.exp(-odds_SG))
    edge_SG[np.arange(S), np.arange(S)] = False
    split = replace(split, train_2E=np.stack(np.nonzero(edge_SG)))
    evidence = assemble_evidence(split, {"a": (np.arange(S), odds_SG, odds_SG)}, log_odds=["a"])
    assert evidence.weight_K is not None
    assert evidence.weight_K[0] == pytest.approx(1, abs=0.2)


def test_the_pairs_of_similarities_are_not_made_stronger_beside_log_odds() -> None:
    split = make_split("unseen-target", targets=45)
    channels = {"a": channel(split, 1.0, 1), "odds": channel(split, 0.3, 2)}
    beside = assemble_evidence(split, channels, log_odds=["odds"])
    without = assemble_evidence(split, channels)
    assert beside.weight_K is not None
    assert without.weight_K is not None
    assert 0 < beside.weight_K[0] < without.weight_K[0]


def test_a_tf_with_few_training_targets_has_little_evidence_of_its_own() -> None:
    split = make_split("unseen-target", targets=45)
    few_E = (split.train_2E[0] != 3) | (np.cumsum(split.train_2E[0] == 3) <= 1)
    split = replace(split, train_2E=split.train_2E[:, few_E])
    evidence = assemble_evidence(split, {"a": channel(split, 1.0, 1)})
    spread_S = evidence.train_KSG[0][:, :45].std(1)
    assert spread_S[3] < 0.6 * np.median(spread_S)


@pytest.mark.parametrize(("kind", "used"), [("unseen-target", False), ("random", False), ("unseen-tf", True)])
def test_a_tf_mean_has_no_weight_where_the_tf_has_a_bias(kind: str, used: bool) -> None:
    split = make_split(kind)
    rate_S1 = labels_SG(split).mean(1)[:, None]
    noise_SG = np.random.default_rng(3).normal(size=(S, G))
    scores_SG = 10 * rate_S1 + 0.01 * noise_SG
    evidence = assemble_evidence(split, {"a": (np.arange(S), scores_SG, scores_SG)})
    assert evidence.means is not None
    assert (evidence.means.weight_2K[0, 0] > 0.1) == used


def test_degree_logits_by_hand_and_prior_for_hidden_genes() -> None:
    split = make_split("unseen-target", targets=45)
    source_G, target_G = degree_logits(split)
    label_SG = labels_SG(split)
    num_pairs = S * 45 - S
    prevalence = label_SG.sum() / num_pairs
    k, n = label_SG[3].sum(), 44
    assert source_G[3] == pytest.approx(np.log((k + 1) / (n - k + (1 - prevalence) / prevalence)))
    k, n = label_SG[:, 30].sum(), S
    assert target_G[30] == pytest.approx(np.log((k + 1) / (n - k + (1 - prevalence) / prevalence)))
    prior = np.log(prevalence / (1 - prevalence))
    np.testing.assert_allclose(target_G[45:], prior)
    np.testing.assert_allclose(source_G[S:], prior)


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("random", "none"),
        ("published", "none"),
        ("unseen-tf", "source"),
        ("unseen-target", "target"),
        ("unseen-both", "both"),
    ],
)
def test_held_out_side(kind: str, side: str) -> None:
    split = make_split(kind)
    assert split.held_out == side
    assert assemble_evidence(split, {}).held_out == side


def test_weights_are_those_of_a_logistic_regression() -> None:
    """Both sides held out: no offset, so scikit-learn's class-balanced fit is an independent reference."""
    split = make_split("unseen-both")
    rates_SG = 40 * (labels_SG(split).mean(0) + labels_SG(split).mean(1)[:, None])
    channels = {
        name: (sources_S, train_SG + rates_SG, full_SG + rates_SG)
        for name, strength, seed in (("strong", 1.0, 1), ("weak", 0.5, 2))
        for sources_S, train_SG, full_SG in [channel(split, strength, seed)]
    }
    evidence = assemble_evidence(split, channels)
    means, pairs = evidence.means, split.pairs("train")
    assert means is not None
    (sources_M, targets_M), labels_M = pairs.pairs_2M, pairs.labels_M
    features_MF = np.concatenate(
        [
            means.train_source_KS[:, sources_M],
            means.train_target_KG[:, targets_M],
            evidence.train_KSG[:, sources_M, targets_M],
        ]
    ).T
    reference = LogisticRegression(class_weight="balanced", C=1e6, tol=1e-8).fit(features_MF, labels_M)
    assert (reference.coef_ > 0).all()
    np.testing.assert_allclose(means.weight_2K.ravel(), reference.coef_[0, :4], rtol=0.05, atol=0.02)
    assert evidence.weight_K is not None
    strength = evidence.weight_K[0] / reference.coef_[0, 4]
    assert min(abs(strength - factor) for factor in STRENGTHS) < 0.1
    np.testing.assert_allclose(evidence.weight_K, strength * reference.coef_[0, 4:], rtol=0.05)
    assert evidence.weight_K[0] > evidence.weight_K[1] > 0


def test_the_pair_part_is_as_strong_as_costs_little() -> None:
    """Where the target's mean orders a list, the pair part must not undo that; where it says nothing, it may."""
    generator = np.random.default_rng(0)
    sources_M, labels_M = np.repeat(np.arange(40), 500), generator.random(20_000) < 0.05
    helps_M, noise_M = labels_M + generator.normal(size=20_000), generator.normal(size=20_000)
    assert pair_strength(helps_M, 0.6 * noise_M, labels_M, sources_M) == 1.0
    assert pair_strength(np.zeros(20_000), noise_M, labels_M, sources_M) == STRENGTHS[-1]
    assert pair_strength(helps_M, 0.15 * noise_M, labels_M, sources_M) in STRENGTHS[1:-1]


def test_a_misleading_channel_starts_at_zero() -> None:
    split = make_split()
    evidence = assemble_evidence(split, {"good": channel(split, 1.5, 1), "inverted": channel(split, -1.5, 2)})
    assert evidence.weight_K is not None
    assert evidence.weight_K[0] > 0.3
    assert evidence.weight_K[1] == 0


def test_degree_explains_what_it_can_only_where_it_is_known() -> None:
    """Evidence that is nothing but in-degree is redundant on random edges, and all there is for unseen targets."""
    weights = {}
    for kind in ("random", "unseen-target"):
        split = make_split(kind)
        degree_SG = np.tile(degree_logits(split)[1], (S, 1))
        evidence = assemble_evidence(split, {"degree": (np.arange(S), degree_SG, degree_SG)})
        assert evidence.means is not None
        assert evidence.weight_K is not None
        weights[kind] = float(evidence.means.weight_2K[1, 0])
        assert evidence.weight_K[0] == 0  # it is the same for every TF: no part of it is a pair's
    assert weights["unseen-target"] > weights["random"] + 0.2


def test_rows_may_differ_between_channels() -> None:
    split = make_split()
    sources_S, train_SG, full_SG = channel(split, 1.0, 1)
    some_S = np.array([17, 3, 8])  # in any order
    evidence = assemble_evidence(
        split, {"all": (sources_S, train_SG, full_SG), "some": (some_S, train_SG[some_S], full_SG[some_S])}
    )
    assert evidence.names == ("all", "some")
    np.testing.assert_array_equal(evidence.sources_S, sources_S)
    np.testing.assert_array_equal(np.flatnonzero(np.abs(evidence.train_KSG[1]).max(1)), [3, 8, 17])
    alone = assemble_evidence(split, {"some": (np.sort(some_S), train_SG[np.sort(some_S)], full_SG[np.sort(some_S)])})
    np.testing.assert_allclose(evidence.train_KSG[1][[3, 8, 17]], alone.train_KSG[0], atol=1e-6)
    np.testing.assert_allclose(evidence.full_KSG[1][[3, 8, 17]], alone.full_KSG[0], atol=1e-6)


def test_constant_channel_says_nothing() -> None:
    split = make_split()
    ones_SG = np.full((S, G), 1e6)
    evidence = assemble_evidence(split, {"constant": (np.arange(S), ones_SG, ones_SG * 2)})
    assert not evidence.train_KSG.any()
    assert not evidence.full_KSG.any()
    assert evidence.means is not None
    assert not evidence.means.full_target_KG.any()
    assert not evidence.means.full_source_KS.any()


def test_no_channels_and_no_fit() -> None:
    split = make_split()
    evidence = assemble_evidence(split, {})
    assert evidence.train_KSG.shape == (0, S, G)
    assert evidence.weight_K is None
    assert assemble_evidence(split, {"a": channel(split, 1.0, 1)}, fit=False).weight_K is None


def test_bad_channels() -> None:
    split = make_split()
    sources_S, train_SG, full_SG = channel(split, 1.0, 1)
    with pytest.raises(ValueError, match="evidence 'a': full scores"):
        assemble_evidence(split, {"a": (sources_S, train_SG, full_SG[:, 1:])})
    with pytest.raises(ValueError, match="evidence 'a': train scores"):
        assemble_evidence(split, {"a": (sources_S, np.where(full_SG > 40, np.nan, train_SG), full_SG)})


def test_a_channel_that_knows_in_degrees_replaces_their_prior() -> None:
    """The prior of a training pair holds the pair itself, so next to it the fit would trust log-odds too little."""
    split = toy_split("unseen-tf")
    channels = fit_channels(["boosting_all"], split, toy_cells())
    both, alone = (
        assemble_evidence(split, channels, log_odds=["boosting_all"], target_prior=prior) for prior in (True, False)
    )
    assert both.target_logit_G.std() > 0
    assert (alone.target_logit_G == 0).all()
    assert alone.weight_K is not None
    assert both.weight_K is not None
    assert alone.weight_K[0] > both.weight_K[0]


@pytest.mark.parametrize(
    ("name", "has_prior"), [("boosting_all", False), ("boosting_gene", True), ("target_knn", True)]
)
def test_evidence_of_a_run_has_one_account_of_in_degrees(name: str, has_prior: bool) -> None:
    evidence = build_evidence((name,), toy_split("unseen-tf"), toy_cells())
    assert bool(evidence.target_logit_G.any()) == has_prior
