"""``zeros_per_cell: all``: every token feature of every cell exactly once, by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import CLS_ID, NUM_SPECIAL, FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

NUM_BINS = 4


def brute_force(cells: MemoryStore, row: int) -> dict[int, tuple[float, int, int]]:
    """Feature id -> value, bin, modality of one cell, from the dense row and the rules as they are told."""
    value_G = cells.normalised().toarray()[row]
    is_token = np.asarray(cells.vocab.is_token)
    nonzero = sorted(float(value) for value, token in zip(value_G, is_token, strict=True) if token and value != 0)
    tokens = {CLS_ID: (0.0, 0, 0)}
    for gene, value in enumerate(value_G):
        if is_token[gene]:
            smaller = sum(other < value for other in nonzero)
            bin_ = 0 if value == 0 else 1 + smaller * NUM_BINS // len(nonzero)
            modality = ("gene", "peak", "protein").index(cells.vocab.modality[gene])
            tokens[gene + NUM_SPECIAL] = (float(value), bin_, modality)
    return tokens


def tokens_of(batch: PackedTokens, place: int) -> list[tuple[int, tuple[float, int, int]]]:
    start, end = batch.cu_lens[place : place + 2].tolist()
    columns = (batch.feature_ids_T, batch.values_T, batch.bins_T, batch.modality_T)
    ids, values, bins, modality = (column[start:end].tolist() for column in columns)
    return [(one, (value, bin_, kind)) for one, value, bin_, kind in zip(ids, values, bins, modality, strict=True)]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 25),
    st.floats(0, 1),
    st.integers(0, 3),
    st.sampled_from(["counts", "log"]),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(0, 99)),
)
def test_equals_brute_force(
    num_genes: int, density: float, spike_ins: int, kind: str, rows: list[int], seed: int | None
) -> None:
    cells = toy_cells(6, num_genes + spike_ins, kind=kind, density=density, spike_ins=spike_ins, seed=num_genes)  # type: ignore[arg-type]
    tokenizer = Tokenizer(cells, TokenConfig(num_bins=NUM_BINS, zeros_per_cell="all", max_tokens=1 + num_genes))
    batch = tokenizer.batch(np.asarray(rows), None if seed is None else np.random.default_rng(seed)).pack()
    assert batch.cu_lens.diff().tolist() == [1 + num_genes] * len(rows) == tokenizer.lengths_C[rows].tolist()
    assert batch.max_len == 1 + num_genes
    for place, row in enumerate(rows):
        found, expected = tokens_of(batch, place), brute_force(cells, row)
        assert found[0][0] == CLS_ID
        assert len(found) == len(expected)  # each exactly once
        assert {one for one, _ in found} == set(expected)
        for one, (value, bin_, modality) in found:
            assert value == pytest.approx(expected[one][0], rel=1e-6)
            assert (bin_, modality) == expected[one][1:]


def test_neither_a_generator_nor_its_state_matters() -> None:
    tokenizer = Tokenizer(toy_cells(), TokenConfig(zeros_per_cell="all"))
    plain = tokenizer.batch(np.arange(5)).pack()
    for seed in range(3):
        drawn = tokenizer.batch(np.arange(5), np.random.default_rng(seed)).pack()
        assert torch.equal(drawn.feature_ids_T, plain.feature_ids_T)
        assert torch.equal(drawn.values_T, plain.values_T)


def test_all_modalities_and_no_spike_in() -> None:
    vocab = FeatureVocab.from_symbols(
        ["A", "ERCC-00002", "ERCC6L", "chr1:1-2", "CD3"],
        modality=["gene", "gene", "gene", "peak", "protein"],
        species="human",
    )
    cells = MemoryStore.build(vocab, [[0, 7, 0, 3, 0], [0, 9, 0, 0, 0]], kind="counts")
    batch = Tokenizer(cells, TokenConfig(zeros_per_cell="all")).batch(np.arange(2)).pack()
    assert [sorted(one for one, _ in tokens_of(batch, place)) for place in (0, 1)] == [[CLS_ID, 3, 5, 6, 7]] * 2
    assert NUM_SPECIAL + vocab.index("ERCC-00002") not in batch.feature_ids_T
    assert {one: kind for one, (_, _, kind) in tokens_of(batch, 1)} == {CLS_ID: 0, 3: 0, 5: 0, 6: 1, 7: 2}


def test_too_few_tokens_are_refused_with_the_number_that_is_needed() -> None:
    cells = toy_cells(num_genes=30, spike_ins=2)  # 28 token features
    assert Tokenizer(cells, TokenConfig(zeros_per_cell="all", max_tokens=29)).lengths_C.tolist() == [29] * 12
    with pytest.raises(UserError, match=r"max_tokens: 28 for CLS and all of 28 features .*give at least 29"):
        Tokenizer(cells, TokenConfig(zeros_per_cell="all", max_tokens=28))


@pytest.mark.parametrize("given_value", ["every", -1, 1.5])
def test_other_words_and_numbers_are_refused(given_value: object) -> None:
    from grn_cotrain.config import parse

    with pytest.raises(UserError, match="zeros_per_cell"):
        parse(TokenConfig, {"zeros_per_cell": given_value})
    assert parse(TokenConfig, {"zeros_per_cell": "all"}).zeros_per_cell == "all"
