"""Regulon factors: the closed forms against direct computations, and what the loop and its baselines read."""

from __future__ import annotations

import numpy as np
import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.controls._edge_table import EdgeTable
from grn_cotrain.controls._factor_model import CoVariation, Support, evidence, fit_factors
from grn_cotrain.controls.evidence import fit_channels
from grn_cotrain.controls.out_of_fold import make_folds
from grn_cotrain.controls.regulon_factor import RegulonFactor
from grn_cotrain.controls.regulon_loop import RegulonLoop
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from tests.cases.toy_links import toy_cells, toy_split

NUM_GENES, NUM_TFS = 60, 4


def linear_world(num_cells: int, seed: int = 0) -> tuple[MemoryStore, np.ndarray, np.ndarray]:
    """Cells, activities ``[C, S]`` and edges ``[S, G]``: each gene follows one TF, a TF's transcript hardly does."""
    rng = np.random.default_rng(seed)
    activity_CS = rng.normal(size=(num_cells, NUM_TFS))
    edge_SG = (np.arange(NUM_GENES) % NUM_TFS == np.arange(NUM_TFS)[:, None]).astype(np.float32)
    sign_G = rng.choice([-1.0, 1.0], NUM_GENES)
    noise_G = np.where(np.arange(NUM_GENES) < NUM_TFS, 3.0, 1.0)
    values_CG = 20 + activity_CS @ (edge_SG * sign_G) * 0.8 + noise_G * rng.normal(size=(num_cells, NUM_GENES))
    vocab = FeatureVocab.from_symbols([f"GENE{i}" for i in range(NUM_GENES)], species="human")
    return MemoryStore.build(vocab, values_CG.astype(np.float32), kind="log"), activity_CS, edge_SG


def standardised(cells: MemoryStore) -> np.ndarray:
    values_CG = cells.normalised().toarray().astype(np.float64)
    std_G = values_CG.std(axis=0)
    return (values_CG - values_CG.mean(axis=0)) / np.where(std_G > 0, std_G, 1)


def half_known(edge_SG: np.ndarray) -> Support:
    """The edges of the first half of the genes are known."""
    read_G = np.arange(NUM_GENES) < NUM_GENES // 2
    return Support(np.arange(NUM_TFS), edge_SG * read_G, read_G)


@pytest.mark.parametrize("num_cells", [50, 300])
def test_correlations_are_those_of_the_values(num_cells: int) -> None:
    cells, _, _ = linear_world(num_cells)
    z_CG, found = standardised(cells), CoVariation(cells)
    expected_GG = z_CG.T @ z_CG / num_cells
    np.testing.assert_allclose(found.times(np.eye(NUM_GENES)), expected_GG, atol=1e-4)
    np.testing.assert_allclose(found.rows(np.array([3, 1])), expected_GG[[3, 1]], atol=1e-4)


def test_activities_are_found_and_tell_edges_of_unseen_genes() -> None:
    cells, activity_CS, edge_SG = linear_world(400)
    co, support = CoVariation(cells), half_known(edge_SG)
    fit = fit_factors(co, support, num_free=0, variance=0.3)
    found_CS = standardised(cells) @ fit.weight_GR
    for tf in range(NUM_TFS):
        assert abs(np.corrcoef(found_CS[:, tf], activity_CS[:, tf])[0, 1]) > 0.85
    unseen = np.arange(NUM_GENES // 2, NUM_GENES)
    for channel_SN in evidence(co, fit, unseen):
        true_SN = edge_SG[:, unseen] > 0
        assert channel_SN[true_SN].min() > channel_SN[~true_SN].max()


def test_an_activity_is_taken_without_the_gene_that_it_explains() -> None:
    """Exact: the correlation of what remains of the activity, computed from values."""
    cells, _, edge_SG = linear_world(90)
    co = CoVariation(cells)
    fit = fit_factors(co, half_known(edge_SG), num_free=2, variance=0.3)
    z_CG, found_3SG = standardised(cells), evidence(co, fit)
    for gene in (0, 5, 20, 45):
        without_CR = z_CG @ fit.weight_GR - np.outer(z_CG[:, gene], fit.weight_GR[gene])
        for tf in range(NUM_TFS):
            expected = np.corrcoef(without_CR[:, tf], z_CG[:, gene])[0, 1]
            assert found_3SG[0, tf, gene] == pytest.approx(abs(expected), abs=1e-4)
            left_C2 = np.stack([without_CR[:, tf], z_CG[:, gene]], axis=1)
            left_C2 -= without_CR[:, NUM_TFS:] @ np.linalg.lstsq(without_CR[:, NUM_TFS:], left_C2, rcond=None)[0]
            assert found_3SG[1, tf, gene] == pytest.approx(abs(np.corrcoef(left_C2.T)[0, 1]), abs=1e-3)


def test_without_free_factors_the_two_correlations_are_one() -> None:
    cells, _, edge_SG = linear_world(120)
    co = CoVariation(cells)
    found_3SG = evidence(co, fit_factors(co, half_known(edge_SG), num_free=0, variance=0.3))
    np.testing.assert_allclose(found_3SG[0], found_3SG[1], atol=1e-6)


@pytest.mark.parametrize("num_cells", [1, 2, 5])
def test_few_cells_and_constant_genes_give_finite_evidence(num_cells: int) -> None:
    cells, _, edge_SG = linear_world(num_cells)
    co = CoVariation(cells)
    found_3SG = evidence(co, fit_factors(co, half_known(edge_SG), num_free=10, variance=0.3))
    assert np.isfinite(found_3SG).all()
    assert (found_3SG[:2] <= 1).all()


def test_channels_are_evidence_and_are_fitted_once_for_all() -> None:
    split = toy_split("unseen-target")
    names = ["regulon_factor.partial_squared", "kernel_ridge", "regulon_factor", "regulon_factor.partial"]
    found = fit_channels(names, split, toy_cells())
    assert list(found) == names
    for place in (1, 2):
        np.testing.assert_allclose(
            found["regulon_factor.partial_squared"][place], found["regulon_factor.partial"][place] ** 2, rtol=1e-5
        )
    control = CONTROLS.build("regulon_factor").fit(split, toy_cells())
    np.testing.assert_array_equal(found["regulon_factor"][2], control.scores_SG)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("regulon_factor.parttial", r"unknown channel of regulon_factor; choose from correlation, partial"),
        ("kernel_ridge.partial", r"unknown channel of kernel_ridge; name the control alone"),
    ],
)
def test_an_unknown_channel_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_channels([name], toy_split(), toy_cells())


@pytest.mark.parametrize(
    ("option", "value"), [("num_free", [-1]), ("num_free", [11]), ("num_free", []), ("variance", [0.0])]
)
def test_candidates_are_checked(option: str, value: list[float]) -> None:
    with pytest.raises(UserError, match=option):
        CONTROLS.build("regulon_factor", {option: value})


def loop(**options: object) -> RegulonLoop:
    control = CONTROLS.build("regulon_loop", {"max_trees": 3, **options})
    assert isinstance(control, RegulonLoop)
    return control.fit(toy_split("unseen-target"), toy_cells())


def test_one_pass_reads_the_factors_of_the_known_edges() -> None:
    split, control = toy_split("unseen-target"), loop(rounds=0)
    factor = RegulonFactor(RegulonFactor.Config(), seed=0).fit(split, toy_cells())
    train_SG, full_SG = control.evidence(make_folds(split, control.table), "partial")
    expected = factor.evidence(make_folds(split, factor.table), "partial")
    np.testing.assert_allclose(train_SG, expected[0], atol=1e-6)
    np.testing.assert_allclose(full_SG, expected[1], atol=1e-6)


def test_rounds_move_the_evidence_by_predicted_edges_alone() -> None:
    one, more = (loop(rounds=rounds, max_trees=30) for rounds in (0, 1))
    folds = make_folds(toy_split("unseen-target"), one.table)
    assert not np.allclose(one.evidence(folds, "joint")[1], more.evidence(folds, "joint")[1], atol=1e-4)
    assert np.isfinite(np.stack(more.evidence(folds))).all()


@pytest.mark.parametrize("reads", ["no_edges", "log_p", "rewired_edges", "permuted_cells"])
def test_baselines_of_the_loop_read_something_else(reads: str) -> None:
    control, true = loop(rounds=1, reads=reads), loop(rounds=1)
    folds = make_folds(toy_split("unseen-target"), true.table)
    assert not np.allclose(control.evidence(folds, "correlation")[1], true.evidence(folds, "correlation")[1], atol=1e-3)


def test_without_edges_rounds_change_nothing() -> None:
    found = [loop(rounds=rounds, reads="no_edges")._full_FSG for rounds in (0, 2)]
    np.testing.assert_allclose(*found, atol=1e-6)


def test_rewired_support_keeps_degrees_and_weights() -> None:
    from grn_cotrain.controls.regulon_loop import _rewired

    table = EdgeTable.of(toy_split("unseen-target"))
    weight_SG = table.labels_SG * np.random.default_rng(0).uniform(0.1, 1, table.labels_SG.shape).astype(np.float32)
    found_SG = _rewired(weight_SG, table.sources_S, 0)
    np.testing.assert_array_equal(np.sort(found_SG, axis=1), np.sort(weight_SG, axis=1))
    np.testing.assert_array_equal((found_SG > 0).sum(axis=0), (weight_SG > 0).sum(axis=0))
    assert ((found_SG > 0) & (weight_SG > 0)).sum() < 0.8 * (weight_SG > 0).sum()
