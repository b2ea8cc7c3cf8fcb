"""Packed tokens on a small matrix whose every token can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.streams import CellStream, one_pass
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import CLS_ID, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

VOCAB = FeatureVocab.from_symbols(["A", "ERCC-00002", "ERCC6L", "B"], species="human")
CELLS = MemoryStore.build(VOCAB, [[1.0, 9.0, 2.0, 2.0], [0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]], kind="log")


def test_every_token_of_a_small_batch() -> None:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=2)).batch(np.array([2, 0, 1])).pack()
    assert batch.feature_ids_T.tolist() == [CLS_ID, 6, CLS_ID, 3, 5, 6, CLS_ID]
    assert batch.values_T.tolist() == [0, 4, 0, 1, 2, 2, 0]
    assert batch.bins_T.tolist() == [0, 1, 0, 1, 1, 1, 0]  # 2 of 3 values tie at rank 1: bin 1 + floor(1 * 2 / 3)
    assert batch.cu_lens.tolist() == [0, 2, 6, 7]
    assert batch.cu_lens.dtype == torch.int32
    assert batch.max_len == 4
    assert batch.cell_index_B.tolist() == [2, 0, 1]
    assert batch.modality_T.tolist() == [0] * 7


def test_spike_ins_are_no_tokens_and_leave_the_bins_alone() -> None:
    tokenizer = Tokenizer(CELLS, TokenConfig(num_bins=3, zeros_per_cell=2, max_tokens=4))
    ids = [tokenizer.batch(np.arange(3), np.random.default_rng(seed)).pack().feature_ids_T for seed in range(20)]
    assert 4 not in torch.cat(ids)
    assert set(torch.cat(ids).tolist()) == {CLS_ID, 3, 5, 6}


def test_zeros_are_zero_in_the_cell_and_distinct() -> None:
    cells = toy_cells(num_genes=40)
    tokenizer = Tokenizer(cells, TokenConfig(zeros_per_cell=10))
    batch = tokenizer.batch(np.arange(12), np.random.default_rng(0)).pack()
    dense = cells.normalised().toarray()
    for cell in range(12):
        start, end = batch.cu_lens[cell : cell + 2].tolist()
        gene = batch.feature_ids_T[start + 1 : end].numpy() - 3
        value = batch.values_T[start + 1 : end].numpy()
        assert len(set(gene.tolist())) == len(gene)
        np.testing.assert_array_equal(dense[cell, gene], value)
        assert (value == 0).sum() == 10
        assert (batch.bins_T[start + 1 : end].numpy()[value == 0] == 0).all()
        assert (batch.bins_T[start + 1 : end].numpy()[value > 0] > 0).all()


def test_fewer_zeros_than_asked_for_is_no_error() -> None:
    batch = Tokenizer(CELLS, TokenConfig(zeros_per_cell=3)).batch(np.array([0, 2])).pack()
    assert batch.cu_lens.tolist() == [0, 4, 8]  # the first cell has no zero token feature, the second two


def test_down_sampling_is_random_with_a_generator_and_keeps_the_highest_without() -> None:
    cells = toy_cells(num_genes=60, density=0.9)
    tokenizer = Tokenizer(cells, TokenConfig(max_tokens=11))
    plain = tokenizer.batch(np.array([3])).pack()
    dense = cells.normalised().toarray()[3, :58]
    assert plain.num_tokens == 11
    assert sorted(plain.values_T[1:].tolist()) == pytest.approx(sorted(dense)[-10:])
    assert torch.equal(plain.feature_ids_T, tokenizer.batch(np.array([3])).pack().feature_ids_T)
    draws = [tokenizer.batch(np.array([3]), np.random.default_rng(seed)).pack() for seed in range(30)]
    assert len({tuple(draw.feature_ids_T.tolist()) for draw in draws}) == 30
    seen = set(torch.cat([draw.feature_ids_T[1:] for draw in draws]).tolist())
    assert len(seen) > 0.9 * (dense > 0).sum()
    kept_bins = dict(zip(plain.feature_ids_T.tolist(), plain.bins_T.tolist(), strict=True))
    whole = Tokenizer(cells, TokenConfig()).batch(np.array([3])).pack()
    assert all(
        kept_bins.get(gene, bin_) == bin_
        for gene, bin_ in zip(whole.feature_ids_T.tolist(), whole.bins_T.tolist(), strict=True)
    )


def test_modalities_are_carried() -> None:
    vocab = FeatureVocab.from_symbols(["A", "chr1:1-2", "CD3"], modality=["gene", "peak", "protein"], species="human")
    cells = MemoryStore.build(vocab, [[1, 1, 1]], kind="log")
    assert Tokenizer(cells, TokenConfig()).batch(np.array([0])).pack().modality_T.tolist() == [0, 0, 1, 2]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="leaves no room"):
        Tokenizer(CELLS, TokenConfig(max_tokens=3, zeros_per_cell=2))
    with pytest.raises(UserError, match="4 for 3 token features"):
        Tokenizer(CELLS, TokenConfig(zeros_per_cell=4))
    with pytest.raises(UserError, match="none to train on"):
        CellStream(Tokenizer(CELLS, TokenConfig()), np.array([]), tokens_per_batch=10, seed=0)


def test_one_pass_visits_each_row_once_in_order() -> None:
    tokenizer = Tokenizer(toy_cells(), TokenConfig())
    rows = np.array([3, 1, 8, 0])
    batches = list(one_pass(tokenizer, rows, tokens_per_batch=30))
    assert torch.cat([batch.cell_index_B for batch in batches]).tolist() == rows.tolist()
    assert len(batches) > 1


def test_state_of_another_stream_is_refused() -> None:
    tokenizer = Tokenizer(toy_cells(), TokenConfig())
    state = CellStream(tokenizer, np.arange(5), tokens_per_batch=30, seed=0).state_dict()
    with pytest.raises(UserError, match="seed is 0, this run's 1"):
        CellStream(tokenizer, np.arange(5), tokens_per_batch=30, seed=1).load_state_dict(state)


def test_cells_per_batch_gives_every_reader_the_same_cells() -> None:
    """Zeros lengthen cells and would move the cuts; a number of cells does not."""
    rows = np.arange(12)

    def batches(zeros: int, most: int | None) -> list[list[int]]:
        tokenizer = Tokenizer(toy_cells(), TokenConfig(zeros_per_cell=zeros))
        budget = 90 if most is None else 10_000
        stream = CellStream(tokenizer, rows, tokens_per_batch=budget, cells_per_batch=most, seed=0)
        return [next(stream).cell_index_B.tolist() for _ in range(4)]

    assert batches(0, None) != batches(5, None)
    assert batches(0, 5) == batches(5, 5)
    assert [len(cells) for cells in batches(0, 5)] == [5, 5, 2, 5]
    state = CellStream(Tokenizer(toy_cells(), TokenConfig()), rows, tokens_per_batch=30, cells_per_batch=5, seed=0)
    other = CellStream(Tokenizer(toy_cells(), TokenConfig()), rows, tokens_per_batch=30, seed=0)
    with pytest.raises(UserError, match="cells_per_batch"):
        other.load_state_dict(state.state_dict())
