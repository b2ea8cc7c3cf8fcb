"""Encoder layers against torch-geometric's own layers with the same weights: an implementation that shares no code.

Dimension letters: G genes, D width, E edges, R relations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, GCNConv, RGCNConv, SAGEConv

from grn_cotrain.errors import UserError
from grn_cotrain.nn.backends import get_backend
from grn_cotrain.nn.graph_encoders.gatv2 import GatV2, GatV2Layer
from grn_cotrain.nn.graph_encoders.gcn import GcnLayer
from grn_cotrain.nn.graph_encoders.rgcn import RgcnLayer
from grn_cotrain.nn.graph_encoders.sage import SageLayer
from grn_cotrain.nn.sparse import MessageGraph
from tests.cases.graph_encoders import NUM_GENES, WIDTH, small_graph

BACKENDS = ["torch_geometric", "csr"]


def _copy(*pairs: tuple[Any, Any]) -> None:
    for theirs, ours in pairs:
        theirs.data.copy_(ours.data)


def _assert_same(layer: nn.Module, graph: MessageGraph, peer: Callable[[Tensor], Tensor]) -> None:
    outputs, gradients = [], []
    for function in (lambda x: layer(x, graph), peer):
        genes_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(3)).requires_grad_()
        outputs.append(function(genes_GD))
        probe_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(4))
        gradients.append(torch.autograd.grad((outputs[-1] * probe_GD).sum(), genes_GD)[0])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gcn(backend: str, weighted: bool) -> None:
    graph, layer = small_graph(weighted=weighted), GcnLayer(WIDTH, get_backend(backend))
    nn.init.normal_(layer.linear.bias)
    peer = GCNConv(WIDTH, WIDTH)
    _copy((peer.lin.weight, layer.linear.weight), (peer.bias, layer.linear.bias))
    _assert_same(layer, graph, lambda x: peer(x, graph.edge_index_2E, graph.weight_E))


@pytest.mark.parametrize("backend", BACKENDS)
def test_sage(backend: str) -> None:
    graph, layer = small_graph(), SageLayer(WIDTH, get_backend(backend))
    peer = SAGEConv(WIDTH, WIDTH)
    _copy(
        (peer.lin_l.weight, layer.neighbour.weight),
        (peer.lin_l.bias, layer.neighbour.bias),
        (peer.lin_r.weight, layer.root.weight),
    )
    _assert_same(layer, graph, lambda x: peer(x, graph.edge_index_2E))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("self_loops", [False, True])
def test_gatv2(backend: str, self_loops: bool) -> None:
    config = GatV2.Config(heads=4, self_loops=self_loops)
    graph, layer = small_graph(), GatV2Layer(config, WIDTH, get_backend(backend))
    for bias in (layer.source.bias, layer.target.bias, layer.bias_D):
        nn.init.normal_(bias)
    peer = GATv2Conv(WIDTH, WIDTH // 4, heads=4, add_self_loops=self_loops)
    _copy(
        (peer.lin_l.weight, layer.source.weight),
        (peer.lin_l.bias, layer.source.bias),
        (peer.lin_r.weight, layer.target.weight),
        (peer.lin_r.bias, layer.target.bias),
        (peer.att, layer.attention_HK.unsqueeze(0)),
        (peer.bias, layer.bias_D),
    )
    _assert_same(layer, graph, lambda x: peer(x, graph.edge_index_2E))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("num_bases", [None, 2])
def test_rgcn(backend: str, num_bases: int | None) -> None:
    graph, layer = small_graph(), RgcnLayer(WIDTH, 6, num_bases, get_backend(backend))
    nn.init.normal_(layer.root.bias)
    peer = RGCNConv(WIDTH, WIDTH, num_relations=6, num_bases=num_bases)
    _copy((peer.weight, layer.basis_BDD), (peer.root, layer.root.weight.T), (peer.bias, layer.root.bias))
    if num_bases is not None:
        _copy((peer.comp, layer.coefficient_RB))
    _assert_same(layer, graph, lambda x: peer(x, graph.edge_index_2E, graph.edge_type_E))


def test_rgcn_reads_sign_and_direction() -> None:
    layer = RgcnLayer(WIDTH, 6, None, get_backend("csr"))
    genes_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(0))
    outputs = [
        layer(genes_GD, MessageGraph.build(torch.tensor(pair), NUM_GENES, sign_E=torch.tensor([sign])))
        for pair in ([[0], [1]], [[1], [0]])
        for sign in (-1, 0, 1)
    ]
    for first in range(6):
        for second in range(first):
            assert not torch.allclose(outputs[first], outputs[second])


@pytest.mark.parametrize("backend", BACKENDS)
def test_weighted_gcn_and_sage_by_dense_matrices(backend: str) -> None:
    """The equations of their docstrings, as products with a dense adjacency matrix."""
    pairs_2E, weight_E = torch.tensor([[0, 0, 2], [1, 3, 1]]), torch.tensor([0.5, 2.0, 3.0])
    graph = MessageGraph.build(pairs_2E, NUM_GENES, weight_E=weight_E)
    adjacency_GG = torch.zeros(NUM_GENES, NUM_GENES)  # row: who receives
    adjacency_GG[pairs_2E[1], pairs_2E[0]] = weight_E
    adjacency_GG[pairs_2E[0], pairs_2E[1]] = weight_E  # both directions of travel have the weight
    genes_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(0))
    degree_G = 1 + adjacency_GG.sum(1)
    assert degree_G[:4].tolist() == [3.5, 4.5, 4.0, 3.0]

    gcn = GcnLayer(WIDTH, get_backend(backend))
    normalised_GG = (adjacency_GG + torch.eye(NUM_GENES)) / (degree_G[:, None] * degree_G[None, :]).sqrt()
    torch.testing.assert_close(gcn(genes_GD, graph), gcn.linear(normalised_GG @ genes_GD), rtol=1e-5, atol=1e-5)

    sage = SageLayer(WIDTH, get_backend(backend))
    mean_GG = adjacency_GG / adjacency_GG.sum(1, keepdim=True).clamp(min=1e-9)
    expected_GD = sage.neighbour(mean_GG @ genes_GD) + sage.root(genes_GD)
    torch.testing.assert_close(sage(genes_GD, graph), expected_GD, rtol=1e-5, atol=1e-5)


def test_errors_name_the_fix() -> None:
    with pytest.raises(UserError, match="does not divide width 16"):
        GatV2Layer(GatV2.Config(heads=3), WIDTH, get_backend("csr"))
    with pytest.raises(UserError, match="bidirectional"):
        RgcnLayer(WIDTH, 3, None, get_backend("csr"))(torch.zeros(NUM_GENES, WIDTH), small_graph())
    with pytest.raises(UserError, match="choose from csr, dgl, torch_geometric, torch_scatter"):
        get_backend("pyg")
