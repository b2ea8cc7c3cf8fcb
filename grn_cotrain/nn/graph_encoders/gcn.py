"""Graph convolution with symmetric normalisation.

Dimension letters: G genes, D width, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.graph_encoders.base import GRAPH_ENCODERS
from grn_cotrain.nn.graph_encoders.stack import MessageLayer, StackConfig, StackedEncoder
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["Gcn", "GcnLayer"]


@GRAPH_ENCODERS.register(
    "gcn", paper="Kipf & Welling 2017, Semi-supervised classification with graph convolutional networks"
)
class Gcn(StackedEncoder):
    r"""Graph convolutional network of Kipf & Welling (2017, https://arxiv.org/abs/1609.02907).

    .. math::
        x'_v = W \Big( \frac{x_v}{d_v} + \sum_{u \to v} \frac{w_{uv}}{\sqrt{d_u d_v}} x_u \Big) + b, \qquad
        d_v = 1 + \sum_{u \to v} w_{uv}

    Messages are summed before the product with :math:`W`, which is the same by linearity and spares the backward sum
    where the input is constant. :math:`w` are the edge weights of the graph, 1 without weights, relative to the mean
    weight of the training edges; relations are not used. Shapes: ``[G, D] -> [G, D]``.
    """

    uses_weights = True

    @dataclass(frozen=True, kw_only=True)
    class Config(StackConfig):
        """Options of the stack."""

    def make_layer(self, width: int) -> MessageLayer:
        """See :class:`StackedEncoder`."""
        return GcnLayer(width, self.backend)


class GcnLayer(MessageLayer):
    """One convolution; ``linear`` holds :math:`W` and :math:`b`."""

    def __init__(self, width: int, backend: MessageBackend) -> None:
        super().__init__(backend)
        self.linear = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageLayer`."""
        scale_G1 = (graph.degree_G + 1).to(genes_GD.dtype).rsqrt().unsqueeze(1)  # 1: the gene's own loop
        scaled_GD = genes_GD * scale_G1  # rows are scaled before and after, so the degrees need no weight per edge
        weight_E = None if graph.weight_E is None else graph.weight_E.to(genes_GD.dtype)
        return self.linear((self.backend.aggregate(scaled_GD, graph, weight_E) + scaled_GD) * scale_G1)
