"""Cell matrices: normalisation, validation, ablations, splits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from grn_cotrain.data.cells import MemoryStore, cell_split
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from tests.cases.toy_cells import toy_cells

VOCAB = FeatureVocab.from_symbols(["A", "B", "C"], species="human")


def test_counts_are_normalised_by_the_size_factor_not_the_row_sum() -> None:
    cells = MemoryStore.build(VOCAB, [[1, 0, 3], [0, 2, 0]], kind="counts", size_factor_C=np.array([100.0, 50.0]))
    expected = np.log1p(np.array([[100.0, 0, 300], [0, 400, 0]]))
    np.testing.assert_allclose(cells.normalised().toarray(), expected, rtol=1e-6)
    assert cells.normalised().dtype == np.float32


def test_size_factors_default_to_totals_and_log_values_stay() -> None:
    counts = MemoryStore.build(VOCAB, [[1, 0, 3]], kind="counts")
    assert counts.size_factor_C.tolist() == [4.0]
    logs = MemoryStore.build(VOCAB, [[0.5, 0, 19.3]], kind="log")
    np.testing.assert_allclose(logs.normalised().toarray(), [[0.5, 0, 19.3]], rtol=1e-6)


def test_stored_zeros_and_duplicates_are_merged_and_the_input_is_left_alone() -> None:
    given = sparse.coo_matrix(([1.0, 2.0, 0.0], ([0, 0, 0], [1, 1, 2])), shape=(1, 3))
    cells = MemoryStore.build(VOCAB, given, kind="counts")
    assert cells.values_CG.nnz == 1
    assert cells.values_CG[0, 1] == 3
    assert given.nnz == 3


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[1, 2]], {}, "columns"),
        ([[1, np.nan, 0]], {}, "NaN or infinity"),
        ([[1, np.inf, 0]], {}, "NaN or infinity"),
        ([[1, -2, 0]], {}, "negative"),
        ([[1, 2, 0]], {"kind": "raw"}, "choose from binary, clr, counts, log"),
        ([[1, 2, 0]], {"size_factor_C": np.zeros(1)}, "size factor of 0"),
        ([[1, 2, 0]], {"size_factor_C": np.ones(2)}, "1 finite"),
        ([[1, 2, 0]], {"obs": pd.DataFrame(index=["a", "b"])}, "obs has 2 rows"),
    ],
)
def test_bad_input_is_refused(values: list, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MemoryStore.build(VOCAB, values, **{"kind": "counts", **options})


def test_hash_depends_on_values_and_not_on_obs() -> None:
    cells = toy_cells()
    other_obs = MemoryStore.build(cells.vocab, cells.values_CG, kind="counts", obs=cells.obs.assign(x=1))
    assert other_obs.content_hash == cells.content_hash
    changed = cells.values_CG.copy()
    changed.data[0] += 1
    assert MemoryStore.build(cells.vocab, changed, kind="counts").content_hash != cells.content_hash
    assert cells.take(np.arange(5)).content_hash != cells.content_hash


def test_rows_keep_everything_in_step() -> None:
    cells = toy_cells()
    some = cells.take(np.array([5, 2]))
    assert some.obs.index.tolist() == [cells.obs.index[5], cells.obs.index[2]]
    assert (some.values_CG != cells.values_CG[[5, 2]]).nnz == 0
    assert (some.normalised() != cells.normalised()[[5, 2]]).nnz == 0


def test_permuted_genes_exchange_profiles_within_groups() -> None:
    cells = toy_cells(num_genes=30, spike_ins=3)
    tf_index = np.array([0, 4, 7, 9])
    permuted = cells.permuted_genes(tf_index, seed=0)

    def profiles(matrix: MemoryStore, genes: np.ndarray) -> list[bytes]:
        return sorted(matrix.values_CG[:, [gene]].toarray().tobytes() for gene in genes)

    others = np.setdiff1d(np.arange(27), tf_index)
    for group in (tf_index, others, np.arange(27, 30)):
        assert profiles(permuted, group) == profiles(cells, group)
    assert (permuted.values_CG != cells.values_CG).nnz > 0
    assert permuted.content_hash == cells.permuted_genes(tf_index, seed=0).content_hash
    assert permuted.content_hash != cells.permuted_genes(tf_index, seed=1).content_hash
    np.testing.assert_array_equal(permuted.size_factor_C, cells.size_factor_C)


def test_permuted_cells_keep_each_gene_and_break_pairs() -> None:
    cells = toy_cells(num_cells=200, density=0.9)
    twins = cells.values_CG.toarray()
    twins[:, 1] = twins[:, 0]
    cells = MemoryStore.build(cells.vocab, twins, kind="counts", size_factor_C=cells.size_factor_C)
    permuted = cells.permuted_cells(seed=0)
    before, after = cells.normalised().toarray(), permuted.normalised().toarray()
    np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert np.corrcoef(before[:, 0], before[:, 1])[0, 1] > 0.999
    assert abs(np.corrcoef(after[:, 0], after[:, 1])[0, 1]) < 0.3


def test_cell_split_is_disjoint_and_covers() -> None:
    split = cell_split(101, validation=0.1, test=0.2, seed=3)
    assert (len(split.validation_C), len(split.test_C)) == (10, 20)
    joined = np.concatenate([split.train_C, split.validation_C, split.test_C])
    assert sorted(joined.tolist()) == list(range(101))
    assert np.array_equal(split.test_C, cell_split(101, validation=0.1, test=0.2, seed=3).test_C)
    assert not np.array_equal(split.test_C, cell_split(101, validation=0.1, test=0.2, seed=4).test_C)
    with pytest.raises(UserError, match="no training cell"):
        cell_split(2)
