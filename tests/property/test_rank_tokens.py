"""Rank tokens: whatever the cells, ranks equal a plain reference and depend on the cell's own proportions alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.ranks import ranks_within_cells
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.value_sketch import FeatureValues
from grn_cotrain.data.vocab import NUM_SPECIAL, FeatureVocab
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.geneformer import GeneformerEncoder, corpus_medians
from grn_cotrain.recipe import TokenConfig

NUM_GENES = 9
VOCAB = FeatureVocab.from_symbols([f"GENE{i}" for i in range(NUM_GENES)], species="human")

# Few values, so that ties are common; many zeros.
counts_CG = st.lists(
    st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 40]), min_size=NUM_GENES, max_size=NUM_GENES), min_size=1, max_size=6
).map(np.array)


def encoder(cells: MemoryStore) -> GeneformerEncoder:
    built = CELL_ENCODERS.build(
        "geneformer", {"num_layers": 2}, width=8, num_bins=4, num_modalities=3, num_genes=NUM_GENES
    )
    assert isinstance(built, GeneformerEncoder)
    built.prepare(Statistics(cells))
    return built.eval()


def ranked(built: GeneformerEncoder, batch: PackedTokens) -> list[dict[int, int]]:
    """Rank of each gene token, cell by cell."""
    ranks_T = built.prepare_batch(batch).ranks_T
    assert ranks_T is not None
    result: list[dict[int, int]] = [{} for _ in range(batch.num_cells)]
    for cell, gene, rank in zip(
        batch.cell_of_token_T.tolist(), batch.feature_ids_T.tolist(), ranks_T.tolist(), strict=True
    ):
        if gene >= NUM_SPECIAL:
            result[cell][gene - NUM_SPECIAL] = rank
        else:
            assert rank == 0
    return result


def batch_of(cells: MemoryStore, rows: list[int] | None = None) -> PackedTokens:
    tokenizer = Tokenizer(cells, TokenConfig(num_bins=4, zeros_per_cell="all"))
    return tokenizer.batch(np.arange(cells.num_cells) if rows is None else np.array(rows)).pack()


def medians_of(statistics: Statistics) -> tuple[np.ndarray, int]:
    return corpus_medians(statistics[FeatureValues()], statistics.layout)


@settings(deadline=None, max_examples=60)
@given(counts=counts_CG)
def test_ranks_equal_a_plain_reference(counts: np.ndarray) -> None:
    cells = MemoryStore.build(VOCAB, counts, kind="counts")
    log_values = cells.normalised().toarray()
    linear = [[math.expm1(float(value)) for value in row] for row in log_values]
    medians = []
    for gene in range(NUM_GENES):
        seen = sorted(row[gene] for row in linear if row[gene] > 0)
        middle = len(seen) // 2
        medians.append(None if not seen else seen[middle] if len(seen) % 2 else (seen[middle - 1] + seen[middle]) / 2)
    known = [median for median in medians if median is not None]
    fallback = float(np.median(known)) if known else 1.0
    medians = [float(np.float32(fallback if median is None else median)) for median in medians]
    got, unseen = medians_of(Statistics(cells))
    np.testing.assert_allclose(got, medians, rtol=1e-6)
    assert unseen == NUM_GENES - len(known)
    for row, ranks in zip(linear, ranked(encoder(cells), batch_of(cells)), strict=True):
        order = sorted((g for g in range(NUM_GENES) if row[g] > 0), key=lambda g: (-(row[g] / float(got[g])), g))
        assert ranks == {gene: order.index(gene) + 1 if gene in order else 0 for gene in range(NUM_GENES)}


@settings(deadline=None, max_examples=40)
@given(counts=counts_CG, seed=st.integers(0, 1000))
def test_neither_the_order_of_tokens_nor_other_cells_matter(counts: np.ndarray, seed: int) -> None:
    cells = MemoryStore.build(VOCAB, counts, kind="counts")
    built, batch = encoder(cells), batch_of(cells)
    together = ranked(built, batch)
    for row in range(cells.num_cells):
        assert ranked(built, batch_of(cells, [row])) == [together[row]]
    generator = torch.Generator().manual_seed(seed)
    order_T = torch.cat(
        [
            torch.cat([torch.tensor([0]), 1 + torch.randperm(NUM_GENES, generator=generator)]) + start
            for start in batch.cu_lens[:-1].tolist()
        ]
    )
    names = ("feature_ids_T", "values_T", "bins_T", "modality_T")
    shuffled = replace(batch, **{name: getattr(batch, name)[order_T] for name in names})
    assert ranked(built, shuffled) == together


@settings(deadline=None, max_examples=40)
@given(counts=counts_CG, factor=st.sampled_from([2, 3, 10, 1000]))
def test_depth_changes_nothing(counts: np.ndarray, factor: int) -> None:
    """Of a cell that is sequenced ``factor`` times as deep, the encoder sees the same, to the bit."""
    cells = MemoryStore.build(VOCAB, counts, kind="counts")
    deeper = MemoryStore.build(VOCAB, counts * factor, kind="counts")
    built = encoder(cells)
    features_VD = torch.randn(VOCAB.size, 8, generator=torch.Generator().manual_seed(0))
    plain, deep = batch_of(cells), batch_of(deeper)
    assert ranked(built, plain) == ranked(built, deep)
    assert torch.equal(built(plain, features_VD).tokens_TD, built(deep, features_VD).tokens_TD)


@settings(deadline=None, max_examples=60)
@given(
    scores=st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2), st.integers(0, 10**6)), max_size=30, unique=True)
)
def test_two_sorts_equal_one_sort_of_triples(scores: list[tuple[int, int, int]]) -> None:
    cell_N, score_N, id_N = (torch.tensor([triple[i] for triple in scores], dtype=torch.long) for i in range(3))
    got = ranks_within_cells(score_N.double(), cell_N, id_N).tolist()
    for position, (cell, score, name) in enumerate(scores):
        before = [t for t in scores if t[0] == cell and (-t[1], t[2]) < (-score, name)]
        equal = [t for t in scores[:position] if t[0] == cell and (t[1], t[2]) == (score, name)]
        assert got[position] == 1 + len(before) + len(equal)


@settings(deadline=None, max_examples=40)
@given(counts=counts_CG, seed=st.integers(0, 1000))
def test_visible_tokens_are_ranked_among_themselves(counts: np.ndarray, seed: int) -> None:
    """Whether ranks were taken before or after values were hidden, what is seen is the same; no gap tells of them."""
    cells = MemoryStore.build(VOCAB, counts, kind="counts")
    built, batch = encoder(cells), batch_of(cells)
    drawn_T = torch.rand(batch.num_tokens, generator=torch.Generator().manual_seed(seed)) < 0.4
    masked_T = drawn_T & (batch.feature_ids_T >= NUM_SPECIAL)
    after = batch.with_mask(masked_T)
    before = built.prepare_batch(batch).with_mask(masked_T)
    features_VD = torch.randn(VOCAB.size, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(built.inputs(after, features_VD), built.inputs(before, features_VD))
    for cell, ranks in enumerate(ranked(built, after)):
        part = slice(*batch.cu_lens[cell : cell + 2].tolist())
        visible = int((~masked_T[part] & (batch.values_T[part] > 0)).sum())
        assert sorted(rank for rank in ranks.values() if rank) == list(range(1, visible + 1))


def test_medians_are_those_of_training_cells_only() -> None:
    values = np.log1p(np.array([[1.0, 0, 4], [3.0, 0, 0], [100.0, 7, 100]], np.float32))
    cells = MemoryStore.build(FeatureVocab.from_symbols(["A", "B", "C"], species="human"), values, kind="log")
    got, unseen = medians_of(Statistics(cells, np.arange(2)))
    np.testing.assert_allclose(got, [2, 3, 4], rtol=1e-6)  # the unseen one: the median of 2 and 4
    assert unseen == 1
