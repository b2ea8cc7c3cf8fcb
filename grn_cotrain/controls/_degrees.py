"""Degrees in the training graph, and the graph itself; genes hidden by construction get the prior mean.

Dimension letters: G genes.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from grn_cotrain.data.edge_split import EdgeSplit

__all__ = ["train_in_degree", "train_neighbours", "train_out_degree"]


def train_in_degree(split: EdgeSplit) -> np.ndarray:
    """Number of training regulators of each gene, float64 ``[G]``.

    A hidden target has no training regulator because it was hidden: it gets the mean over the targets that were not. At
    degree 0 it would look unlike any seen gene (on STRING, macro AUROC .838 falls to .78).
    """
    return _with_prior(
        np.bincount(split.train_2E[1], minlength=split.num_genes), split.train_targets_N, split.hidden_targets_N
    )


def train_out_degree(split: EdgeSplit) -> np.ndarray:
    """Number of training targets of each gene, float64 ``[G]``; hidden sources get the mean over training sources."""
    return _with_prior(
        np.bincount(split.train_2E[0], minlength=split.num_genes), split.train_sources_S, split.hidden_sources_S
    )


def _with_prior(degree_G: np.ndarray, seen: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    degree_G = degree_G.astype(np.float64)
    degree_G[hidden] = degree_G[seen].mean() if len(seen) else 0.0
    return degree_G


def train_neighbours(split: EdgeSplit) -> sparse.csr_array:
    """Undirected adjacency of the training positives, float64 0/1 ``[G, G]``, without self-loops."""
    source_E, target_E = split.train_2E[:, split.train_2E[0] != split.train_2E[1]]
    directed = sparse.csr_array((np.ones(len(source_E)), (source_E, target_E)), (split.num_genes, split.num_genes))
    both = (directed + directed.T).tocsr()
    both.data[:] = 1.0
    return both
