"""B12: the message-passing back ends side by side, on one encoder with the same weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from experiments.benchmarks.harness import Context, Row, assert_agrees
from grn_cotrain.errors import MissingExtraError
from grn_cotrain.nn.backends import BACKENDS, MessageBackend, get_backend
from grn_cotrain.nn.graph_encoders.sage import Sage
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["ID", "TITLE", "run"]

ID = "B12"
TITLE = "back ends: sage, two layers, forward + backward (20k genes, 500k edges, D 128)"


def run(context: Context) -> list[Row]:
    """See the module."""
    num_genes, num_pairs, width = (2_000, 10_000, 32) if context.quick else (20_000, 250_000, 128)
    generator = context.generator()
    graph = MessageGraph.build(torch.randint(num_genes, (2, num_pairs), generator=generator), num_genes)
    genes_GD = torch.randn(num_genes, width, generator=generator).requires_grad_()
    probe_GD = torch.randn(num_genes, width, generator=generator)

    def rival(backend: MessageBackend) -> Callable[[], torch.Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            encoder = Sage(Sage.Config(dropout=0.0), width=width, num_relations=6, backend=backend)

        def step() -> torch.Tensor:
            encoder.zero_grad()
            return torch.autograd.grad((encoder(genes_GD, graph) * probe_GD).sum(), genes_GD)[0]

        return step

    rivals, absent = {}, []
    for name in BACKENDS.names():
        try:
            rivals[name] = rival(get_backend(name))
        except MissingExtraError as error:
            absent.append(Row(name, note=f"absent: {error}"))
    expected = rivals["torch_geometric"]()
    notes = {name: assert_agrees("gradient", step(), expected) for name, step in rivals.items()}
    seconds = context.measure(rivals)
    timed = [
        Row(name, seconds[name], seconds[name] / seconds["csr"], notes[name])
        for name in sorted(seconds, key=seconds.__getitem__)
    ]
    return timed + absent
