"""Graph attention whose ranking of neighbours depends on the gene that asks.

Dimension letters: G genes, D width, E edges, H heads, K width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.errors import UserError
from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.graph_encoders.base import GRAPH_ENCODERS
from grn_cotrain.nn.graph_encoders.stack import MessageLayer, StackConfig, StackedEncoder
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["GatV2", "GatV2Layer"]


@GRAPH_ENCODERS.register("gatv2", paper="Brody, Alon & Yahav 2022, How attentive are graph attention networks?")
class GatV2(StackedEncoder):
    r"""GATv2 (Brody et al. 2022, https://arxiv.org/abs/2105.14491).

    .. math::
        x'_v = \Vert_{h=1}^{H} \sum_{u \in N(v) \cup \{v\}} \alpha^h_{uv} W^h_s x_u + b, \qquad
        \alpha^h_{uv} = \operatorname{softmax}_u \; \big( a_h^\top \operatorname{LeakyReLU}(W^h_s x_u + W^h_t x_v)
        + \log w_{uv} \big)

    :math:`w` are the edge weights of the graph, 1 without weights, relative to the mean weight of the training edges; a
    gene's attention to itself has weight 1. Attention is thus proportional to the weight: before anything is learnt,
    the sum is the weighted mean. The paper has no weights. Relations are not used. Shapes: ``[G, D] -> [G, D]``, heads
    concatenated.

    Raises
    ------
    UserError
        ``width`` is not a multiple of ``heads``.
    """

    uses_weights = True

    @dataclass(frozen=True, kw_only=True)
    class Config(StackConfig):
        """Options of the stack, and of attention.

        Attributes
        ----------
        heads
            Attention heads; they must divide the width.
        attention_dropout
            Share of the attention shares that is dropped.
        slope
            Slope of LeakyReLU below zero.
        self_loops
            Whether a gene attends to itself too.
        """

        heads: int = 4
        attention_dropout: float = 0.0
        slope: float = 0.2
        self_loops: bool = True

        def __post_init__(self) -> None:
            super().__post_init__()
            require(self.heads >= 1, f"heads: got {self.heads}; give at least 1")
            if not 0 <= self.attention_dropout < 1:
                raise UserError(f"attention_dropout: got {self.attention_dropout}; give a share in [0, 1)")

    def make_layer(self, width: int) -> MessageLayer:
        """See :class:`StackedEncoder`."""
        return GatV2Layer(cast(GatV2.Config, self.config), width, self.backend)


class GatV2Layer(MessageLayer):
    """One layer; ``source`` and ``target`` hold :math:`W_s, W_t` with biases, ``attention_HK`` holds :math:`a`."""

    def __init__(self, config: GatV2.Config, width: int, backend: MessageBackend) -> None:
        super().__init__(backend)
        if width % config.heads:
            raise UserError(f"heads: got {config.heads}, which does not divide width {width}; choose a divisor")
        self.config = config
        self.source = nn.Linear(width, width)
        self.target = nn.Linear(width, width)
        self.attention_HK = nn.Parameter(torch.empty(config.heads, width // config.heads))
        self.bias_D = nn.Parameter(torch.zeros(width))
        for linear in (self.source, self.target):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.xavier_uniform_(self.attention_HK)

    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageLayer`."""
        if self.config.self_loops:
            graph = graph.with_self_loops
        shape = (graph.num_nodes, *self.attention_HK.shape)
        source_GHK, target_GHK = self.source(genes_GD).view(shape), self.target(genes_GD).view(shape)
        logits_EH = self.backend.gatv2_logits(source_GHK, target_GHK, self.attention_HK, graph, self.config.slope)
        if graph.weight_E is not None:
            logits_EH = logits_EH + graph.weight_E.to(logits_EH.dtype).log().unsqueeze(1)
        share_EH = self.backend.edge_softmax(logits_EH, graph)
        share_EH = F.dropout(share_EH, self.config.attention_dropout, self.training)
        return self.backend.aggregate_heads(source_GHK, graph, share_EH).flatten(1) + self.bias_D
