"""Contract of graph encoders: gene rows in, gene rows out. No PyG or DGL type in the signature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.registry import Registry

__all__ = ["GRAPH_ENCODERS", "GraphEncoder"]

GRAPH_ENCODERS: Registry[GraphEncoder] = Registry("graph_encoder", __package__)


class GraphEncoder(nn.Module, ABC):
    """Encoder of genes over message edges.

    ``__init__(config, *, width, num_relations, backend)``. Weights live in the encoder; ``backend`` supplies the
    sparse primitives, so that every back end gives the same function of the same weights.

    Attributes
    ----------
    uses_weights
        Whether ``graph.weight_E`` changes what the encoder gives. An encoder that uses weights reads an edge of weight
        2 as two edges of weight 1; for one that does not, ``train`` and ``check`` report it.
    """

    Config: ClassVar[type[Any]]
    uses_weights: ClassVar[bool] = False

    @abstractmethod
    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """Return encoded genes ``[G, D]``."""
