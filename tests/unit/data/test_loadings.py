"""Gene loadings against dense references."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.factor_analysis import fit_factor_analysis
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.standardised import StandardisedMatrix
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from tests.cases.toy_cells import toy_cells


def _standardised(cells: MemoryStore) -> np.ndarray:
    values = cells.normalised().toarray().astype(np.float64)
    std = values.std(axis=0)
    return np.divide(values - values.mean(axis=0), std, out=np.zeros_like(values), where=std > 0)


@pytest.mark.parametrize("rank", [3, 20])  # iterative and dense route
def test_pca_equals_a_dense_singular_value_decomposition(rank: int) -> None:
    cells = toy_cells(num_cells=60, num_genes=40)
    found = gene_loadings(Statistics(cells), rank=rank)
    _, singular, axes = np.linalg.svd(_standardised(cells), full_matrices=False)
    expected = (axes[:rank] * singular[:rank, None] / np.sqrt(59)).T
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    peak = found[np.abs(found).argmax(axis=0), np.arange(rank)]
    assert (peak > 0).all()
    assert found.dtype == np.float32


def test_sparse_standardisation_multiplies_like_the_dense_matrix() -> None:
    cells = toy_cells()
    z, dense = StandardisedMatrix(Statistics(cells)), _standardised(cells)
    right = np.random.default_rng(0).standard_normal((cells.num_features, 3))
    left = np.random.default_rng(1).standard_normal((cells.num_cells, 3))
    np.testing.assert_allclose(z.times(right), dense @ right, atol=1e-5)
    np.testing.assert_allclose(z.transpose_times(left), dense.T @ left, atol=1e-5)


def test_factor_analysis_reaches_the_likelihood_of_scikit_learn() -> None:
    cells = toy_cells(num_cells=300, num_genes=20, density=0.9, spike_ins=0)
    dense = _standardised(cells)
    ours = fit_factor_analysis(StandardisedMatrix(Statistics(cells)), 2, num_iterations=200)
    theirs = FactorAnalysis(2, tol=1e-4, max_iter=1000, svd_method="lapack").fit(dense)

    def log_likelihood(covariance: np.ndarray) -> float:
        return float(-0.5 * (np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, np.cov(dense.T)))))

    covariance = ours.loading_GR @ ours.loading_GR.T + np.diag(ours.noise_G)
    assert log_likelihood(covariance) == pytest.approx(log_likelihood(theirs.get_covariance()), abs=0.02)


@pytest.mark.parametrize("method", ["pca", "factor_analysis"])
def test_constant_genes_have_zero_rows_and_only_rows_are_read(method: str) -> None:
    cells = toy_cells(num_cells=30)
    values = cells.values_CG.toarray()
    values[:20, 3] = 0
    changed = MemoryStore.build(cells.vocab, values, kind="log")
    found = gene_loadings(Statistics(changed, np.arange(20)), rank=4, method=method)  # type: ignore[arg-type]
    assert (found[3] == 0).all()
    assert (np.abs(found[[0, 1, 2]]).sum(axis=1) > 0).all()
    values[20:] += 5.0
    other = MemoryStore.build(cells.vocab, values, kind="log")
    again = gene_loadings(Statistics(other, np.arange(20)), rank=4, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, again, atol=1e-6)


def test_rank_beyond_the_cells_is_padded_and_said(caplog: pytest.LogCaptureFixture) -> None:
    found = gene_loadings(Statistics(toy_cells(num_cells=5)), rank=10)
    assert found.shape == (30, 10)
    assert (found[:, 4:] == 0).all()
    assert "only 4 components" in caplog.text


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="choose from pca"):
        gene_loadings(Statistics(toy_cells()), method="ica")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="rank 0"):
        gene_loadings(Statistics(toy_cells()), rank=0)
    with pytest.raises(UserError, match="at least 2"):
        gene_loadings(Statistics(toy_cells(), np.array([1])))


def test_value_statistics_against_a_plain_loop() -> None:
    cells = toy_cells()
    found = Statistics(cells)[Moments()].nonzero(prior=0.0)
    dense = cells.normalised().toarray().astype(np.float64)
    for gene in range(dense.shape[1]):
        seen = dense[dense[:, gene] > 0, gene]
        assert found.detected_G[gene] == pytest.approx(len(seen) / len(dense))
        if len(seen):
            assert found.mean_G[gene] == pytest.approx(seen.mean(), rel=1e-5)
            assert found.std_G[gene] == pytest.approx(max(seen.std(), 0.05), rel=1e-4)


def test_value_statistics_of_a_rare_gene_lean_on_the_others() -> None:
    cells = toy_cells(num_cells=50)
    values = cells.values_CG.tolil()
    values[:, 0] = 0
    values[0, 0] = 5000
    values[:, 1] = 0
    rare = MemoryStore.build(cells.vocab, values.tocsr(), kind="counts", size_factor_C=np.full(50, 1e4))
    found = Statistics(rare)[Moments()].nonzero()
    overall = rare.normalised().data.mean()
    assert found.mean_G[1] == pytest.approx(overall, rel=1e-4)
    assert overall < found.mean_G[0] < rare.normalised()[0, 0]
    assert np.isfinite(found.std_G).all()
