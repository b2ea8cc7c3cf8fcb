"""Alignment and networks, for any names: order, case and repeats never change what a gene is."""

from __future__ import annotations

import json
import string

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.edge_formats import merge_pairs
from grn_cotrain.data.vocab import NUM_SPECIAL, AlignmentReport, FeatureVocab
from grn_cotrain.errors import UserError

COMMON = settings(deadline=None, max_examples=50)
SYMBOL = st.text(string.ascii_uppercase + string.digits + "-", min_size=2, max_size=6).filter(
    lambda name: name[0].isalpha() and not name.endswith("-")
)
SYMBOLS = st.lists(SYMBOL, min_size=1, max_size=20, unique=True)


def vocab_of(symbols: list[str]) -> FeatureVocab:
    return FeatureVocab.from_symbols(symbols, species="human")


@COMMON
@given(SYMBOLS, st.randoms(use_true_random=False))
def test_alignment_follows_permutations(symbols, random) -> None:
    vocab = vocab_of(symbols)
    shuffled = random.sample(symbols, len(symbols))
    alignment = vocab.align(shuffled)
    assert [vocab.symbols[i] for i in alignment.index_N] == shuffled
    assert alignment.report == AlignmentReport(len(symbols), len(symbols))


@COMMON
@given(SYMBOLS, st.data())
def test_case_changes_nothing_but_the_report(symbols, data) -> None:
    vocab = vocab_of(symbols)
    # Lower and upper case only: capitalised names would speak for a mouse.
    written = [data.draw(st.sampled_from([name, name.lower()])) for name in symbols]
    alignment = vocab.align(written, min_mapped=0)
    assert alignment.index_N.tolist() == list(range(len(symbols)))
    changed = [(a, b) for a, b in zip(written, symbols, strict=True) if a != b]
    assert alignment.report.renamed == changed


@COMMON
@given(SYMBOLS, st.lists(SYMBOL, max_size=20))
def test_every_name_has_exactly_one_fate(symbols, given_names) -> None:
    vocab = vocab_of(symbols)
    names = [*given_names, symbols[0]]
    alignment = vocab.align(names, min_mapped=0)
    report = alignment.report
    assert report.mapped + len(report.duplicated) + len(report.lost) == report.num_given == len(names)
    mapped = alignment.index_N[alignment.index_N >= 0]
    assert len(set(mapped.tolist())) == mapped.size == report.mapped
    for name, index in zip(names, alignment.index_N, strict=True):
        assert index < 0 or vocab.symbols[index].casefold() == name.casefold()
    assert AlignmentReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    kept = vocab.align(names, min_mapped=0, repeats="keep")
    assert (kept.index_N < 0).sum() == len(report.lost)


@COMMON
@given(SYMBOLS, SYMBOLS)
def test_extension_keeps_old_ids_and_is_idempotent(first, second) -> None:
    vocab = vocab_of(first)
    longer = vocab.extend(second)
    assert longer.symbols[: len(vocab)] == vocab.symbols
    assert all(longer.get(name) is not None for name in second)
    assert longer.extend(second) == longer
    assert longer.size == len(longer) + NUM_SPECIAL


@COMMON
@given(SYMBOLS)
def test_vocabulary_round_trip_and_hash(symbols) -> None:
    vocab = vocab_of(symbols)
    again = FeatureVocab.from_dict(json.loads(json.dumps(vocab.to_dict())))
    assert again == vocab
    assert again.content_hash == vocab.content_hash
    if len(symbols) > 1:
        assert vocab.select(range(len(vocab))[::-1]).content_hash != vocab.content_hash


EDGES = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 9), st.sampled_from([-1, 0, 1]), st.sampled_from([0.5, 1.0, 2.0])),
    min_size=1,
    max_size=40,
)
FEW = settings(deadline=None, max_examples=20)  # each example aligns several networks
GENES = [f"GENE{i}" for i in range(8)]  # 8 and 9 are outside the vocabulary


def frame_of(edges) -> pd.DataFrame:
    rows = [(f"GENE{a}", f"GENE{b}", weight, sign, f"e{i}") for i, (a, b, sign, weight) in enumerate(edges)]
    return pd.DataFrame(rows, columns=["source", "target", "weight", "sign", "evidence"])


def expected(edges) -> dict[tuple[int, int], tuple[int, float]]:
    """Brute force: pair -> merged sign and weight."""
    groups: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for a, b, sign, weight in edges:
        groups.setdefault((a, b), []).append((sign, weight))
    result = {}
    for pair, members in groups.items():
        signs = {sign for sign, _ in members} - {0}
        result[pair] = (signs.pop() if len(signs) == 1 else 0, max(weight for _, weight in members))
    return result


@COMMON
@given(EDGES)
def test_merging_agrees_with_brute_force(edges) -> None:
    merged, removed, conflicts = merge_pairs(frame_of(edges))
    truth = {(f"GENE{a}", f"GENE{b}"): value for (a, b), value in expected(edges).items()}
    found = {(row.source, row.target): (int(row.sign), float(row.weight)) for row in merged.itertuples(index=False)}
    assert found == truth
    assert list(found) == list(truth)  # order of first occurrence
    assert removed == len(edges) - len(truth)
    torn = {p for p in truth if len({s for a, b, s, _ in edges if (f"GENE{a}", f"GENE{b}") == p} - {0}) == 2}
    assert set(conflicts) == torn
    evidence = [part for text in merged["evidence"] for part in text.split(";")]
    assert sorted(evidence) == sorted(f"e{i}" for i in range(len(edges)))


@FEW
@given(EDGES, st.randoms(use_true_random=False))
def test_network_agrees_with_brute_force_in_any_order(edges, random) -> None:
    vocab = vocab_of(GENES)
    truth = {pair: value for pair, value in expected(edges).items() if pair[1] < 8 and pair[0] != pair[1]}
    try:
        grn = GRN.from_frame(frame_of(edges), vocab)
    except UserError:
        assert not truth
        return
    found = dict(
        zip(
            map(tuple, grn.pairs_2E.T.tolist()),
            zip(grn.sign_E.tolist(), grn.weight_E.tolist(), strict=True),
            strict=True,
        )
    )
    assert found == truth
    assert list(found) == sorted(truth)
    assert grn.report.reciprocal == sum((b, a) in truth for a, b in truth)
    assert grn.report.outside_edges == sum(b >= 8 for _, b, _, _ in edges)
    shuffled = random.sample(edges, len(edges))
    assert GRN.from_frame(frame_of(shuffled), vocab).content_hash == grn.content_hash


@FEW
@given(EDGES.filter(lambda edges: any(a != b and b < 8 for a, b, _, _ in edges)))
def test_networks_round_trip(edges) -> None:
    import anndata

    vocab = vocab_of(GENES)
    grn = GRN.from_frame(frame_of(edges), vocab)
    adata = anndata.AnnData(np.zeros((1, 8), np.float32), var=pd.DataFrame(index=GENES[::-1]))
    grn.to_adata_varp(adata)
    assert GRN.from_networkx(grn.to_networkx(), vocab).content_hash == grn.content_hash
    assert GRN.from_adata_varp(adata, vocab).content_hash == grn.content_hash
    assert GRN.from_frame(grn.edges, vocab).content_hash == grn.content_hash
