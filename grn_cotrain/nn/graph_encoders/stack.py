"""Shared part of the message-passing encoders: layers in a row with normalisation, activation, dropout and residual.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.errors import UserError
from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.graph_encoders.base import GraphEncoder
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["MessageLayer", "StackConfig", "StackedEncoder"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "elu": F.elu,
    "none": lambda x: x,
}


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """Options of every message-passing encoder.

    Attributes
    ----------
    num_layers
        Rounds of messages: how many edges away a gene can be read.
    dropout
        Share of a layer's output that is dropped, after every layer but the last (torch's own random state, which the
        trainer seeds).
    activation
        After every layer but the last.
    residual
        Whether a layer's input is added to its output.
    norm
        ``layer`` normalises each gene's row before a layer.
    """

    num_layers: int = 2
    dropout: float = 0.1
    activation: Literal["relu", "gelu", "elu", "none"] = "relu"
    residual: bool = True
    norm: Literal["layer", "none"] = "layer"

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise UserError(f"num_layers: got {self.num_layers}; give at least 1 (the encoder 'identity' has none)")
        require(0 <= self.dropout < 1, f"dropout: got {self.dropout}; give a share in [0, 1)")


class MessageLayer(nn.Module):
    """One round of messages: ``forward(genes_GD, graph) -> genes_GD``, linear apart from attention."""

    def __init__(self, backend: MessageBackend) -> None:
        super().__init__()
        self.backend = backend

    def mean_of_neighbours(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """Mean of the rows that send each gene a message, weighted by the graph's weights; 0 without a message."""
        weight_E = graph.mean_weight_E
        if weight_E is None:
            return self.backend.aggregate(genes_GD, graph, reduce="mean")
        return self.backend.aggregate(genes_GD, graph, weight_E.to(genes_GD.dtype))

    @abstractmethod
    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """Return the layer's output ``[G, D]``."""


class StackedEncoder(GraphEncoder):
    """``x <- x + dropout(activation(layer(norm(x), graph)))``, ``num_layers`` times; subclasses make the layer."""

    def __init__(self, config: StackConfig, *, width: int, num_relations: int, backend: MessageBackend) -> None:
        super().__init__()
        self.config = config
        self.backend = backend
        self.num_relations = num_relations
        self.layers = nn.ModuleList(self.make_layer(width) for _ in range(config.num_layers))
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if config.norm == "layer" else nn.Identity() for _ in range(config.num_layers)
        )
        self._activation = _ACTIVATIONS[config.activation]

    @abstractmethod
    def make_layer(self, width: int) -> MessageLayer:
        """Return a fresh layer that uses ``self.config``, ``self.backend`` and ``self.num_relations``."""

    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`GraphEncoder`."""
        # Autocast is off: the graph is encoded once a step, sums over thousands of neighbours lose digits in half
        # precision, and the sparse kernels of the CPU know float32 alone.
        with torch.autocast(genes_GD.device.type, enabled=False):
            if genes_GD.dtype in (torch.bfloat16, torch.float16):
                genes_GD = genes_GD.float()
            for depth, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
                update_GD = layer(norm(genes_GD), graph)
                if depth + 1 < len(self.layers):
                    update_GD = F.dropout(self._activation(update_GD), self.config.dropout, self.training)
                genes_GD = genes_GD + update_GD if self.config.residual else update_GD
        return genes_GD
