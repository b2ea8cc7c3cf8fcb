"""DGL's fused sparse-dense kernels."""

from __future__ import annotations

import importlib
import os
import weakref
from typing import Any

from torch import Tensor
from torch.nn.functional import leaky_relu

from grn_cotrain.errors import MissingExtraError
from grn_cotrain.nn.backends.base import BACKENDS, MessageBackend, Reduce
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["DglBackend"]


@BACKENDS.register("dgl", paper="Wang et al. 2019, Deep Graph Library")
class DglBackend(MessageBackend):
    """``dgl.ops`` over a DGL graph made once per :class:`MessageGraph`.

    Raises
    ------
    MissingExtraError
        DGL is not installed, or does not import with this torch.
    """

    def __init__(self) -> None:
        os.environ.setdefault("DGLBACKEND", "pytorch")  # else the import prints advice and writes to the home folder
        try:
            self._dgl: Any = importlib.import_module("dgl")
        except (ImportError, OSError) as error:  # OSError: a shared library that does not fit
            raise MissingExtraError(
                f"backend 'dgl': DGL cannot be imported ({error}); run `make setup-ci` (Python 3.11), "
                "or choose csr or torch_geometric"
            ) from None
        # Keyed by identity and dropped with the MessageGraph: a step's reduced graph lives for one step.
        self._graphs: weakref.WeakKeyDictionary[MessageGraph, Any] = weakref.WeakKeyDictionary()

    def _graph(self, graph: MessageGraph) -> Any:
        if graph not in self._graphs:
            source_E, target_E = graph.edge_index_2E
            made = self._dgl.graph((source_E.int(), target_E.int()), num_nodes=graph.num_nodes, idtype=None)
            self._graphs[graph] = made.formats(["csr", "csc", "coo"])
        return self._graphs[graph]

    def aggregate(
        self, x_GD: Tensor, graph: MessageGraph, weight_E: Tensor | None = None, reduce: Reduce = "sum"
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        if weight_E is None:
            sum_GD = self._dgl.ops.copy_u_sum(self._graph(graph), x_GD)
        else:
            sum_GD = self._dgl.ops.u_mul_e_sum(self._graph(graph), x_GD, weight_E.unsqueeze(1))
        if reduce == "sum":
            return sum_GD
        return sum_GD / graph.in_degree_G.clamp(min=1).to(sum_GD.dtype).unsqueeze(1)

    def aggregate_heads(self, values_GHK: Tensor, graph: MessageGraph, weight_EH: Tensor) -> Tensor:
        """See :class:`MessageBackend`."""
        return self._dgl.ops.u_mul_e_sum(self._graph(graph), values_GHK, weight_EH.unsqueeze(-1))

    def edge_softmax(self, logits_EH: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageBackend`."""
        return self._dgl.ops.edge_softmax(self._graph(graph), logits_EH)

    def gatv2_logits(
        self, source_GHK: Tensor, target_GHK: Tensor, attention_HK: Tensor, graph: MessageGraph, slope: float = 0.2
    ) -> Tensor:
        """See :class:`MessageBackend`."""
        sum_EHK = self._dgl.ops.u_add_v(self._graph(graph), source_GHK, target_GHK)
        return (leaky_relu(sum_EHK, slope) * attention_HK).sum(-1)
