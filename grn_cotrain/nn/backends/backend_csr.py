"""The fast path: sorted runs and a cached transpose, in plain torch."""

from __future__ import annotations

from torch import Tensor

from grn_cotrain.nn import sparse_kernels
from grn_cotrain.nn.backends.base import BACKENDS, MessageBackend, Reduce
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["CsrBackend"]


@BACKENDS.register("csr", paper="this project; kernels in grn_cotrain/nn/sparse_kernels.py")
class CsrBackend(MessageBackend):
    """Sums over sorted edges without an E x D buffer; no library except torch."""

    def aggregate(
        self, x_GD: Tensor, graph: MessageGraph, weight_E: Tensor | None = None, reduce: Reduce = "sum"
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        sum_GD = sparse_kernels.spmm(x_GD, graph, weight_E)
        if reduce == "sum":
            return sum_GD
        return sum_GD / graph.in_degree_G.clamp(min=1).to(sum_GD.dtype).unsqueeze(1)

    def aggregate_heads(self, values_GHK: Tensor, graph: MessageGraph, weight_EH: Tensor) -> Tensor:
        """See :class:`MessageBackend`."""
        return sparse_kernels.spmm_heads(values_GHK, graph, weight_EH)

    def edge_softmax(self, logits_EH: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageBackend`."""
        return sparse_kernels.edge_softmax(logits_EH, graph)

    def gatv2_logits(
        self, source_GHK: Tensor, target_GHK: Tensor, attention_HK: Tensor, graph: MessageGraph, slope: float = 0.2
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        return sparse_kernels.gatv2_logits(source_GHK, target_GHK, attention_HK, graph, slope)
