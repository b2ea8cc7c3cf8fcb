r"""Vectors of genes by how they are regulated: principal directions of the network that the model completes.

With :math:`A` the training edges (TFs by genes) and :math:`P = \sigma(\ell + b)` the predicted ones, where *b* makes
both sum to the same number,

.. math:: W = A + P, \qquad
    M_{sg} = \frac{W_{sg}}{\sqrt{(r_s + \tau \bar r)(c_g + \tau \bar c)}}, \qquad M \approx U S V^{\mathsf T},

and the vector of gene *g* is row *g* of :math:`V S`. Sums of rows *r* and columns *c* are divided out, so that a TF
with many targets does not fill the vectors, and a gene with many regulators is not far from all others;
:math:`\tau` keeps genes with hardly an edge from being far away (regularised spectral embedding, Qin & Rohe 2013).
A gene without a known regulator has its predicted ones. See ``docs/decisions/0018-gene-rows.md``.

Dimension letters: G genes, S TFs with training edges, D width, E edges.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from grn_cotrain.apply import OpenRun
from grn_cotrain.errors import UserError

__all__ = ["completed_network", "network_directions", "network_table", "regulation_rows"]

_TAU = 0.25  # chosen on validation pairs of two splits of Kang x CollecTRI
_BLOCK = 64


def regulation_rows(run: OpenRun) -> np.ndarray:
    """Vectors ``[G, D]`` of the genes of the graph, float32.

    The training edges are the model's messages; where its messages are a control graph, or none, they are read from
    the prepared folder.

    Raises
    ------
    UserError
        No training edges; they must be read and the prepared folder is not found.
    """
    model = run.model
    if run.recipe.graph.messages == "true":
        train_2E = np.asarray(model.inputs.message_2E, dtype=np.int64).reshape(2, -1)
    else:
        train_2E = run.data().split.train_2E
    if not train_2E.shape[1]:
        raise UserError("--kind 'regulation': the run has no training edges; take static, graph or contextual")
    sources_S, num_genes = np.unique(train_2E[0]), model.nodes.num_genes
    genes_G = np.arange(num_genes)
    logits_SG = np.empty((len(sources_S), num_genes), dtype=np.float32)
    for first in range(0, len(sources_S), _BLOCK):
        block_S = sources_S[first : first + _BLOCK]
        pairs_2M = np.stack([np.repeat(block_S, num_genes), np.tile(genes_G, len(block_S))])
        scores_M = model.link_logits(run.encoder.genes, pairs_2M)
        logits_SG[first : first + len(block_S)] = scores_M.reshape(len(block_S), -1)
    known_SG = network_table(train_2E, sources_S, num_genes)
    rows_GD = network_directions(completed_network(known_SG, logits_SG), width=model.config.width)
    result_GD = np.zeros((model.nodes.num_nodes, rows_GD.shape[1]), dtype=np.float32)
    result_GD[:num_genes] = rows_GD
    return result_GD


def network_table(edges_2E: np.ndarray, sources_S: np.ndarray, num_genes: int) -> np.ndarray:
    """Indicator ``[S, G]`` of the edges, float32; ``sources_S`` is sorted and holds every source."""
    known_SG = np.zeros((len(sources_S), num_genes), dtype=np.float32)
    known_SG[np.searchsorted(sources_S, edges_2E[0]), edges_2E[1]] = 1
    return known_SG


def completed_network(known_SG: np.ndarray, logits_SG: np.ndarray) -> np.ndarray:
    """Known edges plus predicted ones ``[S, G]``, with as much weight in the predicted as in the known."""
    share = float(known_SG.mean())
    low, high = -float(logits_SG.max()) - 50, -float(logits_SG.min()) + 50
    offset = brentq(lambda b: float(expit(logits_SG + b).mean(dtype=np.float64)) - share, low, high, xtol=1e-4)
    return known_SG + expit(logits_SG + np.float32(offset))


def network_directions(weight_SG: np.ndarray, *, width: int) -> np.ndarray:
    """Right singular vectors of the normalised table times their singular values, float32 ``[G, D]``.

    Parameters
    ----------
    weight_SG
        Weights of edges, not negative.
    width
        Columns at most; there are no more than TFs or genes.
    """
    from sklearn.utils.extmath import randomized_svd

    row_S, column_G = weight_SG.sum(axis=1, dtype=np.float64), weight_SG.sum(axis=0, dtype=np.float64)
    scale_S = np.sqrt(np.maximum(row_S + _TAU * row_S.mean(), 1e-12))
    scale_G = np.sqrt(np.maximum(column_G + _TAU * column_G.mean(), 1e-12))
    table_SG = weight_SG / scale_S[:, None] / scale_G
    count = min(width, *table_SG.shape)
    _, size_D, right_DG = randomized_svd(table_SG, n_components=count, n_iter=7, random_state=0)
    return np.asarray((right_DG * size_D[:, None]).T, dtype=np.float32)
