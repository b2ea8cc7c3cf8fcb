"""No messages at all: the encoder to beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.graph_encoders.base import GRAPH_ENCODERS, GraphEncoder
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["Identity"]


@GRAPH_ENCODERS.register("identity", paper="control: free embeddings")
class Identity(GraphEncoder):
    """Return the genes as they are, whatever the graph. No parameters; ``[G, D]`` in, ``[G, D]`` out.

    No message passes, so edge weights and relations are not used.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int, num_relations: int, backend: MessageBackend) -> None:
        del width, num_relations, backend
        super().__init__()
        self.config = config

    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`GraphEncoder`."""
        del graph
        return genes_GD
