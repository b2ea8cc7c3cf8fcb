"""Contract of message-passing back ends: every primitive equals a loop over edges, in value and gradient.

Dimension letters: E edges, G genes, D width, H heads, K width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.sparse import MessageGraph

from .graph_encoders import NUM_GENES, backend_or_skip, small_graph

__all__ = ["BackendCase"]

WIDTH, HEADS, HEAD_WIDTH = 6, 3, 4


def edges(graph: MessageGraph) -> list[tuple[int, int, int]]:
    """(edge, source, target), one at a time."""
    return [(e, int(s), int(t)) for e, (s, t) in enumerate(graph.edge_index_2E.T.tolist())]


def incoming(graph: MessageGraph, target: int) -> list[int]:
    return [e for e, _, t in edges(graph) if t == target]


class BackendCase:
    """Subclass with ``name``; skips, with the reason, where the library is not installed."""

    name: ClassVar[str]

    def check(
        self,
        primitive: Callable[[MessageBackend, MessageGraph, list[Tensor]], Tensor],
        reference: Callable[[MessageGraph, list[Tensor]], Tensor],
        shapes: Callable[[int], list[tuple[int, ...]]],
    ) -> None:
        """Compare a primitive with its reference on random inputs, and the gradients of a random projection."""
        backend = backend_or_skip(self.name)
        for graph in (small_graph(60), MessageGraph.build(torch.zeros(2, 0, dtype=torch.int64), NUM_GENES)):
            generator = torch.Generator().manual_seed(4)
            inputs = [torch.randn(shape, generator=generator) for shape in shapes(graph.edge_index_2E.shape[1])]
            found = []
            for function in (lambda x, g=graph: primitive(backend, g, x), lambda x, g=graph: reference(g, x)):
                leaves = [value.clone().requires_grad_() for value in inputs]
                output = function(leaves)
                probe = torch.randn(output.shape, generator=torch.Generator().manual_seed(5))
                if output.requires_grad:
                    (output * probe).sum().backward()
                gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
                found.append([output.detach(), *gradients])
            for mine, expected in zip(*found, strict=True):
                torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)

    def test_aggregate(self) -> None:
        def reference(graph: MessageGraph, inputs: list[Tensor], mean: bool) -> Tensor:
            rows = []
            for target in range(NUM_GENES):
                mine = incoming(graph, target)
                sources = [int(graph.edge_index_2E[0, e]) for e in mine]
                parts = [inputs[1][e] * inputs[0][s] for e, s in zip(mine, sources, strict=True)]
                total = torch.stack(parts).sum(0) if parts else torch.zeros(WIDTH)
                rows.append(total / max(1, len(parts)) if mean else total)
            return torch.stack(rows)

        for reduce in ("sum", "mean"):
            self.check(
                lambda backend, graph, x, r=reduce: backend.aggregate(x[0], graph, x[1], r),
                lambda graph, x, r=reduce: reference(graph, x, r == "mean"),
                lambda num_edges: [(NUM_GENES, WIDTH), (num_edges,)],
            )

    def test_aggregate_without_weights(self) -> None:
        backend, graph = backend_or_skip(self.name), small_graph(60)
        x_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(0))
        ones_E = torch.ones(graph.edge_index_2E.shape[1])
        torch.testing.assert_close(backend.aggregate(x_GD, graph), backend.aggregate(x_GD, graph, ones_E))

    def test_aggregate_heads(self) -> None:
        def reference(graph: MessageGraph, inputs: list[Tensor]) -> Tensor:
            rows = [torch.zeros(HEADS, HEAD_WIDTH) for _ in range(NUM_GENES)]
            for e, source, target in edges(graph):
                rows[target] = rows[target] + inputs[1][e][:, None] * inputs[0][source]
            return torch.stack(rows)

        self.check(
            lambda backend, graph, x: backend.aggregate_heads(x[0], graph, x[1]),
            reference,
            lambda num_edges: [(NUM_GENES, HEADS, HEAD_WIDTH), (num_edges, HEADS)],
        )

    def test_edge_softmax(self) -> None:
        def reference(graph: MessageGraph, inputs: list[Tensor]) -> Tensor:
            rows = {}
            for target in range(NUM_GENES):
                mine = incoming(graph, target)
                if mine:
                    rows.update(zip(mine, torch.softmax(inputs[0][mine], dim=0), strict=True))
            return torch.stack([rows[e] for e in sorted(rows)]) if rows else inputs[0] * 1

        self.check(
            lambda backend, graph, x: backend.edge_softmax(x[0], graph),
            reference,
            lambda num_edges: [(num_edges, HEADS)],
        )

    def test_gatv2_logits(self) -> None:
        def reference(graph: MessageGraph, inputs: list[Tensor]) -> Tensor:
            source_GHK, target_GHK, attention_HK = inputs
            rows = [
                (attention_HK * torch.nn.functional.leaky_relu(source_GHK[s] + target_GHK[t], 0.2)).sum(-1)
                for _, s, t in edges(graph)
            ]
            return torch.stack(rows) if rows else torch.zeros(0, HEADS)

        self.check(
            lambda backend, graph, x: backend.gatv2_logits(x[0], x[1], x[2], graph),
            reference,
            lambda _: [(NUM_GENES, HEADS, HEAD_WIDTH)] * 2 + [(HEADS, HEAD_WIDTH)],
        )

    def test_large_logits_stay_finite(self) -> None:
        backend, graph = backend_or_skip(self.name), small_graph(60)
        logits_EH = torch.full((graph.edge_index_2E.shape[1], HEADS), 500.0)
        assert torch.isfinite(backend.edge_softmax(logits_EH, graph)).all()
