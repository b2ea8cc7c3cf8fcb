"""Rows of features that an encoder reads and that are not nodes of the graph: peaks, proteins.

Dimension letters: P features without a node, V vocabulary (special tokens, then features), D width, T tokens,
N nodes, S special tokens, X any columns.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.data.nodes import Nodes
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.nn.node_table import small_noise

__all__ = ["FeatureRows"]


class FeatureRows(nn.Module):
    """One learned row a feature, without a graph, loadings, inductive features or dropout.

    The rows start at random, at the scale of the table's own (root mean square 1). They cost nothing where the graph is
    encoded: only tokens read them.

    Parameters
    ----------
    nodes
        Which features have a row in the shared table.
    feature_P
        int64 features that have a row here, ascending; none of them is a node.
    width
        D.
    """

    place_V: Tensor
    rows_PD: nn.Parameter | None

    def __init__(self, nodes: Nodes, feature_P: np.ndarray, width: int) -> None:
        super().__init__()
        self.feature_P = feature_P
        # No parameter where there is no row: such a model has the weights that it always had.
        rows_PD = nn.Parameter(torch.randn(len(feature_P), width)) if len(feature_P) else None
        self.register_parameter("rows_PD", rows_PD)
        # Position of each vocabulary id among special rows, nodes, rows here; PAD's for a feature that is not read.
        last = max(nodes.feature_N.max(initial=-1), feature_P.max(initial=-1))
        place_V = np.zeros(NUM_SPECIAL + int(last) + 1, dtype=np.int64)
        place_V[:NUM_SPECIAL] = np.arange(NUM_SPECIAL)
        place_V[NUM_SPECIAL + nodes.feature_N] = NUM_SPECIAL + np.arange(nodes.num_nodes)
        place_V[NUM_SPECIAL + feature_P] = NUM_SPECIAL + nodes.num_nodes + np.arange(len(feature_P))
        self.num_nodes = nodes.num_nodes
        # Genes come first, so the rows mostly stand in the order of the vocabulary as they are.
        self.is_sorted = bool((place_V == np.arange(len(place_V))).all())
        self.register_buffer("place_V", torch.from_numpy(place_V), persistent=False)

    def joined(self, special_SX: Tensor, node_NX: Tensor, *, rows_PX: Tensor | None = None) -> Tensor:
        """One row a vocabulary id, ``[V, X]``; ``rows_PX`` stands for the rows here (zeros for a bias of attention)."""
        rows_PX = self.rows_PD if rows_PX is None else rows_PX
        parts = [special_SX, node_NX] if rows_PX is None else [special_SX, node_NX, rows_PX.to(node_NX.dtype)]
        joined_VX = torch.cat(parts)
        return joined_VX if self.is_sorted else joined_VX[self.place_V]

    def has(self, feature_ids_T: Tensor) -> Tensor:
        """bool ``[T]``: which of these features have a row here."""
        place_T = self.place_V[feature_ids_T.clamp_max(len(self.place_V) - 1)]
        return (place_T >= NUM_SPECIAL + self.num_nodes) & (feature_ids_T < len(self.place_V))

    def gather(self, node_ND: Tensor, feature_ids_T: Tensor) -> Tensor:
        """Rows ``[T, D]`` of vocabulary ids, without joining the two tables; any row for features that are not read."""
        place_T = self.place_V[feature_ids_T.clamp_max(len(self.place_V) - 1)] - NUM_SPECIAL
        if self.rows_PD is None:
            return node_ND[place_T]
        place_T = place_T.clamp_min(0)
        own_T = (place_T - self.num_nodes).clamp_min(0)
        node_TD = F.embedding(place_T.clamp_max(self.num_nodes - 1), node_ND)
        return torch.where((place_T < self.num_nodes)[:, None], node_TD, F.embedding(own_T, self.rows_PD))

    @torch.no_grad()
    def grow_from(self, old: FeatureRows, table_GD: Tensor, *, generator: torch.Generator) -> None:
        """Take the rows of the features that ``old`` has; those of new features are close to the mean row.

        Parameters
        ----------
        old
            Rows of fewer features.
        table_GD
            Rows of the shared table: their mean is where a model starts that had no such rows.
        generator
            Draws the noise by which new rows differ.
        """
        if self.rows_PD is None:
            return
        like_GD = table_GD if old.rows_PD is None else old.rows_PD
        self.rows_PD.copy_(like_GD.mean(0) + small_noise(self.rows_PD, like_GD, generator))
        if old.rows_PD is not None:
            self.rows_PD[torch.from_numpy(np.searchsorted(self.feature_P, old.feature_P))] = old.rows_PD
