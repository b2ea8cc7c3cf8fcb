"""The residual decoder starts at its control, leans on nothing a new gene lacks, and can't escape its penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from grn_cotrain.nn.link_decoders.residual import ResidualDecoder
from tests.cases.link_decoders import NUM_GENES, WIDTH, make_evidence, make_means

NAMES = ("kernel_ridge", "knn_family")
ALL_S = torch.arange(NUM_GENES)


def build(evidence: PairEvidence | None = None, **options: object) -> ResidualDecoder:
    torch.manual_seed(0)
    decoder = LINK_DECODERS.build("residual", options, width=WIDTH, num_genes=NUM_GENES)
    assert isinstance(decoder, ResidualDecoder)
    decoder.prepare(evidence or make_evidence(NAMES))
    return decoder


def closed_form(evidence: PairEvidence, values_KSG: np.ndarray, weight_K: np.ndarray) -> np.ndarray:
    """Biases + weighted evidence, entry by entry."""
    source = evidence.source_logit_G - evidence.source_logit_G[evidence.sources_S].mean()
    target = evidence.target_logit_G - evidence.target_logit_G.mean()
    logits_GG = np.zeros((NUM_GENES, NUM_GENES))
    for s in range(NUM_GENES):
        for t in range(NUM_GENES):
            logits_GG[s, t] = source[s] + target[t]
            for row in np.flatnonzero(evidence.sources_S == s):
                logits_GG[s, t] += sum(weight_K[k] * values_KSG[k, row, t] for k in range(len(weight_K)))
    return logits_GG


@pytest.mark.parametrize("kind", ["bilinear", "distmult", "inner", "mlp"])
def test_starts_exactly_at_the_control(kind: str) -> None:
    evidence = make_evidence(NAMES)
    decoder = build(evidence, residual=kind)
    for training, values_KSG in ((True, evidence.train_KSG), (False, evidence.full_KSG)):
        decoder.train(training)
        expected_GG = closed_form(evidence, values_KSG, np.array([0.5, 0.5]))
        first_GG = decoder.block(torch.randn(NUM_GENES, WIDTH), ALL_S)
        np.testing.assert_allclose(first_GG.detach().numpy(), expected_GG, rtol=1e-5, atol=1e-5)
        # To the bit, whatever the gene rows are: the residual adds an exact zero.
        assert torch.equal(first_GG, decoder.block(100 * torch.randn(NUM_GENES, WIDTH), ALL_S))


def test_residual_learns_from_its_zero_start() -> None:
    decoder = build()
    decoder.block(torch.randn(NUM_GENES, WIDTH), ALL_S).sum().backward()
    grad = decoder.residual.last_layer().grad
    assert grad is not None
    assert grad.abs().sum() > 0


def test_fitted_weights_replace_the_configured_start() -> None:
    evidence = make_evidence(NAMES, weight_K=np.array([0.7, 0.0]))
    decoder = build(evidence).eval()
    expected_GG = closed_form(evidence, evidence.full_KSG, np.array([0.7, 0.0]))
    logits_GG = decoder.block(torch.randn(NUM_GENES, WIDTH), ALL_S).detach().numpy()
    np.testing.assert_allclose(logits_GG, expected_GG, rtol=1e-5, atol=1e-5)


def test_each_part_of_a_channel_has_its_own_weight() -> None:
    means = make_means(2)
    evidence = make_evidence(NAMES, weight_K=np.array([0.7, 0.2]), means=means)
    decoder = build(evidence)
    genes_GD = torch.randn(NUM_GENES, WIDTH)
    for training, values_KSG, source_KS, target_KG in (
        (True, evidence.train_KSG, means.train_source_KS, means.train_target_KG),
        (False, evidence.full_KSG, means.full_source_KS, means.full_target_KG),
    ):
        decoder.train(training)
        expected_GG = closed_form(evidence, values_KSG, np.array([0.7, 0.2])) + means.weight_2K[1] @ target_KG
        expected_GG[evidence.sources_S] += (means.weight_2K[0] @ source_KS)[:, None]
        logits_GG = decoder.block(genes_GD, ALL_S).detach()
        np.testing.assert_allclose(logits_GG.numpy(), expected_GG, rtol=1e-5, atol=1e-5)
        pairs_2M = torch.cartesian_prod(ALL_S, ALL_S).T
        torch.testing.assert_close(decoder(genes_GD, pairs_2M).view(NUM_GENES, -1), logits_GG)
        parts_KM = decoder.channel_parts(pairs_2M).view(2, NUM_GENES, NUM_GENES)
        np.testing.assert_allclose(parts_KM[:, evidence.sources_S].numpy(), [[[0.7]], [[0.2]]] * values_KSG, rtol=1e-5)


def test_fitted_weights_of_parts_are_not_trained_and_those_of_whole_scores_are() -> None:
    """A ranking loss takes from the pair's part what distinguishes one TF's targets from another's."""
    weight_K = np.array([0.7, 0.2])
    for means, trained in ((make_means(2), False), (None, True)):
        decoder = build(make_evidence(NAMES, weight_K=weight_K, means=means))
        assert decoder.evidence_weight_K.requires_grad == trained


def test_weights_of_version_0_1_have_no_means() -> None:
    evidence = make_evidence(NAMES, weight_K=np.array([0.7, -0.2]))
    decoder, again = build(evidence).eval(), build(evidence).eval()
    state = decoder.state_dict()
    del state["mean_weight_2K"]
    again.load_state_dict(state)
    genes_GD = torch.randn(NUM_GENES, WIDTH)
    assert torch.equal(decoder.block(genes_GD, ALL_S), again.block(genes_GD, ALL_S))


@pytest.mark.parametrize(
    ("held_out", "source_moves", "target_moves"),
    [("none", True, True), ("source", False, True), ("target", True, False), ("both", False, False)],
)
def test_held_out_sides_have_no_bias(held_out: str, source_moves: bool, target_moves: bool) -> None:
    evidence = make_evidence(NAMES, held_out=held_out)
    decoder = build(evidence, evidence_weight=0.0, bias_l2=0.03)
    genes_GD = torch.randn(NUM_GENES, WIDTH)
    start_GG = decoder.block(genes_GD, ALL_S)
    assert bool(start_GG.std(0).max() > 1e-3) == source_moves
    assert bool(start_GG.std(1).max() > 1e-3) == target_moves
    with torch.no_grad():
        decoder.source_deviation_G.add_(torch.arange(NUM_GENES))
        decoder.target_deviation_G.add_(torch.arange(NUM_GENES))
    moved_GG = decoder.block(genes_GD, ALL_S)
    assert (not torch.equal(start_GG, moved_GG)) == (source_moves or target_moves)
    assert bool(moved_GG.std(0).max() > 1e-3) == source_moves
    free = source_moves + target_moves  # what can't act is not penalised either
    expected = 0.03 * free * float(torch.arange(NUM_GENES).square().float().mean())
    assert float(decoder.regulariser().detach()) == pytest.approx(expected, rel=1e-5)


def test_penalty_counts_the_last_layer() -> None:
    decoder = build(residual_l2=0.5, bias_l2=0.0)
    assert float(decoder.regulariser().detach()) == 0.0
    with torch.no_grad():
        decoder.residual.last_layer().fill_(2.0)
    assert float(decoder.regulariser().detach()) == pytest.approx(0.5 * 4 * WIDTH * WIDTH)


def test_default_penalty_is_stronger_where_the_residual_makes_its_own_features() -> None:
    penalties = {}
    for kind in ("bilinear", "mlp"):
        decoder = build(residual=kind)
        with torch.no_grad():
            decoder.residual.last_layer().fill_(1.0)
        penalties[kind] = float(decoder.regulariser().detach()) / decoder.residual.last_layer().numel()
    assert penalties["mlp"] > 10 * penalties["bilinear"] > 0


@pytest.mark.parametrize("kind", ["bilinear", "distmult", "inner", "mlp"])
def test_residual_is_bounded_by_its_last_layer_however_large_the_rows(kind: str) -> None:
    decoder = build(residual=kind)
    torch.manual_seed(1)
    with torch.no_grad():
        decoder.residual.last_layer().copy_(torch.randn_like(decoder.residual.last_layer()))
    genes_GD = torch.randn(NUM_GENES, WIDTH)
    residual_GG = decoder.block(1e4 * genes_GD, ALL_S)
    decoder.residual.last_layer().data.zero_()
    residual_GG = residual_GG - decoder.block(genes_GD, ALL_S)
    torch.manual_seed(1)
    bound = torch.randn_like(decoder.residual.last_layer()).norm()
    assert residual_GG.abs().max() > 0.01
    assert residual_GG.abs().max() <= bound * (1 + 1e-4)


def test_evidence_is_not_in_the_weights_but_survives_as_arrays(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from safetensors.numpy import load_file, save_file

    weight_K = np.array([1.0, 2.0])
    for evidence in (
        make_evidence(NAMES),
        make_evidence(NAMES, held_out="target", weight_K=weight_K),
        make_evidence(NAMES, held_out="both", weight_K=weight_K, means=make_means(2)),
    ):
        save_file(evidence.to_arrays(), tmp_path / "evidence.safetensors")
        again = PairEvidence.from_arrays(load_file(tmp_path / "evidence.safetensors"), names=NAMES)
        decoder, reloaded = build(evidence).eval(), build(again).eval()
        assert not any("KSG" in key for key in decoder.state_dict())
        genes_GD = torch.randn(NUM_GENES, WIDTH)
        assert torch.equal(decoder.block(genes_GD, ALL_S), reloaded.block(genes_GD, ALL_S))
        assert again.held_out == evidence.held_out
        assert (again.weight_K is None) == (evidence.weight_K is None)


def test_autocast_leaves_the_evidence_in_float32() -> None:
    evidence = make_evidence(NAMES)
    decoder = build(evidence).eval()
    genes_GD = torch.randn(NUM_GENES, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_GG = decoder.block(genes_GD, ALL_S)
    expected_GG = closed_form(evidence, evidence.full_KSG, np.array([0.5, 0.5]))
    np.testing.assert_allclose(logits_GG.detach().numpy(), expected_GG, rtol=1e-5, atol=1e-5)


def test_used_before_prepare() -> None:
    decoder = LINK_DECODERS.build("residual", width=WIDTH, num_genes=NUM_GENES)
    with pytest.raises(RuntimeError, match="before prepare"):
        decoder.block(torch.randn(NUM_GENES, WIDTH), ALL_S)


def test_evidence_that_does_not_fit() -> None:
    decoder = LINK_DECODERS.build("residual", width=WIDTH, num_genes=NUM_GENES)
    with pytest.raises(ValueError, match="channels"):
        decoder.prepare(make_evidence(("knn_family", "kernel_ridge")))
    with pytest.raises(ValueError, match="13 genes"):
        decoder.prepare(make_evidence(NAMES, num_genes=13))
    good = make_evidence(NAMES)
    with pytest.raises(ValueError, match="full_KSG: shape"):
        replace(good, full_KSG=good.full_KSG[:1])
    broken = good.train_KSG.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="train_KSG: holds values that are not finite"):
        replace(good, train_KSG=broken)
    with pytest.raises(ValueError, match="held_out"):
        replace(good, held_out="sources")
    with pytest.raises(ValueError, match="weight_K"):
        replace(good, weight_K=np.ones(3))
    means = make_means(2)
    with pytest.raises(ValueError, match=r"full_target_KG: needs finite values of shape \(2, 11\)"):
        replace(good, means=replace(means, full_target_KG=means.full_target_KG[:, 1:]))


def test_bad_options() -> None:
    with pytest.raises(UserError, match="residual_l2: got -1"):
        LINK_DECODERS.config("residual", {"residual_l2": -1.0})
    with pytest.raises(UserError, match="name each channel once"):
        LINK_DECODERS.config("residual", {"evidence": ["knn_family", "knn_family"]})
    with pytest.raises(UserError, match="residual"):
        LINK_DECODERS.config("residual", {"residual": "bilinaer"})


def test_what_was_learned_counts_by_its_share_outside_training() -> None:
    evidence = make_evidence(NAMES)
    decoder, rows_GD = build(evidence), torch.randn(NUM_GENES, WIDTH)
    with torch.no_grad():
        decoder.residual.last_layer().normal_()
        decoder.source_deviation_G.normal_()
        decoder.target_deviation_G.normal_()
        decoder.eval()
        all_GG = decoder.block(rows_GD, ALL_S)
        decoder.share.fill_(0)
        none_GG = decoder.block(rows_GD, ALL_S)
        decoder.share.fill_(0.25)
        some_GG = decoder.block(rows_GD, ALL_S)
        np.testing.assert_allclose(none_GG, closed_form(evidence, evidence.full_KSG, np.array([0.5, 0.5])), atol=1e-5)
        np.testing.assert_allclose(some_GG, none_GG + 0.25 * (all_GG - none_GG), atol=1e-5)
        trained = decoder.train().block(rows_GD, ALL_S)
        decoder.share.fill_(1)
        assert torch.equal(trained, decoder.block(rows_GD, ALL_S))  # training sees all of it


def test_weights_without_a_share_have_all_of_it() -> None:
    decoder = build()
    weights = decoder.state_dict()
    del weights["learned_share"]
    decoder.share.fill_(0)
    decoder.load_state_dict(weights)
    assert decoder.share == 1
