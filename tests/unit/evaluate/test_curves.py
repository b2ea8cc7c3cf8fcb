"""Scores of single TFs and curves: against plain code, scikit-learn, and the table they stand beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from grn_cotrain.controls.select import parse_controls
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.curves import (
    CURVE_COLUMNS,
    MAX_POINTS,
    PER_TF_COLUMNS,
    Curve,
    mean_curve,
    merge_bins,
    pr_curve,
    roc_curve,
    scorer_curves,
    scores_of_tfs,
    thin,
)
from grn_cotrain.evaluate.link_files import CURVES_FILE, PER_TF_FILE, links_folder, read_curves, read_per_tf
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.metrics.blocks import rank_scores, tie_blocks
from grn_cotrain.metrics.links import reliability
from tests.cases.toy_links import toy_cells, toy_splits


def scored(seed: int, size: int, *, prevalence: float = 0.1, signal: float = 1.0, decimals: int | None = None):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    labels_M = rng.random(size) < prevalence
    labels_M[:2] = True, False
    scores_M = rng.normal(size=size) + signal * labels_M
    return (scores_M if decimals is None else scores_M.round(decimals)).astype(np.float32), labels_M


def blocks(scores_M: np.ndarray, labels_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = tie_blocks(rank_scores(scores_M), labels_M)
    return found.positive_K, found.negative_K


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_whole_curves_are_those_of_scikit_learn(decimals: int | None) -> None:
    scores_M, labels_M = scored(1, 400, decimals=decimals)
    roc = roc_curve(*blocks(scores_M, labels_M))
    false, true, _ = sk.roc_curve(labels_M, scores_M, drop_intermediate=False)
    np.testing.assert_allclose(np.interp(false, roc.x_V, roc.y_V)[-1], 1)
    assert roc.area == pytest.approx(sk.roc_auc_score(labels_M, scores_M))
    ours = {(round(x, 9), round(y, 9)) for x, y in zip(roc.x_V, roc.y_V, strict=True)}
    assert ours <= {(round(x, 9), round(y, 9)) for x, y in zip(false, true, strict=True)}

    pr = pr_curve(*blocks(scores_M, labels_M))
    precision, recall, _ = sk.precision_recall_curve(labels_M, scores_M)
    assert pr.area == pytest.approx(sk.average_precision_score(labels_M, scores_M))
    theirs = {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)}
    ends = {(round(x, 9), round(y, 9)) for x, y in zip(pr.x_V[1::2], pr.y_V[1::2], strict=True)}
    assert ends <= theirs
    assert pr.x_V[0] == 0
    assert pr.x_V[-1] == 1
    # n is what the threshold calls: precision is positives over it.
    np.testing.assert_allclose(pr.y_V[1::2] * pr.n_V[1::2], pr.x_V[1::2] * labels_M.sum())


@pytest.mark.parametrize("size", [3, 50, 3000, 40_000])
@pytest.mark.parametrize("prevalence", [0.004, 0.1, 0.5])
@pytest.mark.parametrize("decimals", [None, 1])
def test_thinning_keeps_ends_and_area(size: int, prevalence: float, decimals: int | None) -> None:
    scores_M, labels_M = scored(size, size, prevalence=prevalence, decimals=decimals)
    curves = scorer_curves(rank_scores(scores_M), labels_M)
    roc = curves.roc
    assert len(roc.x_V) <= MAX_POINTS
    assert len(curves.pr.x_V) <= MAX_POINTS
    assert (roc.x_V[0], roc.y_V[0], roc.x_V[-1], roc.y_V[-1]) == (0, 0, 1, 1)
    assert roc.area == pytest.approx(sk.roc_auc_score(labels_M, scores_M), abs=1e-3)
    assert curves.pr.area == pytest.approx(sk.average_precision_score(labels_M, scores_M), abs=3e-3)
    assert (np.diff(roc.x_V) >= 0).all()
    assert (np.diff(roc.y_V) >= 0).all()


@pytest.mark.parametrize("steps", [198, 396, 400])  # 198: a stair for each of the points between the ends
def test_thinned_points_lie_on_the_curve_and_a_regular_staircase_does_not_fool_it(steps: int) -> None:
    whole = roc_curve(np.tile([1.0, 0.0], steps), np.tile([0.0, 1.0], steps))
    thinned = thin(whole)
    assert len(thinned.x_V) == MAX_POINTS
    assert thinned.area == pytest.approx(whole.area, abs=1e-3)
    length = np.abs(np.diff(whole.x_V)) + np.abs(np.diff(whole.y_V))
    along = np.append(0, np.cumsum(length))
    at = thinned.x_V + thinned.y_V  # on a monotone staircase the way along it is x + y
    np.testing.assert_allclose(np.interp(at, along, whole.x_V), thinned.x_V, atol=1e-9)


def test_a_constant_scorer_is_the_diagonal() -> None:
    labels_M = np.array([True, False, False, True, False])
    curves = scorer_curves(rank_scores(np.zeros(5)), labels_M)
    np.testing.assert_array_equal(curves.roc.x_V, [0, 1])
    np.testing.assert_array_equal(curves.roc.y_V, [0, 1])
    np.testing.assert_allclose(curves.pr.y_V, 0.4)


def test_mean_curve_has_the_mean_area() -> None:
    curves = [scorer_curves(rank_scores(s), y).roc for s, y in (scored(i, 60 * (i + 1)) for i in range(4))]
    assert mean_curve(curves, 10_000).area == pytest.approx(np.mean([curve.area for curve in curves]))
    assert mean_curve(curves).area == pytest.approx(np.mean([curve.area for curve in curves]), abs=1e-3)
    steep = Curve(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]), np.array([0.0, 5.0, 9.0]))
    flat = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 7.0]))
    both = mean_curve([steep, flat])
    np.testing.assert_allclose(both.y_V, [0, 0.5, 1, 1])
    np.testing.assert_allclose(both.n_V, [0, 5, 16, 16])


@pytest.mark.parametrize("least", [1, 3, 40])
def test_scores_of_tfs_are_those_of_each_tf_alone(least: int) -> None:
    rng = np.random.default_rng(3)
    sources_M = rng.choice([2, 5, 6, 9, 11], size=600, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    scores_M, labels_M = scored(3, 600, prevalence=0.15, decimals=1)
    labels_M[sources_M == 11] = False
    found = scores_of_tfs(rank_scores(scores_M), labels_M, sources_M, min_positives=least).set_index("source")
    assert list(found.index) == [2, 5, 6, 9, 11]
    for source, row in found.iterrows():
        mine = sources_M == source
        assert row["num_pairs"] == mine.sum()
        assert row["num_targets"] == labels_M[mine].sum()
        if labels_M[mine].sum() < least:
            assert np.isnan(row["auroc"])
            assert np.isnan(row["ap"])
            continue
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(labels_M[mine], scores_M[mine]))
        assert row["ap"] == pytest.approx(sk.average_precision_score(labels_M[mine], scores_M[mine]))


def test_calibration_bins_expect_equally_many_positives() -> None:
    rng = np.random.default_rng(0)
    probability_M = rng.beta(0.3, 20, size=20_000)
    labels_M = rng.random(20_000) < probability_M
    fine = reliability(probability_M, labels_M, num_bins=100, equal="expected")
    assert fine["num_pairs"].sum() == 20_000
    bins = merge_bins([fine])
    assert len(bins) == 10
    assert bins["num_pairs"].sum() == 20_000
    expected = bins["probability"] * bins["num_pairs"]
    np.testing.assert_allclose(expected, probability_M.sum() / 10, rtol=0.06)
    assert (bins["observed"] * bins["num_pairs"]).sum() == pytest.approx(labels_M.sum())
    surplus = bins["observed"] * bins["num_pairs"] - expected
    assert (surplus.abs() < 4 * np.sqrt(expected)).all()
    halves = [
        reliability(probability_M[part], labels_M[part], num_bins=100, equal="expected")
        for part in (slice(0, 10_000), slice(10_000, None))
    ]
    together = merge_bins(halves)
    assert together["num_pairs"].sum() == 20_000
    np.testing.assert_allclose(together["probability"], bins["probability"], rtol=0.1)


def test_few_expected_positives_make_few_bins_and_one_value_makes_one() -> None:
    few = reliability(np.linspace(0.001, 0.02, 1000), np.arange(1000) % 100 == 0, num_bins=100, equal="expected")
    assert len(merge_bins([few])) == 2
    same = reliability(np.full(50, 0.1), np.arange(50) < 5, num_bins=100, equal="expected")
    merged = merge_bins([same])
    assert merged["num_pairs"].tolist() == [50]
    assert merged["observed"].tolist() == [0.1]
    assert merge_bins([reliability(np.zeros(9), np.zeros(9, dtype=bool))])["num_pairs"].tolist() == [9]


class Guess:
    """Noise with probabilities."""

    name = "guess"

    def fit(self, split, cells):  # type: ignore[no-untyped-def]
        return self

    def score(self, pairs_2M: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).normal(size=pairs_2M.shape[1])

    def probability(self, scores: np.ndarray, pairs_2M: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(3 - scores))


def test_single_tfs_follow_the_number_of_positives_that_macro_metrics_ask_for() -> None:
    split = toy_splits("random")[0]
    table = evaluate_links(split, parse_controls("random"), None, bootstrap=0, min_positives=6)
    assert table.per_tf is not None
    scored_tfs = table.per_tf[table.per_tf["auroc"].notna()]
    assert (scored_tfs["num_targets"] >= 6).all()
    assert 0 < len(scored_tfs) < len(table.per_tf)
    assert set(table.per_tf["tf"]) <= {str(gene) for gene in range(split.num_genes)}, "indices, without cells"


@pytest.fixture(scope="module", params=["random", "unseen-tf"])
def table(request: pytest.FixtureRequest) -> LinkTable:
    scorers = [Guess(), *parse_controls("degree_product,pearson")]
    return evaluate_links(toy_splits(request.param), scorers, toy_cells(), bootstrap=0)


def test_per_tf_averages_to_the_macro_metrics(table: LinkTable) -> None:
    per_tf = table.per_tf
    assert per_tf is not None
    assert tuple(per_tf.columns) == PER_TF_COLUMNS
    assert set(per_tf["split"]) == set(table.frame["split"])
    assert per_tf["tf"].str.startswith("GENE").all()
    for (split, scorer), rows in per_tf.groupby(["split", "scorer"]):
        for column, metric in (("auroc", "macro_auroc"), ("ap", "macro_ap")):
            row = table.frame.iloc[table.row(scorer, metric, split=split)]
            assert rows[column].notna().sum() == row["num_tfs"]
            if row["num_tfs"]:
                assert rows[column].mean() == pytest.approx(row["value"])
        assert rows["num_pairs"].sum() == table.frame.iloc[table.row(scorer, "auroc", split=split)]["num_pairs"]


def test_curves_have_the_areas_of_the_table(table: LinkTable) -> None:
    curves = table.curves
    assert curves is not None
    assert tuple(curves.columns) == CURVE_COLUMNS
    assert set(curves.loc[curves["curve"] == "calibration", "scorer"]) == {"guess"}
    for (split, scorer, curve), part in curves.groupby(["split", "scorer", "curve"]):
        if curve == "calibration":
            row = table.frame.iloc[table.row(scorer, "brier", split=split)]
            assert part["n"].sum() == row["num_pairs"]
            assert part["x"].is_monotonic_increasing
            continue
        metric = {"roc": "auroc", "pr": "auprc"}[curve]
        area = np.trapezoid(part["y"], part["x"])
        assert area == pytest.approx(table.frame.iloc[table.row(scorer, metric, split=split)]["value"], abs=2e-3)
        assert len(part) <= MAX_POINTS


def test_files_are_read_and_missing_ones_say_what_to_do(table: LinkTable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"evaluate first: grn-cotrain evaluate links {tmp_path}"):
        read_per_tf(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_curves(tmp_path / "nowhere")
    table.write(tmp_path)
    pd.testing.assert_frame_equal(read_per_tf(tmp_path), table.per_tf, check_dtype=False)
    pd.testing.assert_frame_equal(read_curves(tmp_path), table.curves, check_dtype=False)
    (tmp_path / PER_TF_FILE).write_text("damaged")
    with pytest.raises(UserError, match=f"evaluate again: grn-cotrain evaluate links {tmp_path}"):
        read_per_tf(tmp_path)
    (tmp_path / CURVES_FILE).unlink()
    with pytest.raises(UserError, match=r"no links_curves\.parquet \(curves\); evaluate again"):
        read_curves(tmp_path)


def test_a_table_without_curves_removes_those_of_an_older_one(table: LinkTable, tmp_path: Path) -> None:
    table.write(tmp_path)
    bare = LinkTable(table.frame, table.replicates_LB, table.keys, table.two_way, table.headline_split)
    bare.write(tmp_path)
    assert not (tmp_path / CURVES_FILE).exists()
    assert not (tmp_path / PER_TF_FILE).exists()
    assert LinkTable.read(tmp_path).curves is None


def test_a_prepared_folder_keeps_one_table_a_split(table: LinkTable, tmp_path: Path) -> None:
    first = tmp_path / "links" / "a"
    table.write(first)
    assert links_folder(tmp_path) == first
    table.write(tmp_path / "links" / "b")
    with pytest.raises(UserError, match="holds 2 tables; name one"):
        links_folder(tmp_path)
    assert links_folder(tmp_path / "links" / "b") == tmp_path / "links" / "b"
