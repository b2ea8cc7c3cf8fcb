"""Held-out masked-value R2: definition, baselines against brute force, guards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore, cell_split
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.cell_baselines import FactorAnalysis, GeneAndCell
from grn_cotrain.evaluate.cells import masked_value_table, r2_replicates
from grn_cotrain.evaluate.hidden import HIDDEN_SHARE, hidden_cells
from tests.cases.toy_cells import toy_cells


def _low_rank(num_cells: int = 400, num_genes: int = 40, noise: float = 0.5) -> MemoryStore:
    """Positive log values, half missing, with two factors."""
    generator = np.random.default_rng(0)
    factors = generator.standard_normal((num_cells, 2)) @ generator.standard_normal((2, num_genes))
    values = np.exp(0.2 * factors + 0.2 * noise * generator.standard_normal(factors.shape)) + 1.0
    values *= generator.random(values.shape) < 0.5
    return MemoryStore.build(FeatureVocab.from_symbols([f"G{i}" for i in range(num_genes)]), values, kind="log")


CELLS = _low_rank()
SPLIT = cell_split(CELLS.num_cells, test=0.2)


def _truth(batch: PackedTokens) -> torch.Tensor:
    return batch.values_T[batch.masked_T]


def test_the_definition_by_a_plain_loop() -> None:
    def predict(batch: PackedTokens) -> np.ndarray:
        return _truth(batch).numpy() * 0.9 + 0.1

    table = masked_value_table({"mine": predict}, CELLS, SPLIT, seed=4, bootstrap=0).set_index(["scorer", "metric"])
    dense = CELLS.normalised().toarray().astype(np.float64)
    train = dense[SPLIT.train_C]
    squared, total = {}, {}
    for row in SPLIT.test_C:
        nonzero = np.flatnonzero(dense[row])
        draws = np.random.default_rng((4, row)).random(len(nonzero) + 1)[1:]  # the first token is CLS
        for gene in nonzero[draws < HIDDEN_SHARE]:
            seen = train[train[:, gene] > 0, gene]
            value = dense[row, gene]
            squared.setdefault(gene, []).append(((value * 0.9 + 0.1 - value) / seen.std()) ** 2)
            total.setdefault(gene, []).append(((value - seen.mean()) / seen.std()) ** 2)
    macro = 1 - np.mean([np.mean(v) for v in squared.values()]) / np.mean([np.mean(v) for v in total.values()])
    pooled = 1 - np.sum(np.concatenate(list(squared.values()))) / np.sum(np.concatenate(list(total.values())))
    assert table.loc[("mine", "r2"), "value"] == pytest.approx(macro, abs=1e-5)
    assert table.loc[("mine", "r2_pooled"), "value"] == pytest.approx(pooled, abs=1e-5)
    assert table.loc[("mine", "r2"), "num_entries"] == sum(map(len, squared.values()))
    assert table.loc[("mine", "r2"), "num_genes"] == len(squared)


def test_truth_scores_one_and_the_gene_mean_zero_and_factor_analysis_finds_the_factors() -> None:
    table = masked_value_table({"truth": _truth}, CELLS, SPLIT, bootstrap=100)
    r2 = table[table.metric == "r2"].set_index("scorer")
    assert r2.value["truth"] == pytest.approx(1.0)
    assert r2.value["gene_mean"] == 0
    # noise variance is 0.25 against a signal of 2 on average, and half of the genes are there to tell the factors
    assert 0.6 < r2.value["factor_analysis"] < 1
    assert r2.note["factor_analysis"] in ("rank 2", "rank 4")
    assert (r2.low <= r2.value).all()
    assert (r2.value <= r2.high).all()
    assert set(table.columns) >= {"num_genes", "num_entries", "num_cells", "seconds", "seed"}


def test_factor_analysis_predicts_the_conditional_expectation_of_the_visible_entries() -> None:
    generator = np.random.default_rng(0)
    model = FactorAnalysis(rank=2)
    model.loading_GR = generator.standard_normal((6, 2))
    model.noise_G = generator.random(6) + 0.1
    covariance = model.loading_GR @ model.loading_GR.T + np.diag(model.noise_G)
    visible = [np.array([0, 2, 5]), np.array([1]), np.array([], dtype=int)]
    values = [generator.standard_normal(len(genes)) for genes in visible]
    matrix = sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(visible), np.cumsum([0, *map(len, visible)])), shape=(3, 6)
    )
    cell_N, gene_N = np.array([0, 0, 1, 2]), np.array([1, 4, 3, 0])
    expected = [
        covariance[[gene], visible[cell]]
        @ np.linalg.solve(covariance[np.ix_(visible[cell], visible[cell])], values[cell])
        if len(visible[cell])
        else 0.0
        for cell, gene in zip(cell_N, gene_N, strict=True)
    ]
    np.testing.assert_allclose(model.predict(matrix, cell_N, gene_N), expected, atol=1e-10)


def test_gene_and_cell_is_the_shrunken_mean() -> None:
    visible = sparse.csr_matrix(np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]))
    found = GeneAndCell().predict(visible, np.array([0, 1]), np.array([2, 2]))
    np.testing.assert_allclose(found, [4 / 3, 0])


def test_hidden_entries_depend_on_seed_and_cell_alone_and_are_about_15_percent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = hidden_cells(CELLS, SPLIT.test_C[:10], seed=0)
    monkeypatch.setattr("grn_cotrain.evaluate.hidden.TOKENS_PER_BATCH", 60)
    more = hidden_cells(CELLS, SPLIT.test_C, seed=0)
    other = hidden_cells(CELLS, SPLIT.test_C, seed=1)
    here = more.cell_N < 10
    assert np.array_equal(some.gene_N, more.gene_N[here])
    assert not np.array_equal(more.gene_N, other.gene_N)
    share = len(more.gene_N) / CELLS.values_CG[SPLIT.test_C].nnz
    assert 0.12 < share < 0.18
    assert more.visible_CG.nnz + len(more.gene_N) == CELLS.values_CG[SPLIT.test_C].nnz
    dense = CELLS.normalised()[SPLIT.test_C].toarray()
    np.testing.assert_array_equal(more.value_N, dense[more.cell_N, more.gene_N])
    assert all(more.visible_CG[cell, gene] == 0 for cell, gene in zip(more.cell_N, more.gene_N, strict=True))


def test_rare_genes_and_spike_ins_do_not_count() -> None:
    cells = toy_cells(num_cells=300, num_genes=30, spike_ins=3, kind="log")
    values = cells.values_CG.toarray()
    values[10:, 0] = 0
    cells = MemoryStore.build(cells.vocab, values, kind="log")
    table = masked_value_table({}, cells, cell_split(300, test=0.45), bootstrap=0)
    assert (table.num_genes == 26).all()


def test_bad_predictors_and_empty_data_are_refused() -> None:
    with pytest.raises(UserError, match="predictor 'short'"):
        masked_value_table({"short": lambda batch: _truth(batch)[:-1]}, CELLS, SPLIT, bootstrap=0)
    with pytest.raises(UserError, match="predictor 'nan'"):
        masked_value_table({"nan": lambda batch: _truth(batch) * float("nan")}, CELLS, SPLIT, bootstrap=0)
    with pytest.raises(UserError, match="no gene is detected"):
        masked_value_table({}, toy_cells(density=0.0, kind="log"), cell_split(12), bootstrap=0)


def test_replicates_are_those_of_the_table_and_paired() -> None:
    def predict(batch: PackedTokens) -> np.ndarray:
        return _truth(batch).numpy() * 0.9 + 0.1

    table = masked_value_table({"mine": predict}, CELLS, SPLIT, seed=4, bootstrap=40, baselines=False)
    row = table[table["metric"] == "r2"].iloc[0]
    found = r2_replicates(predict, CELLS, SPLIT, seed=4, bootstrap=40)
    assert found.shape == (41,)
    assert found[0] == pytest.approx(row["value"])
    assert np.quantile(found[1:], [0.025, 0.975]) == pytest.approx([row["low"], row["high"]])
    other = r2_replicates(lambda batch: _truth(batch).numpy() * 0.9 + 0.11, CELLS, SPLIT, seed=4, bootstrap=40)
    assert (found - other).std() < 0.2 * found[1:].std()
