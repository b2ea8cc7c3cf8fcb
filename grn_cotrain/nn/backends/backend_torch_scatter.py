"""torch-scatter's kernels over sorted segments."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import leaky_relu

from grn_cotrain.errors import MissingExtraError
from grn_cotrain.nn.backends.base import BACKENDS, MessageBackend, Reduce
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["TorchScatterBackend"]


@BACKENDS.register("torch_scatter", paper="Fey & Lenssen 2019; torch-scatter's segment kernels")
class TorchScatterBackend(MessageBackend):
    """``segment_csr`` and ``gather_csr``: like the default, but each target's run is summed by one thread.

    Raises
    ------
    MissingExtraError
        torch-scatter is not installed.
    """

    def __init__(self) -> None:
        try:
            import torch_scatter
        except ImportError as error:
            raise MissingExtraError(
                f"backend 'torch_scatter': torch-scatter cannot be imported ({error}); run `make setup-ci`, "
                "or choose csr or torch_geometric"
            ) from None
        self._library = torch_scatter

    def aggregate(
        self, x_GD: Tensor, graph: MessageGraph, weight_E: Tensor | None = None, reduce: Reduce = "sum"
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        message_ED = x_GD.index_select(0, graph.edge_index_2E[0])
        if weight_E is not None:
            message_ED = message_ED * weight_E.unsqueeze(1)
        return self._library.segment_csr(message_ED, graph.rowptr, reduce=reduce)

    def aggregate_heads(self, values_GHK: Tensor, graph: MessageGraph, weight_EH: Tensor) -> Tensor:
        """See :class:`MessageBackend`."""
        message_EHK = values_GHK.index_select(0, graph.edge_index_2E[0]) * weight_EH.unsqueeze(-1)
        return self._library.segment_csr(message_EHK, graph.rowptr, reduce="sum")

    def edge_softmax(self, logits_EH: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageBackend`."""
        top_GH = self._library.segment_csr(logits_EH.detach(), graph.rowptr, reduce="max")
        share_EH = (logits_EH - self._library.gather_csr(top_GH, graph.rowptr)).exp()
        total_GH = self._library.segment_csr(share_EH, graph.rowptr, reduce="sum")
        return share_EH / self._library.gather_csr(total_GH, graph.rowptr)

    def gatv2_logits(
        self, source_GHK: Tensor, target_GHK: Tensor, attention_HK: Tensor, graph: MessageGraph, slope: float = 0.2
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        # Not gather_csr: of a graph without edges, torch-scatter 2.1.2 returns uninitialised memory as its gradient.
        source_E, target_E = graph.edge_index_2E
        sum_EHK = source_GHK.index_select(0, source_E) + target_GHK.index_select(0, target_E)
        return (leaky_relu(sum_EHK, slope) * attention_HK).sum(-1)
