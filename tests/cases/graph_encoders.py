"""Contract of graph encoders, checked for every registered one over every back end.

Dimension letters: G genes, D width, E edges.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from grn_cotrain.errors import MissingExtraError, UserError
from grn_cotrain.nn.backends import MessageBackend, get_backend
from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS, GraphEncoder
from grn_cotrain.nn.sparse import MessageGraph

from .skips import missing_extra

__all__ = ["GraphEncoderCase", "backend_or_skip", "small_graph"]

NUM_GENES, WIDTH = 40, 16


def backend_or_skip(name: str) -> MessageBackend:
    """The back end, or a skip that says why not."""
    try:
        return get_backend(name)
    except MissingExtraError:
        missing_extra(name)


def small_graph(
    num_pairs: int = 160, *, seed: int = 0, bidirectional: bool = True, weighted: bool = False
) -> MessageGraph:
    """A random signed graph with parallel and reciprocal edges; the last five genes have none."""
    generator = torch.Generator().manual_seed(seed)
    return MessageGraph.build(
        torch.randint(0, NUM_GENES - 5, (2, num_pairs), generator=generator),
        NUM_GENES,
        sign_E=torch.randint(-1, 2, (num_pairs,), generator=generator),
        weight_E=torch.rand(num_pairs, generator=generator) + 0.1 if weighted else None,
        bidirectional=bidirectional,
    )


class GraphEncoderCase:
    """Subclass with ``name`` and ``options``."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    passes_messages: ClassVar[bool] = True

    def build(self, backend: str = "torch_geometric", seed: int = 0, **options: Any) -> GraphEncoder:
        """An encoder in evaluation mode, with weights that the seed decides."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = GRAPH_ENCODERS.build(
                self.name,
                {**self.options, **options},
                width=WIDTH,
                num_relations=6,
                backend=backend_or_skip(backend),
            )
        return encoder.eval()

    @staticmethod
    def genes(seed: int = 1) -> Tensor:
        """Random rows."""
        return torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(seed))

    @staticmethod
    def outputs_and_gradients(encoder: GraphEncoder, graph: MessageGraph, genes_GD: Tensor) -> dict[str, Tensor]:
        """The output, and the gradients of a random projection of it: of the input, and of every weight."""
        genes_GD = genes_GD.clone().requires_grad_()
        output_GD = encoder(genes_GD, graph)
        probe_GD = torch.randn(output_GD.shape, generator=torch.Generator().manual_seed(2))
        (output_GD * probe_GD).sum().backward()
        assert genes_GD.grad is not None
        found = {"output": output_GD.detach(), "genes": genes_GD.grad}
        return found | {name: weight.grad for name, weight in encoder.named_parameters() if weight.grad is not None}

    def test_shape_and_finite_also_without_edges(self) -> None:
        encoder = self.build()
        empty = MessageGraph.build(torch.zeros(2, 0, dtype=torch.int64), NUM_GENES)
        for graph in (small_graph(), empty):
            output_GD = encoder(self.genes(), graph)
            assert output_GD.shape == (NUM_GENES, WIDTH)
            assert torch.isfinite(output_GD).all()

    @pytest.mark.parametrize("backend", ["csr", "dgl", "torch_scatter"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_backends_agree(self, backend: str, weighted: bool) -> None:
        graph = small_graph(weighted=weighted)
        expected = self.outputs_and_gradients(self.build(), graph, self.genes())
        found = self.outputs_and_gradients(self.build(backend), graph, self.genes())
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")

    @pytest.mark.parametrize("backend", ["torch_geometric", "csr", "dgl", "torch_scatter"])
    def test_an_edge_of_weight_two_is_two_edges_and_one_of_weight_zero_is_none(self, backend: str) -> None:
        encoder, genes_GD = self.build(backend), self.genes()
        generator = torch.Generator().manual_seed(5)
        pairs_2E = torch.randint(0, NUM_GENES - 5, (2, 90), generator=generator)
        sign_E = torch.randint(-1, 2, (90,), generator=generator)
        times_E = torch.randint(0, 4, (90,), generator=generator)
        plain, weighted, repeated = (
            encoder(genes_GD, graph)
            for graph in (
                MessageGraph.build(pairs_2E, NUM_GENES, sign_E=sign_E),
                MessageGraph.build(pairs_2E, NUM_GENES, sign_E=sign_E, weight_E=times_E),
                MessageGraph.build(
                    pairs_2E.repeat_interleave(times_E, 1), NUM_GENES, sign_E=sign_E.repeat_interleave(times_E)
                ),
            )
        )
        if encoder.uses_weights:
            torch.testing.assert_close(weighted, repeated, rtol=1e-5, atol=1e-5)
        assert torch.equal(weighted, plain) is not encoder.uses_weights

    def test_weights_of_one_change_nothing(self) -> None:
        encoder, pairs_2E = self.build("csr"), torch.tensor([[0, 2, 0], [1, 3, 3]])
        graphs = [MessageGraph.build(pairs_2E, NUM_GENES, weight_E=weight) for weight in (None, torch.ones(3))]
        torch.testing.assert_close(*(encoder(self.genes(), graph) for graph in graphs), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("backend", ["torch_geometric", "csr"])
    def test_deterministic_algorithms(self, backend: str) -> None:
        torch.use_deterministic_algorithms(True)
        try:
            runs = [self.outputs_and_gradients(self.build(backend), small_graph(), self.genes()) for _ in range(2)]
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])

    def test_equivariant_under_renumbering(self) -> None:
        encoder, genes_GD = self.build(), self.genes()
        generator = torch.Generator().manual_seed(3)
        pairs = torch.randint(0, NUM_GENES, (2, 90), generator=generator)
        sign = torch.randint(-1, 2, (90,), generator=generator)
        place_G = torch.randperm(NUM_GENES, generator=generator)
        graph = MessageGraph.build(pairs, NUM_GENES, sign_E=sign)
        moved = MessageGraph.build(place_G[pairs], NUM_GENES, sign_E=sign)
        moved_GD = torch.empty_like(genes_GD)
        moved_GD[place_G] = genes_GD
        torch.testing.assert_close(encoder(moved_GD, moved)[place_G], encoder(genes_GD, graph), rtol=1e-4, atol=1e-5)

    def test_evaluation_is_repeatable_and_dropout_is_seeded(self) -> None:
        encoder = self.build(dropout=0.5) if self.passes_messages else self.build()
        graph, genes_GD = small_graph(), self.genes()
        assert torch.equal(encoder(genes_GD, graph), encoder(genes_GD, graph))
        encoder.train()
        outputs = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            outputs.append(encoder(genes_GD, graph))
        assert torch.equal(outputs[0], outputs[1])
        assert torch.equal(outputs[0], outputs[2]) is not self.passes_messages

    def test_messages_reach_neighbours_and_only_neighbours(self) -> None:
        encoder = self.build(num_layers=1) if self.passes_messages else self.build()
        graph = MessageGraph.build(torch.tensor([[0, 2], [1, 3]]), NUM_GENES)
        genes_GD = self.genes()
        changed_GD = genes_GD.clone()
        changed_GD[0] += torch.linspace(-1, 1, WIDTH)
        moved = (encoder(changed_GD, graph) - encoder(genes_GD, graph)).abs().amax(1) > 1e-6
        assert moved.nonzero().flatten().tolist() == ([0, 1] if self.passes_messages else [0])
        dropped = graph.without(torch.tensor([[1], [0]]))
        moved = (encoder(changed_GD, dropped) - encoder(genes_GD, dropped)).abs().amax(1) > 1e-6
        assert moved.nonzero().flatten().tolist() == [0]

    def test_runs_in_float32_under_autocast_and_copies(self) -> None:
        encoder, graph, genes_GD = self.build("csr"), small_graph(), self.genes()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(copy.deepcopy(encoder)(genes_GD, graph), encoder(genes_GD, graph))
            output_GD = encoder(genes_GD, graph)
        assert torch.equal(output_GD, encoder(genes_GD, graph))

    def test_misspelt_option(self) -> None:
        with pytest.raises(UserError, match="num_layer_"):
            self.build(num_layer_=2)
