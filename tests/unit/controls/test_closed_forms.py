"""Kernel ridge, kNN and factorisation against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._neighbours import NeighbourFinder, unit_loadings
from grn_cotrain.controls._selection import macro_auroc, sample_entries
from grn_cotrain.controls._smoothing import same_family
from grn_cotrain.controls._table_control import TableControl
from grn_cotrain.controls.out_of_fold import make_folds
from grn_cotrain.data.edge_split import EdgeSplit
from grn_cotrain.data.families import tf_family
from grn_cotrain.errors import UserError
from tests.cases.controls import KINDS
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_split
from tests.unit.controls.test_edge_table import labelled_split

SPLITS = [*(toy_split(kind) for kind in KINDS), labelled_split()]
IDS = [split.kind for split in SPLITS]
RANK = 10


def fitted(name: str, split: EdgeSplit, **options: object) -> TableControl:
    control = CONTROLS.build(name, options).fit(split, toy_cells())
    assert isinstance(control, TableControl)
    return control


@pytest.mark.parametrize("split", SPLITS, ids=IDS)
def test_kernel_ridge_is_the_dual_form(split: EdgeSplit) -> None:
    control = fitted("kernel_ridge", split, rank=RANK, source_penalty=0.7, target_penalty=2.0)
    table, unit_GR = EdgeTable.of(split), unit_loadings(toy_cells(), rank=RANK).astype(np.float64)
    rows, columns = np.flatnonzero(table.seen_S), np.flatnonzero(table.seen_G)
    base_SG = table.mean_rate + table.source_effect_S[:, None] + table.target_effect_G
    residual = (table.known_SG * (table.labels_SG - base_SG))[np.ix_(rows, columns)]
    kernel_GG = unit_GR @ unit_GR.T
    sources = table.sources_S[rows]
    # A kernel of rank R: its mean eigenvalue is its trace over R.
    source_ridge, target_ridge = (
        penalty * np.trace(kernel_GG[np.ix_(genes, genes)]) / RANK
        for penalty, genes in ((0.7, sources), (2.0, columns))
    )
    left = kernel_GG[table.sources_S][:, sources] @ np.linalg.inv(
        kernel_GG[np.ix_(sources, sources)] + source_ridge * np.eye(len(sources))
    )
    right = (
        np.linalg.inv(kernel_GG[np.ix_(columns, columns)] + target_ridge * np.eye(len(columns))) @ kernel_GG[columns]
    )
    np.testing.assert_allclose(control.scores_SG, base_SG + left @ residual @ right, rtol=1e-4, atol=1e-6)


def test_kernel_ridge_scores_entries_as_it_scores_the_table() -> None:
    for split in SPLITS:
        control = fitted("kernel_ridge", split, rank=RANK, source_penalty=1.0, target_penalty=1.0)
        folds = make_folds(split, control.table)
        for number, fold in enumerate(folds):
            entries = np.nonzero((folds.fold_SG == number) & folds.table.known_SG)
            of_entries = control.predict_entries(fold, control.option, *entries)
            of_table = TableControl.predict_entries(control, fold, control.option, *entries)
            np.testing.assert_allclose(of_entries, of_table, rtol=1e-9)


def nearest(gene: int, pool: np.ndarray, num: int, unit_GR: np.ndarray) -> list[tuple[int, float]]:
    """Neighbours and weights, by sorting every candidate."""
    cosine = {int(other): round(float(unit_GR[gene] @ unit_GR[other]), 5) for other in pool if other != gene}
    best = sorted(cosine, key=lambda other: (-cosine[other], other))[:num]
    return [(other, max(cosine[other], 0.0)) for other in best]


def test_neighbours_are_the_nearest() -> None:
    unit_GR = unit_loadings(toy_cells(), rank=RANK)
    pool = np.arange(0, NUM_GENES, 2)
    found = NeighbourFinder(unit_GR, 7).find(np.arange(NUM_GENES), pool)
    for gene in range(NUM_GENES):
        if gene == 33:  # never expressed: nothing is near
            assert not found.weight_NK[gene].any()
            continue
        expected = nearest(gene, pool, 7, unit_GR)
        np.testing.assert_allclose(found.weight_NK[gene], [weight for _, weight in expected], atol=2e-5)
    assert not (found.index_NK == np.arange(NUM_GENES)[:, None]).any()
    assert NeighbourFinder(unit_GR, 7).find(np.arange(3), pool[:0]).weights(7, NUM_GENES).shape == (3, NUM_GENES)


def relative(effect: np.ndarray, mean: float) -> np.ndarray:
    return 1 + effect / mean


@pytest.mark.parametrize("split", SPLITS, ids=IDS)
def test_target_knn_by_hand(split: EdgeSplit) -> None:
    control = fitted("target_knn", split, num_neighbours=[6], prior_weights=[2.0], rank=RANK)
    table, unit_GR = EdgeTable.of(split), unit_loadings(toy_cells(), rank=RANK)
    pool = np.flatnonzero(table.seen_G)
    own_G = relative(table.target_effect_G, table.mean_rate)
    for row, gene in [(0, 50), (3, 7), (len(table.sources_S) - 1, 64), (2, int(split.test_2E[1, 0]))]:
        positives, weights = 2.0 * table.source_rate_S[row], 2.0
        for other, weight in nearest(gene, pool, 6, unit_GR):
            # In a complete table the self-pair counts as a negative; see smooth_targets.
            counts = table.known_SG[row, other] or (
                table.complete and other == table.sources_S[row] and table.seen_S[row]
            )
            positives += weight * table.labels_SG[row, other]
            weights += weight * counts
        assert control.scores_SG[row, gene] == pytest.approx(positives / weights * own_G[gene], rel=1e-3)


@pytest.mark.parametrize("split", SPLITS, ids=IDS)
@pytest.mark.parametrize("name", ["knn_expression", "knn_family", "knn_both"])
def test_knn_over_tfs_by_hand(name: str, split: EdgeSplit) -> None:
    given: dict[str, object] = {"num_neighbours": [4], "prior_weights": [1.0], "family_weights": [3.0], "rank": RANK}
    control = fitted(name, split, **given)
    table, unit_GR = EdgeTable.of(split), unit_loadings(toy_cells(), rank=RANK)
    symbols = [toy_cells().vocab.symbols[s] for s in table.sources_S]
    family = np.array([tf_family(symbol) for symbol in symbols])
    own_S = relative(table.source_effect_S, table.mean_rate)
    held_target = table.held_out in ("target", "both")
    for row in (0, 5, len(symbols) - 1):
        weight_S = np.zeros(len(symbols))
        if name != "knn_family":
            for other, weight in nearest(int(table.sources_S[row]), table.sources_S[table.seen_S], 4, unit_GR):
                weight_S[np.searchsorted(table.sources_S, other)] += weight
        if name != "knn_expression":
            same_S = (family == family[row]) & (np.arange(len(symbols)) != row) & table.seen_S
            weight_S += same_S * (1.0 if name == "knn_family" or held_target else 3.0)
        for gene in (1, 30, 75):
            known_S = table.known_SG[:, gene] if not table.complete else table.seen_S * table.seen_G[gene]
            positives = weight_S @ table.labels_SG[:, gene] + table.target_rate_G[gene]
            expected = positives / (weight_S @ known_S + 1.0) * own_S[row]
            assert control.scores_SG[row, gene] == pytest.approx(expected, rel=1e-3)


def test_double_knn_by_hand() -> None:
    split = toy_split("unseen-target")
    control = fitted("double_knn", split, num_sources=[3], num_targets=[5], prior_weights=[4.0], rank=RANK)
    table, unit_GR = EdgeTable.of(split), unit_loadings(toy_cells(), rank=RANK)
    own_S = relative(table.source_effect_S, table.mean_rate)
    for row, gene in [(0, int(split.test_2E[1, 0])), (4, 11), (9, 60)]:
        source = int(table.sources_S[row])
        sources = [*nearest(source, table.sources_S[table.seen_S], 3, unit_GR), (source, 1.0)]
        targets = nearest(gene, np.flatnonzero(table.seen_G), 5, unit_GR) + [(gene, 1.0)] * bool(table.seen_G[gene])
        positives, weights = 4.0 * table.mean_rate, 4.0
        for near, near_weight in sources:
            for far, far_weight in targets:
                near_row = np.searchsorted(table.sources_S, near)
                positives += near_weight * far_weight * table.labels_SG[near_row, far]
                weights += near_weight * far_weight
        assert control.scores_SG[row, gene] == pytest.approx(positives / weights * own_S[row], rel=1e-3)


@pytest.mark.parametrize("split", SPLITS, ids=IDS)
def test_matrix_factorisation_is_a_shrunken_svd(split: EdgeSplit) -> None:
    control = fitted("matrix_factorisation", split, ranks=[3], weights=[0.5])
    table = EdgeTable.of(split)
    expected_SG = table.mean_rate * np.outer(
        relative(table.source_effect_S, table.mean_rate), relative(table.target_effect_G, table.mean_rate)
    )
    residual_SG = table.known_SG * (table.labels_SG - expected_SG) / np.sqrt(expected_SG)
    left, value, right = np.linalg.svd(residual_SG, full_matrices=False)
    learned_SG = (left[:, :3] * (value[:3] - value[3])) @ right[:3]
    np.testing.assert_allclose(
        control.scores_SG, expected_SG + 0.5 * learned_SG * np.sqrt(expected_SG), rtol=1e-4, atol=1e-6
    )


def test_family_excludes_the_gene_itself() -> None:
    np.testing.assert_array_equal(
        same_family(np.array(["A", "B", "A"])), [[False, False, True], [False, False, False], [True, False, False]]
    )


def test_macro_auroc_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    groups, labels = rng.integers(0, 12, 500), rng.random(500) < 0.2
    scores = rng.integers(0, 6, 500) + 1.5 * labels  # many ties
    enough = [g for g in range(12) if labels[groups == g].sum() >= 5]
    assert 1 < len(enough) < 12
    expected = np.mean([roc_auc_score(labels[groups == g], scores[groups == g]) for g in enough])
    assert macro_auroc(scores, labels, groups, min_positives=5) == pytest.approx(expected)
    assert macro_auroc(scores, labels, groups, min_positives=400) == 0.5
    assert macro_auroc(scores[:0], labels[:0], groups[:0]) == 0.5


def test_sample_of_entries_is_known_and_labelled() -> None:
    table = EdgeTable.of(toy_split("unseen-target"))
    rows, columns, labels = sample_entries(table, negatives_per_source=9, seed=1)
    assert labels.sum() == table.labels_SG.sum()
    np.testing.assert_array_equal(table.labels_SG[rows, columns] > 0, labels)
    assert table.known_SG[rows, columns].all()
    assert (np.bincount(rows[~labels], minlength=len(table.sources_S))[table.labels_SG.any(axis=1)] == 9).all()


def test_constants_are_chosen_by_the_signal() -> None:
    # Two halves of genes, two families of TFs: neighbours by expression tell targets apart, a heavy ridge does not.
    split = toy_split("unseen-target")
    pairs = split.pairs("test")
    control = fitted("kernel_ridge", split, rank=RANK)
    assert macro_auroc(control.score(pairs.pairs_2M), pairs.labels_M, pairs.pairs_2M[0]) > 0.6
    assert control.option in control.options()


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("kernel_ridge", "rank", 0),
        ("kernel_ridge", "target_penalty", 0.0),
        ("target_knn", "num_neighbours", []),
        ("knn_both", "prior_weights", [-1.0]),
        ("double_knn", "num_targets", [0]),
        ("matrix_factorisation", "ranks", []),
        ("boosting_all", "max_leaves", 1),
        ("boosting_graph", "learning_rate", 0.0),
        ("logistic_combination", "C", 0.0),
        ("netmf", "window", 0),
        ("gae", "epochs", 0),
        ("grnboost2", "window", 0),
    ],
)
def test_senseless_options_are_refused(name: str, option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{option}: got"):
        CONTROLS.build(name, {option: value})
