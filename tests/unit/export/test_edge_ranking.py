"""Orders of a TF's targets: the gate and the sum of ranks by hand, and what an export reports about its lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from grn_cotrain.apply import OpenRun
from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.export.edge_ranking import PairScores, ScoreTable, list_overlap
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.known_edges import known_edges
from grn_cotrain.export.predicted_edges import PredictedEdges
from grn_cotrain.nn.link_decoders import LINK_DECODERS

N = 40


def quiet(line: str) -> None:
    del line


def test_the_gate_holds_the_best_twentieth_and_takes_half_of_a_targets_mean_away() -> None:
    score_SN = np.arange(N, dtype=float)[None]
    table = ScoreTable(np.where(np.arange(N) == N - 1, 10.0, 0.0), 0.5, 0.1)
    allowed_SN = np.ones((1, N), dtype=bool)
    order = np.argsort(-table.keys(score_SN, allowed_SN, None, np.arange(N))[0])
    # Two of forty are in the gate; the popular one falls behind the other, and no further.
    np.testing.assert_array_equal(order, [N - 2, N - 1, *range(N - 3, -1, -1)])
    allowed_SN[0, N - 2] = False
    keys_N = table.keys(score_SN, allowed_SN, None, np.arange(N))[0]
    np.testing.assert_array_equal(np.argsort(-keys_N)[:2], [N - 3, N - 1])
    assert keys_N[N - 2] == -np.inf


def test_the_sum_of_ranks_is_taken_where_lists_overlap() -> None:
    generator = np.random.default_rng(0)
    score_SN, evidence_SN = generator.normal(size=(2, 3, N))
    allowed_SN = np.ones((3, N), dtype=bool)
    keys_SN = ScoreTable(np.zeros(N), 0.5, 0.5).keys(score_SN, allowed_SN, evidence_SN, np.arange(N))
    for row in range(3):
        rank_2N = [np.argsort(np.argsort(values)) + 0.5 for values in (score_SN[row], evidence_SN[row])]
        expected_N = sum(-np.log1p(-rank_N / (N + 1)) for rank_N in rank_2N)
        np.testing.assert_allclose(keys_SN[row], expected_N)
    gate_SN = ScoreTable(np.zeros(N), 0.5, 0.3).keys(score_SN, allowed_SN, evidence_SN, np.arange(N))
    assert (gate_SN[gate_SN < 0] < -1e5).any()


def test_overlap_of_lists() -> None:
    assert list_overlap(np.array([[0, 0, 1, 1], [5, 6, 5, 6]]), 9) == 1
    assert list_overlap(np.array([[0, 0, 1, 1], [5, 6, 5, 7]]), 9) == 0.5
    assert list_overlap(np.array([[0, 0, 1, 1], [5, 6, 7, 8]]), 9) == 0
    assert np.isnan(list_overlap(np.array([[0, 0], [5, 6]]), 9))


def test_facts_about_all_scores(tiny_run: Path) -> None:
    opened = OpenRun.of(tiny_run)
    known, _ = known_edges(opened)
    sources_T, targets_N = known.sources_S, np.arange(known.num_genes)
    table = ScoreTable.of(PairScores(opened.model, opened.encoder.genes.linked_GD), sources_T, targets_N, known.new)
    grid = np.broadcast_arrays(sources_T[:, None], targets_N[None, :])
    score_TN = ModelScorer(opened).score(np.stack(grid).reshape(2, -1)).reshape(grid[0].shape)
    np.testing.assert_allclose(table.target_mean_G, score_TN.mean(0), rtol=1e-5, atol=1e-5)
    left_TN = score_TN - score_TN.mean(1, keepdims=True) - score_TN.mean(0) + score_TN.mean()
    assert table.pair_share == pytest.approx((left_TN**2).mean() / score_TN.var(), rel=1e-3, abs=1e-6)


def test_new_edges_are_ranked_by_what_is_specific(tiny_run: Path) -> None:
    default = predict_edges(tiny_run, known="drop", top_per_tf=5, say=quiet)
    assert default.rank_by == "specific"
    assert default.provenance()["rank_by"] == "specific"
    by_score = predict_edges(tiny_run, known="drop", top_per_tf=5, rank_by="score", say=quiet)
    assert predict_edges(tiny_run, top_per_tf=5, say=quiet).rank_by == by_score.rank_by == "score"
    assert predict_edges(tiny_run, known="only", say=quiet).rank_by == "score"
    frame = default.frame
    assert (frame["known"] == "").all()
    assert frame.groupby("source").size().max() == 5
    # A score stays the model's own, and so does its probability, whatever the order.
    again = by_score.frame.set_index(["source", "target"])
    for row in frame.itertuples():
        if (row.source, row.target) in again.index:
            other = again.loc[(row.source, row.target)]
            assert row.score == pytest.approx(other["score"], abs=1e-5)
            assert row.target_mean == pytest.approx(other["target_mean"])
    counts = frame["target"].value_counts()
    assert (frame["shared_by"] == frame["target"].map(counts)).all()
    assert default.overlap == pytest.approx(
        float((counts * (counts - 1)).sum() / (len(frame) * (frame["source"].nunique() - 1)))
    )


def test_tfs_that_were_not_asked_for_do_not_change_the_order(tiny_run: Path) -> None:
    every = predict_edges(tiny_run, known="drop", top_per_tf=5, say=quiet).frame
    tf = every["source"].iloc[0]
    alone = predict_edges(tiny_run, known="drop", top_per_tf=5, tfs=[tf], say=quiet).frame
    assert list(alone["target"]) == list(every.loc[every["source"] == tf, "target"])


@pytest.mark.parametrize(
    ("overlap", "share", "lines"),
    [
        (0.84, 0.002, ["on average a target is in 84 % of the other lists", "the pairs explain 0.2 %"]),
        (0.2, 0.05, []),
        (float("nan"), None, []),
    ],
)
def test_warnings(tiny_run: Path, overlap: float, share: float | None, lines: list[str]) -> None:
    edges: PredictedEdges = predict_edges(tiny_run, known="drop", top_per_tf=5, say=quiet)
    found = replace(edges, overlap=overlap, pair_share=share).warnings()
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert expected in line
    if found:
        assert f"{len(edges):,} new edges are {edges.frame['target'].nunique():,} targets" in found[0]


def test_channels_without_weight_still_order_a_list() -> None:
    """Where no channel has a weight, the sum of ranks reads the channels alike, not a table of zeros."""
    decoder = LINK_DECODERS.build("residual", {"evidence": ["kernel_ridge"]}, width=4, num_genes=6)
    shape = (1, 2, 6)
    part_KSG = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    evidence = PairEvidence(
        names=("kernel_ridge",), sources_S=np.array([0, 1]), train_KSG=part_KSG, full_KSG=part_KSG,
        source_logit_G=np.zeros(6), target_logit_G=np.zeros(6), weight_K=np.zeros(1),
    )  # fmt: skip
    decoder.prepare(evidence)
    decoder.eval()
    scores = PairScores(SimpleNamespace(link_decoder=decoder), torch.zeros(6, 4))  # type: ignore[arg-type]
    np.testing.assert_allclose(scores.evidence(np.array([0, 1]), np.arange(6)), part_KSG[0])
    decoder.evidence_weight_K.data.fill_(2.0)
    np.testing.assert_allclose(scores.evidence(np.array([0, 1]), np.arange(6)), 2 * part_KSG[0], rtol=1e-6)
