"""Relational graph convolution: each relation's activation, repression and unknown, with and against the edge.

Dimension letters: G genes, D width, R relations, B bases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from grn_cotrain.errors import UserError
from grn_cotrain.nn.backends import MessageBackend
from grn_cotrain.nn.graph_encoders.base import GRAPH_ENCODERS
from grn_cotrain.nn.graph_encoders.stack import MessageLayer, StackConfig, StackedEncoder
from grn_cotrain.nn.sparse import MessageGraph

__all__ = ["Rgcn", "RgcnLayer"]


@GRAPH_ENCODERS.register(
    "rgcn", paper="Schlichtkrull et al. 2018, Modeling relational data with graph convolutional networks"
)
class Rgcn(StackedEncoder):
    r"""Relational GCN typed by relation, sign and direction (Schlichtkrull et al. 2018, https://arxiv.org/abs/1703.06103).

    .. math::
        x'_v = W_0 x_v + \sum_r W_r \frac{\sum_{u \to v \text{ of type } r} w_{uv} x_u}
        {\sum_{u \to v \text{ of type } r} w_{uv}} + b, \qquad W_r = \sum_b c_{rb} V_b \text{ if bases are given}

    Messages are averaged per relation before the product with :math:`W_r`: R sums over disjoint edge sets and R
    products ``[G, D] x [D, D]``; no weight matrix is ever gathered per edge. :math:`w` are the edge weights of the
    graph, 1 without weights: the mean of each relation is weighted, so only the weights of one gene's in-edges of one
    type relative to each other matter. Shapes: ``[G, D] -> [G, D]``.
    """

    uses_weights = True

    @dataclass(frozen=True, kw_only=True)
    class Config(StackConfig):
        """Options of the stack, and of relations.

        Attributes
        ----------
        num_bases
            Matrices that relations share; null gives every relation its own.
        """

        num_bases: int | None = None

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.num_bases is not None and self.num_bases < 1:
                raise UserError(f"num_bases: got {self.num_bases}; give at least 1, or null")

    def make_layer(self, width: int) -> MessageLayer:
        """See :class:`StackedEncoder`."""
        return RgcnLayer(width, self.num_relations, cast(Rgcn.Config, self.config).num_bases, self.backend)


class RgcnLayer(MessageLayer):
    """One layer; ``basis_BDD`` holds the matrices (one per relation without bases), ``coefficient_RB`` mixes them."""

    def __init__(self, width: int, num_relations: int, num_bases: int | None, backend: MessageBackend) -> None:
        super().__init__(backend)
        self.num_relations = num_relations
        self.basis_BDD = nn.Parameter(torch.empty(num_bases or num_relations, width, width))
        self.coefficient_RB = None if num_bases is None else nn.Parameter(torch.empty(num_relations, num_bases))
        self.root = nn.Linear(width, width)
        for matrix_DD in self.basis_BDD:
            nn.init.xavier_uniform_(matrix_DD)
        if self.coefficient_RB is not None:
            nn.init.xavier_uniform_(self.coefficient_RB)
        nn.init.xavier_uniform_(self.root.weight)
        nn.init.zeros_(self.root.bias)

    @property
    def weight_RDD(self) -> Tensor:
        """One matrix per relation (row vectors are multiplied from the left)."""
        if self.coefficient_RB is None:
            return self.basis_BDD
        return torch.einsum("rb,bij->rij", self.coefficient_RB, self.basis_BDD)

    def forward(self, genes_GD: Tensor, graph: MessageGraph) -> Tensor:
        """See :class:`MessageLayer`."""
        if graph.num_relations > self.num_relations:
            raise UserError(
                f"argument 'graph': has {graph.num_relations} types of edges, but this rgcn was built for "
                f"{self.num_relations}; build both with the same relations and the same 'bidirectional'"
            )
        result_GD = self.root(genes_GD)
        for weight_DD, relation in zip(self.weight_RDD, graph.by_relation, strict=False):
            if relation.num_edges:
                result_GD = result_GD + self.mean_of_neighbours(genes_GD, relation) @ weight_DD
        return result_GD
