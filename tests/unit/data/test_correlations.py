"""Correlations summed block by block are NumPy's, whatever the store and however the cells are cut."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from grn_cotrain.controls import CONTROLS
from grn_cotrain.data import store
from grn_cotrain.data.correlations import correlations
from grn_cotrain.data.statistics import Statistics
from tests.cases.generated_store import GeneratedStore
from tests.cases.toy_cells import toy_cells
from tests.cases.toy_links import toy_split


@pytest.mark.parametrize("block_cells", [1, 7, None])
def test_any_blocks_give_numpys(block_cells: int | None) -> None:
    cells = toy_cells(60, 30, density=0.5)
    rows = np.array([5, 1, 40, 41, 3, 22, 17, 59])
    values = cells.normalised(rows).toarray().astype(np.float64)
    values[:, values.std(axis=0) == 0] = np.nan  # a constant gene correlates with nothing
    expected = np.nan_to_num(np.corrcoef(values.T), nan=0.0)
    statistics = Statistics(cells, rows, block_cells=block_cells)
    index_S, columns_K = np.array([7, 2, 2, 29]), np.array([3, 28, 7])
    np.testing.assert_allclose(correlations(statistics, index_S), expected[index_S], atol=2e-6)
    np.testing.assert_allclose(
        correlations(statistics, index_S, columns_K), expected[np.ix_(index_S, columns_K)], atol=2e-6
    )


def test_memory_of_a_control_does_not_grow_with_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of the file costs less than a byte; a dense profile takes four for each gene of a cell."""
    monkeypatch.setattr(store, "BLOCK_VALUES", 10_000)
    peaks = []
    pairs = np.stack([np.repeat(np.arange(5), 40), np.tile(np.arange(40), 5)])
    for number in (2_000, 20_000):
        cells = GeneratedStore(number, 40, per_cell=10)
        tracemalloc.start()
        CONTROLS.build("pearson").fit(toy_split(), cells).score(pairs)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (18_000 * 10) < 1.0, peaks
