"""Message edges, sorted once: CSR by target and its transpose by source.

Dimension letters: E message edges, M pairs, G genes (nodes).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from grn_cotrain.errors import UserError

__all__ = ["RELATIONS", "MessageGraph"]

#: Values of :attr:`MessageGraph.edge_type_E` in a graph of one relation: sign x direction of travel. One-way
#: graphs use the first three. A graph of R relations has R times as many: direction, then relation, then sign.
RELATIONS = (
    "activation/forward",
    "repression/forward",
    "unknown/forward",
    "activation/reverse",
    "repression/reverse",
    "unknown/reverse",
)
_NUM_SIGNS = 3


@dataclass(frozen=True, eq=False)
class MessageGraph:
    """Edges along which messages pass, in the order that every kernel reads them; made by :meth:`build`.

    Parallel edges are kept: a reciprocal pair, carried both ways, is one ``forward`` and one ``reverse`` edge each way.

    Attributes
    ----------
    num_nodes
        G, nodes without an edge included.
    edge_index_2E
        int64, row 0 sources and row 1 targets of messages, sorted by (target, source, relation).
    edge_type_E
        int64 type of each edge: relation, sign and direction, see :data:`RELATIONS`.
    rowptr
        int64 ``[G + 1]``: edges ``rowptr[v]:rowptr[v + 1]`` end in ``v``.
    transpose_rowptr, transpose_order_E
        The same edges by source: ``transpose_order_E[transpose_rowptr[u]:transpose_rowptr[u + 1]]`` are the positions
        of the edges that leave ``u``, by ascending target. Backward passes read these.
    num_relations
        Number of types: 6 for each relation if edges are carried both ways, else 3.
    weight_E
        float32 edge weights above 0, or None for 1. Encoders that use them read an edge of weight 2 as two edges.
    num_self_loops
        Pairs of a gene with itself among those given to :meth:`build`. They carry no message (every encoder reads a
        gene's own row anyway) and are only counted.
    """

    num_nodes: int
    edge_index_2E: Tensor
    edge_type_E: Tensor
    rowptr: Tensor
    transpose_rowptr: Tensor
    transpose_order_E: Tensor
    num_relations: int
    weight_E: Tensor | None = None
    num_self_loops: int = 0

    @classmethod
    def build(
        cls,
        pairs_2E: Tensor | np.ndarray,
        num_nodes: int,
        *,
        sign_E: Tensor | np.ndarray | None = None,
        weight_E: Tensor | np.ndarray | None = None,
        relation_E: Tensor | np.ndarray | None = None,
        num_kinds: int = 1,
        bidirectional: bool = True,
    ) -> MessageGraph:
        """Sort pairs into message edges.

        Parameters
        ----------
        pairs_2E
            Integer gene indices, row 0 sources (TFs), row 1 targets; may be empty. Self-loops are left out and counted.
        num_nodes
            Number of genes.
        sign_E
            1 activation, -1 repression, 0 unknown; unknown for all if None.
        weight_E
            One weight per pair, at least 0; both directions of a pair have it. A pair of weight 0 carries no message.
        relation_E
            Relation of each pair, from 0 (regulation) to ``num_kinds - 1``; 0 for all if None.
        num_kinds
            R, relations that the graph may hold.
        bidirectional
            Also carry every pair from target to source, as a relation of its own.

        Raises
        ------
        UserError
            An index outside ``[0, num_nodes)``, a sign outside {-1, 0, 1}, a relation outside ``[0, num_kinds)``, a
            weight that is negative or not finite, or lengths that differ.
        """
        pairs_2E = _as_pairs(pairs_2E, num_nodes, "pairs_2E")
        num_pairs, device = pairs_2E.shape[1], pairs_2E.device
        source_E, target_E = pairs_2E
        if sign_E is None:
            type_E = torch.full((num_pairs,), 2, dtype=torch.int64, device=device)
        else:
            sign_E = _as_column(sign_E, num_pairs, "sign_E", device).long()
            if num_pairs and int(sign_E.abs().max()) > 1:
                raise UserError("argument 'sign_E': holds values outside {-1, 0, 1}; give the sign of each pair")
            type_E = torch.tensor([2, 0, 1], device=device)[sign_E]  # 0 unknown, 1 activation, -1 repression
        if relation_E is not None:
            relation_E = _as_column(relation_E, num_pairs, "relation_E", device).long()
            if num_pairs and not 0 <= int(relation_E.min()) <= int(relation_E.max()) < num_kinds:
                raise UserError(f"argument 'relation_E': holds values outside 0..{num_kinds - 1}")
            type_E = type_E + _NUM_SIGNS * relation_E
        weight = None if weight_E is None else _as_column(weight_E, num_pairs, "weight_E", device).float()
        proper_E = source_E != target_E
        num_self_loops = num_pairs - int(proper_E.sum())
        if weight is not None:
            if not bool((torch.isfinite(weight) & (weight >= 0)).all()):
                raise UserError("argument 'weight_E': holds negative or infinite values; give finite weights from 0 up")
            proper_E &= weight > 0
        if not bool(proper_E.all()):
            source_E, target_E, type_E = source_E[proper_E], target_E[proper_E], type_E[proper_E]
            weight = None if weight is None else weight[proper_E]
        if bidirectional:
            source_E, target_E = torch.cat([source_E, target_E]), torch.cat([target_E, source_E])
            type_E = torch.cat([type_E, type_E + _NUM_SIGNS * num_kinds])
            weight = None if weight is None else torch.cat([weight, weight])

        num_types = _NUM_SIGNS * num_kinds * (2 if bidirectional else 1)
        order_E = torch.argsort((target_E * num_nodes + source_E) * num_types + type_E, stable=True)
        source_E, target_E = source_E[order_E], target_E[order_E]
        return cls(
            num_nodes=num_nodes,
            edge_index_2E=torch.stack([source_E, target_E]),
            edge_type_E=type_E[order_E],
            rowptr=_rowptr(target_E, num_nodes),
            transpose_rowptr=_rowptr(source_E, num_nodes),
            transpose_order_E=torch.argsort(source_E, stable=True),
            num_relations=num_types,
            weight_E=None if weight is None else weight[order_E],
            num_self_loops=num_self_loops,
        )

    @property
    def num_edges(self) -> int:
        """Number of message edges (twice the pairs, if they are carried both ways)."""
        return self.edge_index_2E.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the edges."""
        return self.edge_index_2E.device

    @cached_property
    def in_degree_G(self) -> Tensor:
        """int64 number of messages that each node receives."""
        return self.rowptr.diff()

    @cached_property
    def transpose_target_E(self) -> Tensor:
        """Targets in the order of :attr:`transpose_order_E`: column indices of the transposed CSR matrix."""
        return self.edge_index_2E[1][self.transpose_order_E]

    @cached_property
    def weight_by_source_E(self) -> Tensor | None:
        """Edge weights in the order of :attr:`transpose_order_E`."""
        return None if self.weight_E is None else self.weight_E[self.transpose_order_E]

    @cached_property
    def degree_G(self) -> Tensor:
        """float32 sum of the weights of the messages that each node receives; their number without weights."""
        if self.weight_E is None:
            return self.in_degree_G.float()
        return torch.zeros(self.num_nodes, device=self.device).index_add_(0, self.edge_index_2E[1], self.weight_E)

    @cached_property
    def mean_weight_E(self) -> Tensor | None:
        """Each edge's share of the weights that its target receives, so that a sum is a weighted mean; or None."""
        return None if self.weight_E is None else self.weight_E / self.degree_G[self.edge_index_2E[1]]

    @cached_property
    def by_relation(self) -> tuple[MessageGraph, ...]:
        """One graph per relation id, some of them empty."""
        return tuple(self._keep(self.edge_type_E == relation) for relation in range(self.num_relations))

    @cached_property
    def with_self_loops(self) -> MessageGraph:
        """The graph with one more edge per node, from itself to itself, as one more relation of weight 1.

        The new edges are merged into both orders by counting; nothing is sorted again.
        """
        source_E, target_E = self.edge_index_2E
        node_G = torch.arange(self.num_nodes, device=self.device)
        # An edge is pushed back by the loops of all smaller targets, and by its own target's loop if that sorts first.
        place_E = torch.arange(self.num_edges, device=self.device) + target_E + (source_E > target_E)
        place_G = torch.searchsorted(target_E * self.num_nodes + source_E, node_G * (self.num_nodes + 1)) + node_G
        edge_index_2E = self.edge_index_2E.new_empty((2, self.num_edges + self.num_nodes))
        edge_index_2E[:, place_E], edge_index_2E[:, place_G] = self.edge_index_2E, node_G
        edge_type_E = torch.full_like(edge_index_2E[0], self.num_relations)
        edge_type_E[place_E] = self.edge_type_E
        weight_E = None
        if self.weight_E is not None:
            weight_E = torch.ones(edge_type_E.shape[0], device=self.device)
            weight_E[place_E] = self.weight_E

        # The same merge, by source; edges of one source are stored there by ascending target.
        order_E = self.transpose_order_E
        leaving_E, entering_E = source_E[order_E], target_E[order_E]
        slot_E = torch.arange(self.num_edges, device=self.device) + leaving_E + (entering_E > leaving_E)
        key_E = leaving_E * self.num_nodes + entering_E
        slot_G = torch.searchsorted(key_E, node_G * (self.num_nodes + 1)) + node_G
        transpose_order_E = torch.empty_like(edge_type_E)
        transpose_order_E[slot_E], transpose_order_E[slot_G] = place_E[order_E], place_G
        offset = torch.arange(self.num_nodes + 1, device=self.device)
        return MessageGraph(
            num_nodes=self.num_nodes,
            edge_index_2E=edge_index_2E,
            edge_type_E=edge_type_E,
            rowptr=self.rowptr + offset,
            transpose_rowptr=self.transpose_rowptr + offset,
            transpose_order_E=transpose_order_E,
            num_relations=self.num_relations + 1,
            weight_E=weight_E,
        )

    def without(self, drop_2M: Tensor | np.ndarray) -> MessageGraph:
        """Drop the messages of pairs, of every relation and in both directions, whichever way the pairs are written.

        Message edges and supervision edges must be disjoint in every step: a pair that is supervised may neither carry
        a message itself nor be given away by its reverse. Pairs without an edge are ignored. Costs M binary searches
        and one pass over the edges; nothing is sorted again.
        """
        drop_2M = _as_pairs(drop_2M, self.num_nodes, "drop_2M").to(self.device)
        if drop_2M.shape[1] == 0 or self.num_edges == 0:
            return self
        source_E, target_E = self.edge_index_2E
        key_E = target_E * self.num_nodes + source_E  # ascending: that is how edges are sorted
        drop = torch.cat([drop_2M[1] * self.num_nodes + drop_2M[0], drop_2M[0] * self.num_nodes + drop_2M[1]])
        first, last = torch.searchsorted(key_E, drop), torch.searchsorted(key_E, drop, right=True)
        # Parallel edges share a key, so a pair drops a run of edges: +1 where it opens, -1 where it closes.
        change = torch.bincount(first, minlength=self.num_edges + 1) - torch.bincount(
            last, minlength=self.num_edges + 1
        )
        return self._keep(change[:-1].cumsum(0) == 0)

    def _keep(self, keep_E: Tensor) -> MessageGraph:
        """The graph of the edges marked True; both orders survive a mask, so only positions are renumbered."""
        kept_before = torch.zeros(self.num_edges + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(keep_E, 0, out=kept_before[1:])
        transpose_keep_E = keep_E[self.transpose_order_E]
        transpose_before = torch.zeros_like(kept_before)
        torch.cumsum(transpose_keep_E, 0, out=transpose_before[1:])
        return MessageGraph(
            num_nodes=self.num_nodes,
            edge_index_2E=self.edge_index_2E[:, keep_E],
            edge_type_E=self.edge_type_E[keep_E],
            rowptr=kept_before[self.rowptr],
            transpose_rowptr=transpose_before[self.transpose_rowptr],
            transpose_order_E=kept_before[self.transpose_order_E[transpose_keep_E]],
            num_relations=self.num_relations,
            weight_E=None if self.weight_E is None else self.weight_E[keep_E],
            num_self_loops=self.num_self_loops,
        )

    def to(self, device: torch.device | str) -> MessageGraph:
        """The graph on another device."""
        return MessageGraph(
            num_nodes=self.num_nodes,
            edge_index_2E=self.edge_index_2E.to(device),
            edge_type_E=self.edge_type_E.to(device),
            rowptr=self.rowptr.to(device),
            transpose_rowptr=self.transpose_rowptr.to(device),
            transpose_order_E=self.transpose_order_E.to(device),
            num_relations=self.num_relations,
            weight_E=None if self.weight_E is None else self.weight_E.to(device),
            num_self_loops=self.num_self_loops,
        )


def _as_pairs(pairs: Tensor | np.ndarray, num_nodes: int, name: str) -> Tensor:
    pairs_2M = torch.as_tensor(pairs)
    if pairs_2M.dim() != 2 or pairs_2M.shape[0] != 2 or pairs_2M.is_floating_point():
        shape = tuple(pairs_2M.shape)
        raise UserError(f"argument '{name}': got {pairs_2M.dtype} of shape {shape}; give integers of shape (2, pairs)")
    pairs_2M = pairs_2M.long()
    if pairs_2M.numel():
        low, high = (int(value) for value in pairs_2M.aminmax())
        if low < 0 or high >= num_nodes:
            raise UserError(f"argument '{name}': indices run from {low} to {high}; they must be in 0..{num_nodes - 1}")
    return pairs_2M


def _as_column(values: Tensor | np.ndarray, length: int, name: str, device: torch.device) -> Tensor:
    column = torch.as_tensor(values, device=device)
    if column.shape != (length,):
        raise UserError(
            f"argument '{name}': got shape {tuple(column.shape)}; give one value per pair, shape ({length},)"
        )
    return column


def _rowptr(index_E: Tensor, num_nodes: int) -> Tensor:
    rowptr = torch.zeros(num_nodes + 1, dtype=torch.int64, device=index_E.device)
    torch.cumsum(torch.bincount(index_E, minlength=num_nodes), 0, out=rowptr[1:])
    return rowptr
