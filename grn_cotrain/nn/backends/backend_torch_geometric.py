"""torch-geometric's gather and scatter: the default, and the reference for the others."""

from __future__ import annotations

from torch import Tensor

from grn_cotrain.nn.backends.base import BACKENDS, MessageBackend, Reduce
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["TorchGeometricBackend"]


@BACKENDS.register(
    "torch_geometric", paper="Fey & Lenssen 2019, Fast graph representation learning with PyTorch Geometric"
)
class TorchGeometricBackend(MessageBackend):
    """Messages are gathered, weighted and scattered; E x D values are kept for the backward pass."""

    def aggregate(
        self, x_GD: Tensor, graph: MessageGraph, weight_E: Tensor | None = None, reduce: Reduce = "sum"
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        from torch_geometric.utils import scatter

        source_E, target_E = graph.edge_index_2E
        message_ED = x_GD.index_select(0, source_E)
        if weight_E is not None:
            message_ED = message_ED * weight_E.unsqueeze(1)
        return scatter(message_ED, target_E, dim=0, dim_size=graph.num_nodes, reduce=reduce)

    def aggregate_heads(self, values_GHK: Tensor, graph: MessageGraph, weight_EH: Tensor) -> Tensor:
        """See :class:`MessageBackend`."""
        from torch_geometric.utils import scatter

        source_E, target_E = graph.edge_index_2E
        message_EHK = values_GHK.index_select(0, source_E) * weight_EH.unsqueeze(-1)
        return scatter(message_EHK, target_E, dim=0, dim_size=graph.num_nodes, reduce="sum")

    def edge_softmax(self, logits_EH: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageBackend`."""
        from torch_geometric.utils import softmax

        return softmax(logits_EH, graph.edge_index_2E[1], num_nodes=graph.num_nodes, dim=0)

    def gatv2_logits(
        self, source_GHK: Tensor, target_GHK: Tensor, attention_HK: Tensor, graph: MessageGraph, slope: float = 0.2
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        from torch.nn.functional import leaky_relu

        source_E, target_E = graph.edge_index_2E
        sum_EHK = source_GHK.index_select(0, source_E) + target_GHK.index_select(0, target_E)
        return (leaky_relu(sum_EHK, slope) * attention_HK).sum(-1)
