"""The link table end to end on a small network: rows, folds, cache, files, leaks, print."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.pairs import pair_keys
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.bootstrap import beats
from grn_cotrain.evaluate.control_cache import ControlCache
from grn_cotrain.evaluate.link_table import COLUMNS, LinkTable
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.metrics import links as metrics
from tests.cases.toy_links import toy_cells, toy_split, toy_splits

CONTROLS = "random,target_degree,degree_product,additive_logistic,pearson"


class Model:
    """Knows the test edges up to some noise; ``strength`` says how well."""

    def __init__(self, strength: float = 2.0, seed: int = 0, name: str = "model") -> None:
        self.strength, self.seed, self.name = strength, seed, name

    def fit(self, split, cells) -> Self:  # type: ignore[no-untyped-def]
        self.truth = np.sort(pair_keys(split.test_2E, split.num_genes))
        self.num_genes = split.num_genes
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(self.seed).normal(size=pairs_2M.shape[1])
        return self.strength * np.isin(pair_keys(pairs_2M, self.num_genes), self.truth) + noise


class Calibrated(Model):
    kind = "ablation"

    def probability(self, scores: np.ndarray, pairs_2M: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-scores + 3))


def table(kind: str = "random", *, strength: float = 2.0, **options) -> LinkTable:  # type: ignore[no-untyped-def]
    scorers = [Model(strength), Calibrated(0.0, name="ablated"), *parse_controls(CONTROLS)]
    return evaluate_links(toy_splits(kind), scorers, toy_cells(), bootstrap=60, **options)


@pytest.fixture(scope="module")
def random_table() -> LinkTable:
    return table(seed=5, recipe_hash="r", commit="c")


def text_of(link_table: LinkTable, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    link_table.render(Console(file=stream, force_terminal=terminal, width=200))
    return stream.getvalue()


def test_rows_and_columns(random_table: LinkTable) -> None:
    frame = random_table.frame
    assert list(frame.columns) == list(COLUMNS)
    assert not frame.duplicated(["split", "scorer", "metric", "candidates"]).any()
    assert set(frame["kind"]) == {"model", "ablation", "control"}
    assert set(frame["seed"]) == {5}
    assert set(frame["recipe_hash"]) == {"r"}
    assert set(frame["candidates"]) == {"all", "matched", "known_regulator"}
    assert set(frame["split_hash"]) == {toy_split().content_hash}
    bounded = frame.dropna(subset=["low"])
    assert len(bounded) > 0.9 * len(frame)
    assert (bounded["low"] <= bounded["high"]).all()
    assert list(frame.loc[frame["metric"] == "brier", "scorer"].unique()) == ["ablated"]


def test_values_are_those_of_the_metrics(random_table: LinkTable) -> None:
    split = toy_split()
    test = split.pairs("test")
    (control,) = parse_controls("target_degree")
    scores = control.fit(split, None).score(test.pairs_2M)
    values = random_table.frame["value"]
    assert values[random_table.row("target_degree", "auroc")] == metrics.auroc(scores, test.labels_M)
    expected = metrics.per_tf(scores, test.labels_M, test.pairs_2M[0])
    row = random_table.row("target_degree", "macro_auroc")
    assert values[row] == pytest.approx(expected.macro_auroc)
    assert random_table.frame["num_tfs"][row] == expected.num_tfs
    known = np.isin(test.pairs_2M[1], split.all_positives()[1])
    row = random_table.row("target_degree", "auroc", candidates="known_regulator")
    assert values[row] == metrics.auroc(scores[known], test.labels_M[known])
    matched = split.matched_pairs("test", 0)
    row = random_table.row("target_degree", "auroc", candidates="matched")
    assert values[row] == metrics.auroc(control.score(matched.pairs_2M), matched.labels_M)
    assert values[row] == pytest.approx(0.5, abs=0.06)


def test_folds_pool_tfs_and_average_lists() -> None:
    folded = table("unseen-tf")
    frame = folded.frame
    assert folded.headline_split == "unseen-tf-visible-seed0-5folds"
    assert frame["split"].nunique() == 6
    for metric, weighted in (("macro_auroc", True), ("auroc", False)):
        for scorer in ("model", "target_degree"):
            rows = frame[(frame["metric"] == metric) & (frame["candidates"] == "all") & (frame["scorer"] == scorer)]
            folds = rows[rows["split"] != folded.headline_split].dropna(subset="value")
            pooled = rows[rows["split"] == folded.headline_split].iloc[0]
            weights = folds["num_tfs"] if weighted else None
            assert pooled["value"] == pytest.approx(np.average(folds["value"], weights=weights))
            assert pooled["num_tfs"] == folds["num_tfs"].sum()
    assert len(folded.audits) == 5


def test_models_may_differ_between_folds() -> None:
    def scorers(split):  # type: ignore[no-untyped-def]
        extra = [Model(0.0, name="late")] if split.fold == 0 else []
        return [Model(2.0 if split.fold == 0 else 0.0), *extra]

    folded = evaluate_links(toy_splits("unseen-tf"), scorers, None, bootstrap=0)
    values = folded.frame[(folded.frame["metric"] == "auroc") & (folded.frame["scorer"] == "model")]
    by_split = values[values["candidates"] == "all"].set_index("split")["value"]
    assert by_split["unseen-tf-visible-seed0-fold0"] > 0.8
    assert by_split.drop(["unseen-tf-visible-seed0-fold0", folded.headline_split]).max() < 0.75
    assert any("late was not scored on every fold" in note for note in folded.notes)


def test_unseen_genes_are_resampled_too() -> None:
    one_way, two_way = table("random"), table("unseen-target")
    assert (one_way.two_way, two_way.two_way) == (False, True)
    assert "TFs x held-out genes" in text_of(two_way)
    value = two_way.frame["value"][two_way.row("target_degree", "macro_auroc")]
    assert value == pytest.approx(0.5)  # hidden targets all have the prior mean


def test_difference_to_best_control(random_table: LinkTable) -> None:
    best = random_table.best_control()
    frame = random_table.frame
    controls = frame[(frame["metric"] == "macro_auroc") & (frame["candidates"] == "all") & (frame["kind"] == "control")]
    assert best == controls.sort_values("value")["scorer"].iloc[-1]
    difference = random_table.difference_to_best_control().set_index("scorer")
    assert set(difference.index) == {"model", "ablated"}
    assert difference.loc["model", "low"] > 0
    assert difference.loc["ablated", "high"] < 0
    rows = [random_table.row(scorer, "macro_auroc") for scorer in ("model", best)]
    assert difference.loc["model", "value"] == pytest.approx(frame["value"][rows[0]] - frame["value"][rows[1]])


def test_beats_between_runs() -> None:
    def runs(strength: float) -> list[LinkTable]:
        return [
            evaluate_links(toy_split(), [Model(strength, seed)], None, bootstrap=100, seed=seed) for seed in range(3)
        ]

    strong, weak = ([run.result("model", "macro_auroc") for run in runs(strength)] for strength in (2.0, 0.5))
    assert beats(strong, weak)
    assert not beats(weak, strong)
    other = evaluate_links(toy_split(seed=1), [Model()], None, bootstrap=100, seed=0).result("model", "macro_auroc")
    with pytest.raises(UserError, match="resampled"):
        beats([other, *strong[1:]], weak)


def test_files_round_trip(random_table: LinkTable, tmp_path: Path) -> None:
    random_table.write(tmp_path / "links")
    assert sorted(p.name for p in (tmp_path / "links").iterdir()) == [
        "links.json",
        "links.parquet",
        "links_curves.parquet",
        "links_per_tf.parquet",
        "links_replicates.npz",
    ]
    again = LinkTable.read(tmp_path / "links")
    pd.testing.assert_frame_equal(again.frame, random_table.frame, check_dtype=False)
    np.testing.assert_array_equal(again.replicates_LB, random_table.replicates_LB)
    for name in ("per_tf", "curves"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(random_table, name), check_dtype=False)
    assert text_of(again) == text_of(random_table)
    stored = json.loads((tmp_path / "links" / "links.json").read_text())
    assert set(stored["rows"][0]) == set(COLUMNS)
    assert len(stored["rows"]) == len(random_table.frame)
    assert stored["reliability"]
    (tmp_path / "links" / "links.parquet").write_text("damaged")
    with pytest.raises(UserError, match="evaluate the run again"):
        LinkTable.read(tmp_path / "links")


def test_print_is_plain_where_there_is_no_terminal(random_table: LinkTable) -> None:
    plain, rich = text_of(random_table), text_of(random_table, terminal=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in rich
    for said in ("audit of random-seed0", "prevalence", "macro AUROC", "model - ", "genes with a known regulator only"):
        assert said in plain, said
    body = plain.splitlines()
    assert body[2].startswith("model (model)")  # models first
    assert sum(line.count("*") for line in body[2:9]) >= 5  # one best control a column
    assert "support no claim" not in plain  # 20 TFs


def test_few_tfs_are_said_to_support_no_claim() -> None:
    split = toy_split()
    few = np.unique(split.test_2E[0])[:4]
    small = dataclasses.replace(
        split, test_2E=split.test_2E[:, np.isin(split.test_2E[0], few)],
        withheld_2E=split.test_2E[:, ~np.isin(split.test_2E[0], few)], test_sources_S=few,
    )  # fmt: skip
    printed = text_of(evaluate_links(small, parse_controls("random"), None, bootstrap=10))
    assert "only 4 TFs" in printed
    assert "support no claim" in printed


def test_controls_come_from_the_cache_and_damage_is_said(tmp_path: Path) -> None:
    first = table(cache=ControlCache(tmp_path))
    again = table(cache=ControlCache(tmp_path))
    pd.testing.assert_frame_equal(
        first.frame[first.frame["kind"] == "control"], again.frame[again.frame["kind"] == "control"]
    )
    next(tmp_path.rglob("pearson-*.npz")).write_text("damaged")
    damaged = table(cache=ControlCache(tmp_path))
    assert any("computed again" in note and "pearson" in note for note in damaged.notes)
    np.testing.assert_array_equal(damaged.frame["value"], first.frame["value"])


def test_without_cells_expression_controls_are_named() -> None:
    found = evaluate_links(toy_split(), parse_controls("pearson,random"), None, bootstrap=0)
    assert set(found.frame["scorer"]) == {"random"}
    assert any("pearson needs cells" in note for note in found.notes)
    assert found.frame["low"].isna().all()


def test_a_leaking_split_is_refused() -> None:
    split = toy_split()
    leaking = dataclasses.replace(split, train_2E=np.concatenate([split.train_2E, split.test_2E[:, :5]], axis=1))
    with pytest.raises(UserError, match="leak"):
        evaluate_links(leaking, parse_controls("random"), None)
    with pytest.raises(UserError, match="leak"):
        evaluate_links(split, parse_controls("random"), None, message_2E=split.test_2E)


def test_bad_scorers_are_refused() -> None:
    class NotFinite(Model):
        def score(self, pairs_2M: np.ndarray) -> np.ndarray:
            return np.full(pairs_2M.shape[1], np.nan)

    class Short(Model):
        def score(self, pairs_2M: np.ndarray) -> np.ndarray:
            return np.zeros(3)

    for scorers, said in (
        ([NotFinite()], "not finite"),
        ([Short()], "scores for"),
        ([Model(), Model()], "given twice"),
        ([], "none can be scored"),
    ):
        with pytest.raises(UserError, match=said):
            evaluate_links(toy_split(), scorers, None, bootstrap=0)
