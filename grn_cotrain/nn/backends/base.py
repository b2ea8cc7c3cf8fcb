"""Contract of message-passing back ends: the sparse primitives that graph encoders are written over.

Dimension letters: E edges, G genes, D width, H heads, K width of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, Self

from torch import Tensor

from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.registry import Registry

__all__ = ["BACKENDS", "MessageBackend", "Reduce"]

Reduce = Literal["sum", "mean"]

BACKENDS: Registry[MessageBackend] = Registry("backend", __package__)


class MessageBackend(ABC):
    """Sparse primitives over a message graph, each differentiable in every floating-point input.

    Back ends hold no weights: one encoder gives the same outputs and gradients over all of them (contract test, 1e-5).
    Rows of edges follow ``graph.edge_index_2E``. A node without an incoming edge receives zeros.
    """

    @abstractmethod
    def aggregate(
        self, x_GD: Tensor, graph: MessageGraph, weight_E: Tensor | None = None, reduce: Reduce = "sum"
    ) -> Tensor:
        """Sum ``weight[e] * x[source(e)]`` per target; ``"mean"`` divides by the in-degree. ``[G, D]``."""

    @abstractmethod
    def aggregate_heads(self, values_GHK: Tensor, graph: MessageGraph, weight_EH: Tensor) -> Tensor:
        """Sum ``weight[e, h] * values[source(e), h]`` per target and head. ``[G, H, K]``."""

    @abstractmethod
    def edge_softmax(self, logits_EH: Tensor, graph: MessageGraph) -> Tensor:
        """Softmax over the incoming edges of each target, per head. ``[E, H]``."""

    @abstractmethod
    def gatv2_logits(
        self, source_GHK: Tensor, target_GHK: Tensor, attention_HK: Tensor, graph: MessageGraph, slope: float = 0.2
    ) -> Tensor:
        """``attention[h] . leaky_relu(source[u, h] + target[v, h])`` per edge ``u -> v`` and head. ``[E, H]``."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies of a model share the back end: it holds no weights, but perhaps a library."""
        return self
