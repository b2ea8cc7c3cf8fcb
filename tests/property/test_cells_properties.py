"""Properties of binning, packing, masking and streams."""

from __future__ import annotations

import json

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

SETTINGS = settings(deadline=None, max_examples=40)
VALUES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.25]), max_size=25)


def bins_by_hand(values: list[float], num_bins: int) -> list[int]:
    """The definition, one value at a time."""
    nonzero = [value for value in values if value > 0]
    return [
        0 if value == 0 else 1 + sum(other < value for other in nonzero) * num_bins // len(nonzero) for value in values
    ]


@SETTINGS
@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(2, 20), st.randoms(use_true_random=False))
def test_bins_follow_the_definition_in_any_order(cells: list[list[float]], num_bins: int, random) -> None:
    entries = [
        (value, cell, expected)
        for cell, values in enumerate(cells)
        for value, expected in zip(values, bins_by_hand(values, num_bins), strict=True)
    ]
    random.shuffle(entries)
    found = quantile_bins(
        torch.tensor([entry[0] for entry in entries], dtype=torch.float32),
        torch.tensor([entry[1] for entry in entries], dtype=torch.int64),
        num_bins,
    )
    assert found.tolist() == [entry[2] for entry in entries]


@SETTINGS
@given(VALUES, st.integers(2, 9))
def test_bins_are_in_range_monotone_and_equal_for_equal_values(values: list[float], num_bins: int) -> None:
    bins = quantile_bins(torch.tensor(values), torch.zeros(len(values), dtype=torch.int64), num_bins).tolist()
    assert all(0 <= bin_ <= num_bins for bin_ in bins)
    for value, bin_ in zip(values, bins, strict=True):
        for other, other_bin in zip(values, bins, strict=True):
            assert (value < other) <= (bin_ <= other_bin)
            assert (value == other) <= (bin_ == other_bin)
            assert (value == 0) == (bin_ == 0)


@SETTINGS
@given(
    st.lists(st.integers(0, 11), min_size=1, max_size=6),
    st.integers(5, 40),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(0, 99)),
)
def test_a_batch_is_its_cells(rows: list[int], max_tokens: int, zeros: int, seed: int | None) -> None:
    cells = toy_cells()
    tokenizer = Tokenizer(cells, TokenConfig(max_tokens=max_tokens, zeros_per_cell=zeros))
    batch = tokenizer.batch(np.array(rows), None if seed is None else np.random.default_rng(seed)).pack()
    dense = cells.normalised().toarray()
    lengths = batch.cu_lens.diff().tolist()
    assert lengths == tokenizer.lengths_C[rows].tolist()
    assert batch.max_len == max(lengths) <= max_tokens
    assert (batch.feature_ids_T == 2).nonzero().flatten().tolist() == batch.cls_positions_B.tolist()
    for place, row in enumerate(rows):
        start, end = batch.cu_lens[place : place + 2].tolist()
        gene = batch.feature_ids_T[start + 1 : end].numpy() - 3
        assert len(set(gene.tolist())) == len(gene)
        np.testing.assert_array_equal(dense[row, gene], batch.values_T[start + 1 : end].numpy())
        nonzero = int((dense[row, :28] > 0).sum())
        assert (batch.values_T[start + 1 : end] > 0).sum() == min(nonzero, max_tokens - 1 - zeros)


@SETTINGS
@given(st.integers(0, 999), st.floats(0.05, 0.95), st.floats(0.0, 0.95))
def test_masks_spare_special_tokens_and_visible_bins_tell_nothing_of_hidden_ones(
    seed: int, share: float, zero_share: float
) -> None:
    tokenizer = Tokenizer(toy_cells(), TokenConfig(zeros_per_cell=3, num_bins=4))
    batch = tokenizer.batch(np.arange(6)).pack()
    masked_T = draw_mask(batch, torch.Generator().manual_seed(seed), share=share, zero_share=zero_share)
    assert not masked_T[batch.cls_positions_B].any()
    again_T = draw_mask(batch, torch.Generator().manual_seed(seed), share=share, zero_share=0.0)
    assert not again_T[batch.values_T == 0].any()
    assert torch.equal(masked_T & (batch.values_T != 0), again_T)
    hidden = hide(batch, masked_T, num_bins=4)
    assert torch.equal(hidden.bins_T[masked_T], batch.bins_T[masked_T])
    assert torch.equal(hidden.bins_T > 0, batch.bins_T > 0)
    for cell in range(6):
        start, end = batch.cu_lens[cell : cell + 2].tolist()
        seen = ~masked_T[start:end]
        assert hidden.bins_T[start:end][seen].tolist() == bins_by_hand(batch.values_T[start:end][seen].tolist(), 4)


@SETTINGS
@given(st.integers(0, 99), st.integers(1, 120), st.integers(0, 12), st.integers(2, 12))
def test_streams_continue_identically(seed: int, budget: int, done: int, num_rows: int) -> None:
    tokenizer = Tokenizer(toy_cells(density=0.8), TokenConfig(max_tokens=15, zeros_per_cell=2))
    rows = np.arange(num_rows)
    stream = CellStream(tokenizer, rows, tokens_per_batch=budget, seed=seed)
    for _ in range(done):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    resumed = CellStream(tokenizer, rows, tokens_per_batch=budget, seed=seed)
    resumed.load_state_dict(state)
    for _ in range(8):
        one, other = next(stream).pack(), next(resumed).pack()
        assert torch.equal(one.cell_index_B, other.cell_index_B)
        assert torch.equal(one.feature_ids_T, other.feature_ids_T)
        assert torch.equal(one.values_T, other.values_T)
        assert one.num_tokens <= budget or one.num_cells == 1
    assert (stream.epoch, stream.position) == (resumed.epoch, resumed.position)


@SETTINGS
@given(st.integers(0, 99), st.integers(10, 120))
def test_an_epoch_visits_each_row_once_and_epochs_differ(seed: int, budget: int) -> None:
    rows = np.array([0, 2, 3, 5, 7, 8, 9, 10, 11])
    stream = CellStream(Tokenizer(toy_cells(), TokenConfig()), rows, tokens_per_batch=budget, seed=seed)
    orders = []
    for epoch in range(2):
        seen: list[int] = []
        while len(seen) < len(rows):
            seen += next(stream).cell_index_B.tolist()
            assert stream.epoch == epoch
        assert sorted(seen) == rows.tolist()
        orders.append(seen)
    assert orders[0] != orders[1]
