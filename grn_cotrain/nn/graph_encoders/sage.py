"""GraphSAGE: the (weighted) mean of the neighbours next to the gene itself.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.graph_encoders.base import GRAPH_ENCODERS
from grn_cotrain.nn.graph_encoders.stack import MessageLayer, StackConfig, StackedEncoder
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["Sage", "SageLayer"]


@GRAPH_ENCODERS.register(
    "sage", paper="Hamilton, Ying & Leskovec 2017, Inductive representation learning on large graphs"
)
class Sage(StackedEncoder):
    r"""GraphSAGE with mean aggregation (Hamilton et al. 2017, https://arxiv.org/abs/1706.02216).

    .. math::
        x'_v = W_1 x_v + W_2 \frac{\sum_{u \to v} w_{uv} x_u}{\sum_{u \to v} w_{uv}} + b

    :math:`w` are the edge weights of the graph, 1 without weights: the mean of the neighbours is weighted, so only the
    weights of one gene's in-edges relative to each other matter. A gene without an incoming edge keeps
    :math:`W_1 x_v + b`, so a held-out gene still has a meaning. Relations are not used. Shapes: ``[G, D] -> [G, D]``.
    """

    uses_weights = True

    @dataclass(frozen=True, kw_only=True)
    class Config(StackConfig):
        """Options of the stack."""

    def make_layer(self, width: int) -> MessageLayer:
        """See :class:`StackedEncoder`."""
        return SageLayer(width, self.backend)


class SageLayer(MessageLayer):
    """One layer; ``neighbour`` holds :math:`W_2` and :math:`b`, ``root`` holds :math:`W_1`."""

    def __init__(self, width: int, backend: MessageBackend) -> None:
        super().__init__(backend)
        self.neighbour = nn.Linear(width, width)
        self.root = nn.Linear(width, width, bias=False)

    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageLayer`."""
        return self.neighbour(self.mean_of_neighbours(genes_GD, graph)) + self.root(genes_GD)
