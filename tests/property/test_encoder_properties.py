"""Every encoder, on random cells, masks, orders and company: a cell's output is the cell's own.

Dimension letters: B cells, T packed tokens.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import CLS_ID, NUM_SPECIAL
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellEncoder
from grn_cotrain.objectives.masking import hide
from grn_cotrain.recipe import TokenConfig
from tests.cases.cell_encoders import CLOSE, NUM_BINS, CellEncoderCase
from tests.cases.toy_cells import toy_cells
from tests.contract import test_cell_encoders as contract

CASES = [
    value
    for value in vars(contract).values()
    if isinstance(value, type) and issubclass(value, CellEncoderCase) and value is not CellEncoderCase
]
CELLS = toy_cells(num_cells=12)
TOKENIZER = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=4))


def _batch(rows: list[int], seed: int, share: float) -> PackedTokens:
    """Cells with a share of the values hidden, drawn per cell, so that company does not change the draw."""
    batch = TOKENIZER.batch(np.asarray(rows)).pack()
    draws = [
        np.random.default_rng((seed, row)).random(int(n)) for row, n in zip(rows, batch.cu_lens.diff(), strict=True)
    ]
    masked_T = torch.from_numpy(np.concatenate(draws) < share) & (batch.feature_ids_T >= NUM_SPECIAL)
    return hide(batch, masked_T, num_bins=NUM_BINS)


def _reordered(batch: PackedTokens, seed: int) -> tuple[PackedTokens, Tensor]:
    """The same cells, the tokens of each but CLS in another order; and where each token came from."""
    generator = torch.Generator().manual_seed(seed)
    order_T = torch.cat(
        [
            start + torch.cat([torch.zeros(1).long(), 1 + torch.randperm(end - start - 1, generator=generator)])
            for start, end in zip(batch.cu_lens[:-1].tolist(), batch.cu_lens[1:].tolist(), strict=True)
        ]
    )
    moved = {
        field.name: getattr(batch, field.name)[order_T]
        for field in fields(batch)
        if field.name.endswith("_T") and getattr(batch, field.name) is not None
    }
    return replace(batch, **moved), order_T


def _encoder(case: type[CellEncoderCase]) -> CellEncoder:
    return case().build(seed=3)


def test_every_registered_encoder_is_among_the_cases() -> None:
    assert {case.name for case in CASES} == set(CELL_ENCODERS.names())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@settings(max_examples=6, deadline=None)
@given(
    rows=st.lists(st.integers(0, 11), min_size=2, max_size=5, unique=True),
    seed=st.integers(0, 2**16),
    share=st.sampled_from([0.0, 0.15, 0.6, 1.0]),
)
def test_neither_company_nor_order_matters(
    case: type[CellEncoderCase], rows: list[int], seed: int, share: float
) -> None:
    encoder, features_VD = _encoder(case), CellEncoderCase.features()
    batch = _batch(rows, seed, share)
    with torch.no_grad():
        states = encoder(batch, features_VD)
        shuffled, order_T = _reordered(batch, seed)
        other = encoder(shuffled, features_VD)
        torch.testing.assert_close(other.tokens_TD, states.tokens_TD[order_T], **CLOSE)
        torch.testing.assert_close(other.cells_BD, states.cells_BD, **CLOSE)
        place = seed % len(rows)
        alone = encoder(_batch([rows[place]], seed, share), features_VD)
        start, end = batch.cu_lens[place : place + 2].tolist()
        torch.testing.assert_close(alone.tokens_TD, states.tokens_TD[start:end], **CLOSE)
        torch.testing.assert_close(alone.cells_BD[0], states.cells_BD[place], **CLOSE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**16), share=st.sampled_from([0.0, 0.4]))
def test_the_order_of_features_does_not_matter(case: type[CellEncoderCase], seed: int, share: float) -> None:
    """The same cells, their genes in another order from the file on: bins, ranks and statistics are made anew."""
    generator = np.random.default_rng(seed)
    num_genes = CELLS.num_features
    counts_CG = CELLS.values_CG.toarray() * generator.integers(1000, 100_000, CELLS.values_CG.shape)  # hardly a tie
    order_G = generator.permutation(num_genes)
    draws_CG = generator.random(counts_CG.shape)
    features_VD = CellEncoderCase.features()
    rows = np.arange(3)
    found = []
    for order in (np.arange(num_genes), order_G):
        cells = MemoryStore.build(CELLS.vocab.select(order.tolist()), counts_CG[:, order], kind="counts")
        encoder = _encoder(case)
        encoder.prepare(Statistics(cells))
        batch = Tokenizer(cells, TokenConfig(num_bins=NUM_BINS, zeros_per_cell="all")).batch(rows).pack()
        is_gene_T = batch.feature_ids_T >= NUM_SPECIAL
        name_T = torch.from_numpy(order)[(batch.feature_ids_T - NUM_SPECIAL).clamp_min(0)]
        masked_T = is_gene_T & (torch.from_numpy(draws_CG)[batch.cell_of_token_T, name_T] < share)
        batch = hide(batch, masked_T, num_bins=NUM_BINS)
        table_VD = torch.cat([features_VD[:NUM_SPECIAL], features_VD[NUM_SPECIAL:][torch.from_numpy(order)]])
        with torch.no_grad():
            states = encoder(batch, table_VD)
        by_name_T = torch.argsort(batch.cell_of_token_T * (num_genes + 1) + torch.where(is_gene_T, name_T + 1, 0))
        found.append((states.tokens_TD[by_name_T], states.cells_BD))
    (first_TD, first_BD), (other_TD, other_BD) = found
    torch.testing.assert_close(other_TD, first_TD, **CLOSE)
    torch.testing.assert_close(other_BD, first_BD, **CLOSE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**16), share=st.sampled_from([0.15, 0.6, 1.0]))
def test_hidden_values_are_never_read_and_two_passes_are_equal(
    case: type[CellEncoderCase], seed: int, share: float
) -> None:
    encoder, features_VD = _encoder(case), CellEncoderCase.features()
    batch = _batch([1, 5, 8], seed, share)
    assert batch.masked_T is not None
    noise_T = torch.rand(batch.num_tokens, generator=torch.Generator().manual_seed(seed)) * 9
    tampered = replace(
        batch,
        values_T=torch.where(batch.masked_T, noise_T, batch.values_T),
        bins_T=torch.where(batch.masked_T, (noise_T.long() % NUM_BINS) + 1, batch.bins_T),
    )
    with torch.no_grad():
        states = encoder(batch, features_VD)
        assert torch.equal(encoder(tampered, features_VD).tokens_TD, states.tokens_TD)
        assert torch.equal(encoder(batch, features_VD).cells_BD, states.cells_BD)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_cell_of_cls_alone_has_a_state(case: type[CellEncoderCase]) -> None:
    """A cell without a value: nothing to read but CLS, and nothing that is not finite."""
    empty = Tokenizer(toy_cells(density=0.0), TokenConfig(num_bins=NUM_BINS)).batch(np.arange(3)).pack()
    assert (empty.feature_ids_T == CLS_ID).all()
    with torch.no_grad():
        states = _encoder(case)(empty, CellEncoderCase.features())
    assert states.tokens_TD.shape[0] == 3
    assert torch.isfinite(states.tokens_TD).all()
    assert torch.isfinite(states.cells_BD).all()
