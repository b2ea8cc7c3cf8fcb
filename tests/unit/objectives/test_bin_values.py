"""From bins back to values: the cell, the table and the slopes are known in closed form.

Dimension letters: T packed tokens, M hidden tokens, K value bins, R rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import CLS_ID, NUM_SPECIAL
from grn_cotrain.objectives.bin_values import (
    BinSums,
    fill_empty_bins,
    pooled_bin_values,
    slope_around,
    visible_bin_values,
    visible_class_values,
)
from grn_cotrain.objectives.masking import hide
from grn_cotrain.objectives.value_target import ValueTarget

NUM_BINS = 51
ONE, TWO, FIVE = 1.0, 1.6, 2.5
# 51 visible values, so that bin 1 + r holds the value of rank r: bins 1, 37 and 47 hold some.
COUNTS = {ONE: 36, TWO: 10, FIVE: 5}


def cell_of(values: list[float], hidden: list[float]) -> PackedTokens:
    """One cell of these visible and hidden values."""
    every = torch.tensor([0.0, *values, *hidden])
    length = len(every)
    ids_T = torch.arange(length) + NUM_SPECIAL - 1
    ids_T[0] = CLS_ID
    batch = PackedTokens(
        feature_ids_T=ids_T,
        values_T=every,
        bins_T=torch.zeros(length, dtype=torch.int64),
        modality_T=torch.zeros(length, dtype=torch.int64),
        cu_lens=torch.tensor([0, length], dtype=torch.int32),
        max_len=length,
        cell_index_B=torch.zeros(1, dtype=torch.int64),
    )
    return hide(batch, torch.arange(length) > len(values), num_bins=NUM_BINS)


def molecules(hidden: list[float]) -> PackedTokens:
    """A cell of few molecules."""
    return cell_of([value for value, count in COUNTS.items() for _ in range(count)], hidden)


def by_hand(place: float) -> float:
    """Value at a bin that need not be whole, between the bins 1, 37 and 47 that hold one."""
    return float(np.interp(place, [1, 37, 47], [ONE, TWO, FIVE]))


def of_bin(place: float | Tensor) -> Tensor:
    """A bin as the target has it."""
    return torch.as_tensor(place, dtype=torch.float32).reshape(-1) / NUM_BINS - 0.5


def scale() -> ValueTarget:
    return ValueTarget("bin", num_bins=NUM_BINS, num_genes=100)


def test_empty_bins_lie_between_the_occupied_ones() -> None:
    table_BK = visible_bin_values(molecules([ONE]), NUM_BINS)
    expected = torch.tensor([[by_hand(k) for k in range(1, NUM_BINS + 1)]])
    torch.testing.assert_close(table_BK, expected, rtol=1e-6, atol=1e-6)
    assert table_BK[0, 0] == ONE  # occupied bins are exact
    assert table_BK[0, 36] == TWO
    assert table_BK[0, 46] == FIVE
    assert bool((table_BK.diff(dim=1) >= 0).all())


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([None, 2.0, None, None, 5.0, None], [2.0, 2.0, 3.0, 4.0, 5.0, 5.0]),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ([None, None, 7.0, None, None, None], [7.0] * 6),
        ([None] * 6, [0.0] * 6),
        ([0.5, None, None, None, None, 3.0], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]),
    ],
)
def test_rows_are_filled_each_on_its_own(row: list[float | None], expected: list[float]) -> None:
    other = [9.0, None, 10.0, None, None, 13.0]
    rows = [row, other]
    occupied_RK = torch.tensor([[value is not None for value in one] for one in rows])
    value_RK = torch.tensor([[-99.0 if value is None else value for value in one] for one in rows])
    filled_RK = fill_empty_bins(value_RK, occupied_RK)
    torch.testing.assert_close(filled_RK, torch.tensor([expected, [9.0, 9.5, 10.0, 11.0, 12.0, 13.0]]))


def test_a_predicted_bin_reads_as_the_value_between_its_neighbours() -> None:
    """Bin 19 is half way from one to two; read as the bin below, everything from 1 to 36 was "one"."""
    places = [-3.0, 1.0, 10.5, 19.0, 36.0, 37.0, 42.0, 46.9, 47.0, 50.0, 60.0]
    batch = molecules([ONE] * len(places))
    where_M = torch.nonzero(batch.hidden_T).squeeze(1)
    found_M = scale().values(batch, where_M, of_bin(torch.tensor(places)))
    expected_M = torch.tensor([by_hand(place) for place in places])
    torch.testing.assert_close(found_M, expected_M, rtol=1e-5, atol=1e-5)
    assert float(found_M[3]) == pytest.approx((ONE + TWO) / 2, rel=1e-5)
    assert bool((found_M.diff() >= 0).all())


@pytest.mark.parametrize(
    ("place", "reach", "slope"),
    [
        (19.0, 4.0, (TWO - ONE) / 36),
        (42.0, 1.0, (FIVE - TWO) / 10),
        (1.0, 3.0, (TWO - ONE) / 36),  # what lies below bin 1 is left out
        (-9.0, 2.0, (TWO - ONE) / 36),
        (60.0, 5.0, (FIVE - TWO) / 10),  # bins 48 to 51 are empty: the rise that ends in 47 counts
        (37.0, 10.0, (by_hand(47) - by_hand(27)) / 20),  # on both sides of a bend: the mean
        (24.0, 500.0, (FIVE - ONE) / 46),
    ],
)
def test_the_deviation_is_the_spread_times_the_slope_around(place: float, reach: float, slope: float) -> None:
    batch = molecules([TWO])
    where_M = torch.nonzero(batch.hidden_T).squeeze(1)
    found_M = scale().deviations(batch, where_M, of_bin(place), torch.tensor([reach / NUM_BINS]))
    assert float(found_M[0]) == pytest.approx(reach * slope, rel=1e-3)


def test_no_deviation_is_zero_wherever_the_prediction_lies() -> None:
    place_M = torch.linspace(-20, 80, 201)
    batch = molecules([ONE] * len(place_M))
    where_M = torch.nonzero(batch.hidden_T).squeeze(1)
    for reach in (0.01, 1.0, 30.0):
        spread_M = torch.full((len(place_M),), reach / NUM_BINS)
        assert float(scale().deviations(batch, where_M, of_bin(place_M), spread_M).min()) > 0


@pytest.mark.parametrize("values", [[], [ONE], [ONE] * 7])
def test_a_cell_without_a_slope_takes_that_of_training_cells(values: list[float]) -> None:
    target = scale()
    target.bin_values_K.copy_(torch.linspace(1.0, 6.0, NUM_BINS))
    batch = cell_of(values, [TWO])
    where_M = torch.nonzero(batch.hidden_T).squeeze(1)
    found_M = target.deviations(batch, where_M, of_bin(20.0), torch.tensor([2 / NUM_BINS]))
    assert float(found_M[0]) == pytest.approx(2 * 5 / 50, rel=1e-4)
    value = float(target.values(batch, where_M, of_bin(20.0)))
    assert value == pytest.approx(ONE if values else 1.0 + 19 * 5 / 50, rel=1e-5)


def sums_of(bin_N: np.ndarray, value_N: np.ndarray, num_bins: int) -> BinSums:
    count_K, sum_K = (np.bincount(bin_N, weights, minlength=num_bins + 1)[1:] for weights in (None, value_N))
    return BinSums(count_K, sum_K)


def test_means_of_training_cells_never_fall() -> None:
    """Bins 1, 3 and 6 of 6 hold values; the mean of bin 3 is below that of bin 1, so the two share theirs by weight."""
    bin_N, value_N = np.array([1, 1, 1, 3, 6]), np.array([2.0, 3.0, 4.0, 1.0, 6.5])
    found_K = pooled_bin_values(sums_of(bin_N, value_N, 6))
    np.testing.assert_allclose(found_K, [2.5, 2.5, 2.5, 2.5 + 4 / 3, 2.5 + 8 / 3, 6.5], rtol=1e-6)
    rising_K = pooled_bin_values(sums_of(np.array([2, 2, 4]), np.array([1.0, 2.0, 4.5]), 5))
    np.testing.assert_allclose(rising_K, [1.5, 1.5, 3.0, 4.5, 4.5], rtol=1e-6)
    assert pooled_bin_values(sums_of(np.empty(0, dtype=int), np.empty(0), 4)).tolist() == [0.0] * 4


def test_classes_without_a_value_have_their_own_default() -> None:
    batch = cell_of([1.0, 3.0, 5.0], [100.0])
    class_T = torch.tensor([0, 2, 2, 0, 1])  # of CLS and of hidden tokens: not read
    found_BC = visible_class_values(batch, class_T, torch.tensor([7.0, 8.0, 9.0]))
    assert found_BC.tolist() == [[5.0, 8.0, 2.0]]


def test_slopes_of_a_flat_row_are_zero() -> None:
    table_RK = torch.tensor([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]])
    row_M, place_M = torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.5, 1.0])
    found_M = slope_around(table_RK, row_M, place_M, torch.tensor([1.0, 0.5, 1.0]))
    torch.testing.assert_close(found_M, torch.tensor([0.0, 1.0, 1.5]))


def test_the_published_scale_is_that_of_whole_bins() -> None:
    """scGPT regresses the number of the bin: its squared error is K squared times the one here."""
    batch = molecules([ONE, TWO, FIVE])
    batch = replace(batch, bins_T=batch.bins_T.clone())
    where_M = torch.nonzero(batch.hidden_T).squeeze(1)
    batch.bins_T[where_M] = torch.tensor([1, 37, 47])
    predicted_M = of_bin(torch.tensor([3.0, 36.0, 40.0]))
    unit, published = (
        ValueTarget("bin", num_bins=NUM_BINS, num_genes=100, bin_scale=name) for name in ("unit", "published")
    )
    error = np.mean([2.0**2, 1.0**2, 7.0**2])
    assert float(published.sums(batch, where_M, predicted_M, None)[0]) / 3 == pytest.approx(error, rel=1e-4)
    assert float(unit.sums(batch, where_M, predicted_M, None)[0]) / 3 == pytest.approx(error / 2601, rel=1e-4)
