"""Attention as a link scorer: a planted network is found, popularity is not, and another split's run is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.attention import cell_groups
from grn_cotrain.evaluate.attention_scorer import AttentionReadOut, AttentionScorer, split_sources
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.jobs.attention import AttentionConfig
from grn_cotrain.metrics.links import auroc
from grn_cotrain.train.build import build_model
from tests.cases.attention import PlantedModel
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_grn, toy_split

HASH = toy_split().content_hash


def network(order_G: np.ndarray | None = None) -> PlantedModel:
    """Every target reads its regulators; ``order_G`` renames the genes."""
    edge_GG = np.full((NUM_GENES, NUM_GENES), 0.001)
    source_E, target_E = toy_grn().pairs_2E
    edge_GG[target_E, source_E] = 1.0
    if order_G is not None:
        edge_GG = edge_GG[np.ix_(order_G, order_G)]

    def weigh(readers: np.ndarray, read: np.ndarray, cell: int) -> np.ndarray:
        found = edge_GG[np.ix_(readers, read)]
        return found / found.sum(axis=1, keepdims=True)

    return PlantedModel(weigh)


def scorer(model: PlantedModel, *, corrected: bool = False, **options) -> AttentionScorer:  # type: ignore[no-untyped-def]
    (group,), _ = cell_groups(toy_cells(), None, max_cells=None)
    return AttentionScorer(
        AttentionReadOut(model, toy_cells(), group, AttentionConfig(**options)), HASH, corrected=corrected
    )


def area(model: PlantedModel, *, corrected: bool = False, **options) -> float:  # type: ignore[no-untyped-def]
    split = toy_split()
    test = split.pairs("test")
    scores_M = scorer(model, corrected=corrected, **options).fit(split, None).score(test.pairs_2M)
    together_M = (test.pairs_2M != 33).all(axis=0)  # gene 33 is seen in no cell
    return auroc(scores_M[together_M], test.labels_M[together_M])


def areas(table: LinkTable) -> pd.Series:
    frame = table.frame[(table.frame["metric"] == "auroc") & (table.frame["candidates"] == "all")]
    return frame.set_index("scorer")["value"]


@pytest.mark.parametrize("corrected", [False, True])
def test_a_planted_network_is_found_whole_and_a_shuffled_one_is_not(corrected: bool) -> None:
    assert area(network(), corrected=corrected, rank_normalised=False) > 0.999
    shuffled = [area(network(np.random.default_rng(s).permutation(NUM_GENES)), corrected=corrected) for s in range(8)]
    assert abs(np.mean(shuffled) - 0.5) < 0.06
    backwards = area(network(), corrected=corrected, direction="tf_reads_target")
    assert backwards < 0.75  # the network is directed, and so is the score


def test_popularity_scores_nothing_once_it_is_corrected() -> None:
    degree_G = np.bincount(toy_split().test_2E[0], minlength=NUM_GENES) + 0.1
    model = PlantedModel(lambda readers, read, cell: np.broadcast_to(degree_G[read], (len(readers), len(read))))
    raw, corrected = area(model), area(model, corrected=True)
    assert raw > 0.55
    assert corrected == 0.5  # not even rounding is left


def test_what_is_never_seen_together_is_counted_and_named() -> None:
    split, attention = toy_split(), scorer(network())
    pairs_2M = split.pairs("test").pairs_2M
    attention.fit(split, None).score(pairs_2M)
    never = int((pairs_2M == 33).any(axis=0).sum())
    assert never > 0
    assert attention.num_unseen == never
    (note,) = attention.notes
    assert f"{never:,} of {pairs_2M.shape[1]:,} pairs" in note
    assert "60 of 60 cells (all cells)" in note


def test_another_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"split 'unseen-tf.*was trained on split"):
        scorer(network()).fit(toy_split("unseen-tf"), None)
    free = scorer(network())
    free.split_hash = None  # an untrained encoder has seen no split
    free.fit(toy_split("unseen-tf"), None)


def test_raw_and_corrected_share_one_reading() -> None:
    read = []
    model = network()
    plain = model.cell_attention
    model.cell_attention = lambda *args, **kwargs: (read.append(1), plain(*args, **kwargs))[1]  # type: ignore[method-assign]
    raw = scorer(model)
    corrected = AttentionScorer(raw.read_out, HASH, corrected=True)
    pairs_2M = toy_split().pairs("test").pairs_2M
    first = raw.fit(toy_split(), None).score(pairs_2M)
    before = len(read)
    second = corrected.fit(toy_split(), None).score(pairs_2M)
    assert len(read) == before
    assert not np.allclose(first, second)


def test_rows_stand_in_one_table_with_controls() -> None:
    split = toy_split()
    table = evaluate_links(split, [scorer(network()), *parse_controls("random,pearson")], toy_cells(), bootstrap=20)
    frame = table.frame[table.frame["candidates"] == "all"]
    rows = frame[frame["metric"] == "macro_auroc"].set_index("scorer")
    assert rows.loc["attention", "kind"] == "read-out"
    assert rows.loc["attention", "value"] > rows.loc["pearson", "value"]
    assert any("have the expected weight" in note for note in table.notes)
    assert table.best_control() in ("random", "pearson")


def test_sources_are_all_that_a_split_names() -> None:
    split = toy_split("unseen-tf")
    sources = split_sources(split)
    assert np.isin(np.unique(split.test_2E[0]), sources).all()
    assert len(np.unique(pair_keys(split.test_2E, NUM_GENES))) == split.test_2E.shape[1]


def test_a_run_and_its_untrained_self(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    table = evaluate_run(
        run,
        controls="random",
        bootstrap=0,
        out=tmp_path / "out",
        read_outs=[AttentionConfig(max_cells=40)],
        initial=build_model,
    )
    kinds = dict(table.frame[["scorer", "kind"]].drop_duplicates().itertuples(index=False, name=None))
    assert kinds == {
        "joint": "model",
        "attention": "read-out",
        "attention corrected": "read-out",
        "untrained attention": "control",
        "untrained attention corrected": "control",
        "random": "control",
    }
    values = areas(table)
    assert values["attention"] != values["untrained attention"]
    again = evaluate_run(
        run, controls="random", bootstrap=0, out=tmp_path / "out", read_outs=[AttentionConfig(max_cells=40)]
    )
    repeated = areas(again)
    assert "untrained attention" not in repeated
    assert repeated["attention"] == values["attention"]
