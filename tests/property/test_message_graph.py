"""Message graphs after edits equal graphs built afresh; the two orders describe the same edges."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.nn.sparse import MessageGraph

NODES = 9
pair_lists = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1), st.integers(-1, 1)), max_size=40)


def _build(triples: list[tuple[int, int, int]], bidirectional: bool) -> MessageGraph:
    table = torch.tensor(triples, dtype=torch.int64).reshape(-1, 3).T
    # Weights that are a function of the edge, so that they can be recognised after any reordering.
    return MessageGraph.build(
        table[:2], NODES, sign_E=table[2], weight_E=(table[0] * NODES + table[1]).float(), bidirectional=bidirectional
    )


def _assert_sound(graph: MessageGraph) -> None:
    source_E, target_E = graph.edge_index_2E
    order = graph.transpose_order_E
    assert sorted(order.tolist()) == list(range(graph.num_edges))
    keys = list(zip(target_E.tolist(), source_E.tolist(), graph.edge_type_E.tolist(), strict=True))
    assert [key[:2] for key in keys] == sorted(key[:2] for key in keys)
    by_source = list(zip(source_E[order].tolist(), target_E[order].tolist(), strict=True))
    assert by_source == sorted(by_source)
    for node in range(NODES):
        assert set(target_E[graph.rowptr[node] : graph.rowptr[node + 1]].tolist()) <= {node}
        leaving = order[graph.transpose_rowptr[node] : graph.transpose_rowptr[node + 1]]
        assert set(source_E[leaving].tolist()) <= {node}
    assert graph.rowptr[-1] == graph.transpose_rowptr[-1] == graph.num_edges


def _assert_same(found: MessageGraph, expected: MessageGraph) -> None:
    _assert_sound(found)
    for name in ("edge_index_2E", "edge_type_E", "rowptr", "transpose_rowptr", "transpose_order_E", "weight_E"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.num_relations == expected.num_relations


@settings(deadline=None, max_examples=60)
@given(pair_lists, pair_lists, st.booleans())
def test_without_equals_building_from_the_rest(
    triples: list[tuple[int, int, int]], drop: list[tuple[int, int, int]], bidirectional: bool
) -> None:
    graph = _build(triples, bidirectional)
    _assert_sound(graph)
    gone = {frozenset(pair[:2]) for pair in drop}
    expected = _build([triple for triple in triples if frozenset(triple[:2]) not in gone], bidirectional)
    drop_2M = torch.tensor([pair[:2] for pair in drop], dtype=torch.int64).reshape(-1, 2).T
    _assert_same(graph.without(drop_2M), expected)


@settings(deadline=None, max_examples=60)
@given(pair_lists, st.booleans())
def test_self_loops_and_relations(triples: list[tuple[int, int, int]], bidirectional: bool) -> None:
    graph = _build(triples, bidirectional)
    assert graph.num_edges == (2 if bidirectional else 1) * sum(triple[0] != triple[1] for triple in triples)
    assert graph.num_self_loops == sum(triple[0] == triple[1] for triple in triples)
    looped = graph.with_self_loops
    _assert_sound(looped)
    loops = looped.edge_index_2E[0] == looped.edge_index_2E[1]
    assert looped.edge_index_2E[0][loops].tolist() == list(range(NODES))
    assert (looped.edge_type_E == graph.num_relations).tolist() == loops.tolist()
    assert looped.weight_E is not None
    assert graph.weight_E is not None
    assert bool((looped.weight_E[loops] == 1).all())
    assert torch.equal(looped.edge_index_2E[:, ~loops], graph.edge_index_2E)
    assert torch.equal(looped.weight_E[~loops], graph.weight_E)
    parts = graph.by_relation
    assert len(parts) == graph.num_relations
    assert sum(part.num_edges for part in parts) == graph.num_edges
    for relation, part in enumerate(parts):
        _assert_sound(part)
        assert set(part.edge_type_E.tolist()) <= {relation}
