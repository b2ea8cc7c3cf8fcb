"""Evidence from controls: standardised by training alone, weights of a logistic fit, priors for new genes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from grn_cotrain.controls.pair_evidence import assemble_evidence, degree_logits
from grn_cotrain.data.edge_split import EdgeSplit

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


def test_standardised_over_training_candidates_and_both_fits_alike() -> None:
    split = make_split("unseen-target", targets=45)
    evidence = assemble_evidence(split, {"a": channel(split, 1.0, 1)})
    pairs = split.pairs("train")
    seen_M = evidence.train_KSG[0][pairs.pairs_2M[0], pairs.pairs_2M[1]]
    assert seen_M.mean() == pytest.approx(0, abs=1e-5)
    assert seen_M.std() == pytest.approx(1, abs=1e-5)
    shift_SG = evidence.full_KSG[0] - evidence.train_KSG[0]
    np.testing.assert_allclose(shift_SG, shift_SG[0, 0], atol=1e-5)
    assert shift_SG[0, 0] > 0


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
    channels = {"strong": channel(split, 1.5, 1), "weak": channel(split, 0.5, 2)}
    evidence = assemble_evidence(split, channels)
    pairs = split.pairs("train")
    features_MK = evidence.train_KSG[:, pairs.pairs_2M[0], pairs.pairs_2M[1]].T
    reference = LogisticRegression(class_weight="balanced", C=1e6, tol=1e-8).fit(features_MK, pairs.labels_M)
    assert evidence.weight_K is not None
    np.testing.assert_allclose(evidence.weight_K, reference.coef_[0], rtol=0.05)
    assert evidence.weight_K[0] > evidence.weight_K[1] > 0


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
        assert evidence.weight_K is not None
        weights[kind] = float(evidence.weight_K[0])
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
    assert np.corrcoef(evidence.train_KSG[1, 17], train_SG[17])[0, 1] == pytest.approx(1)


def test_constant_channel_says_nothing() -> None:
    split = make_split()
    ones_SG = np.full((S, G), 1e6)
    evidence = assemble_evidence(split, {"constant": (np.arange(S), ones_SG, ones_SG * 2)})
    assert not evidence.train_KSG.any()
    assert not evidence.full_KSG.any()


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
