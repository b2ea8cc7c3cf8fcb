"""Message graphs by hand, and kernels against finite differences and gathered references."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest
import torch

from grn_cotrain.errors import MissingExtraError, UserError
from grn_cotrain.nn.backends import get_backend
from grn_cotrain.nn.sparse import RELATIONS, MessageGraph
from grn_cotrain.nn.sparse_kernels import edge_softmax, gatv2_logits, sampled_dot, spmm
from tests.cases.graph_encoders import NUM_GENES, backend_or_skip, small_graph


def test_edges_of_a_small_network() -> None:
    # 0 activates 1, 1 represses 0, 2 acts on 1 and on itself.
    pairs = np.array([[0, 1, 2, 2], [1, 0, 1, 2]])
    graph = MessageGraph.build(pairs, 4, sign_E=np.array([1, -1, 0, 1]))
    named = [
        (source, target, RELATIONS[relation])
        for (source, target), relation in zip(graph.edge_index_2E.T.tolist(), graph.edge_type_E.tolist(), strict=True)
    ]
    assert named == [
        (1, 0, "repression/forward"),
        (1, 0, "activation/reverse"),
        (0, 1, "activation/forward"),
        (0, 1, "repression/reverse"),
        (2, 1, "unknown/forward"),
        (1, 2, "unknown/reverse"),
    ]
    assert graph.rowptr.tolist() == [0, 2, 5, 6, 6]
    assert graph.transpose_rowptr.tolist() == [0, 2, 5, 6, 6]
    assert graph.transpose_order_E.tolist() == [2, 3, 0, 1, 5, 4]
    assert (graph.num_relations, graph.num_self_loops) == (6, 1)


def test_one_way() -> None:
    graph = MessageGraph.build(torch.tensor([[0, 1], [1, 2]]), 3, bidirectional=False)
    assert graph.edge_index_2E.tolist() == [[0, 1], [1, 2]]
    assert graph.num_relations == 3
    assert graph.edge_type_E.tolist() == [2, 2]


def test_without_drops_a_pair_and_its_reverse() -> None:
    graph = MessageGraph.build(torch.tensor([[0, 1, 2], [1, 0, 1]]), 3)
    for drop in ([[0], [1]], [[1], [0]]):
        kept = graph.without(np.array(drop))
        assert kept.edge_index_2E.tolist() == [[2, 1], [1, 2]]
    assert graph.without(torch.tensor([[0], [2]])).num_edges == graph.num_edges


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs_2E": torch.tensor([[0], [3]])}, r"0\.\.2"),
        ({"pairs_2E": torch.tensor([[-1], [0]])}, r"run from -1"),
        ({"pairs_2E": torch.tensor([0, 1])}, "shape"),
        ({"pairs_2E": torch.zeros(2, 1)}, "integers"),
        ({"pairs_2E": torch.tensor([[0], [1]]), "sign_E": torch.tensor([2])}, "-1, 0, 1"),
        ({"pairs_2E": torch.tensor([[0], [1]]), "weight_E": torch.ones(2)}, "weight_E"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MessageGraph.build(num_nodes=3, **arguments)


def test_gradcheck_of_the_kernels() -> None:
    graph = small_graph(30)
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    edges, check = graph.num_edges, torch.autograd.gradcheck
    assert check(lambda x, w: spmm(x, graph, w), (leaf(NUM_GENES, 3), leaf(edges)), check_batched_grad=False)
    assert check(lambda z: edge_softmax(z, graph), leaf(edges, 2), check_batched_grad=False)
    inputs = (leaf(NUM_GENES, 2, 3), leaf(NUM_GENES, 2, 3), leaf(2, 3))
    assert check(lambda s, t, a: gatv2_logits(s, t, a, graph, 0.2), inputs, check_batched_grad=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sampled_dot(dtype: torch.dtype) -> None:
    graph = small_graph()
    left, right = (torch.randn(NUM_GENES, 5, dtype=dtype, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    source_E, target_E = graph.edge_index_2E
    found = sampled_dot(left, right, graph.rowptr, target_E, source_E)
    torch.testing.assert_close(found, (left[target_E] * right[source_E]).sum(1))


@pytest.mark.parametrize("name", ["csr", "dgl", "torch_scatter"])
def test_primitives_agree_with_the_default(name: str) -> None:
    for graph in (small_graph(weighted=True).with_self_loops, small_graph(0)):
        results = []
        for backend in (get_backend(), backend_or_skip(name)):
            generator = torch.Generator().manual_seed(0)
            x, v, s, a, w, z = (
                torch.randn(shape, generator=generator).requires_grad_()
                for shape in (
                    (NUM_GENES, 6),
                    (NUM_GENES, 2, 3),
                    (NUM_GENES, 2, 3),
                    (2, 3),
                    (graph.num_edges,),
                    (graph.num_edges, 2),
                )
            )
            outputs = [
                backend.aggregate(x, graph),
                backend.aggregate(x, graph, w),
                backend.aggregate(x, graph, w, "mean"),
                backend.aggregate_heads(v, graph, z),
                backend.edge_softmax(z, graph),
                backend.gatv2_logits(v, s, a, graph),
                backend.aggregate_heads(v, graph, backend.edge_softmax(z, graph)),
            ]
            loss = sum((o * torch.randn(o.shape, generator=generator)).sum() for o in outputs)
            assert isinstance(loss, torch.Tensor)
            results.append([o.detach() for o in outputs] + list(torch.autograd.grad(loss, (x, v, s, a, w, z))))
        torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "library"), [("dgl", "dgl"), ("torch_scatter", "torch_scatter")])
def test_missing_library_names_the_command(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # makes the import fail, also where it is installed
    with pytest.raises(MissingExtraError, match="make setup-ci"):
        get_backend(name)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(bad: float) -> None:
    with pytest.raises(UserError, match="weight_E"):
        MessageGraph.build(torch.tensor([[0, 1], [1, 2]]), 3, weight_E=torch.tensor([1.0, bad]))


def test_a_dropped_pair_takes_its_weight_along_and_weight_zero_carries_nothing() -> None:
    pairs_2E, weight_E = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.tensor([2.0, 0.0, 5.0])
    graph = MessageGraph.build(pairs_2E, 3, weight_E=weight_E)
    assert graph.degree_G.tolist() == [7.0, 2.0, 5.0]
    assert (graph.num_edges, graph.num_self_loops) == (4, 0)
    assert graph.without(torch.tensor([[1], [0]])).degree_G.tolist() == [5.0, 0.0, 5.0]


def test_backends_import_no_optional_library() -> None:
    module = importlib.import_module("grn_cotrain.nn.backends.backend_dgl")
    assert "dgl" not in vars(module)


def test_large_tables_are_read_in_blocks_of_columns() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = MessageGraph.build(torch.randint(0, 9000, (2, 90_000), generator=generator), 9000, bidirectional=False)
    x = torch.randn(9000, 130, generator=generator)  # beyond every threshold, and no multiple of the block
    source_E, target_E = graph.edge_index_2E
    expected = torch.zeros_like(x).index_add_(0, target_E, x.index_select(0, source_E))
    torch.testing.assert_close(spmm(x, graph), expected, rtol=1e-5, atol=1e-5)
