"""Coordinates of genes from expression alone: what the shared table of gene embeddings starts from.

Dimension letters: C cells, G genes, R rank.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

import numpy as np

from grn_cotrain.data.factor_analysis import fit_factor_analysis, principal_axes
from grn_cotrain.data.gene2vec import gene2vec
from grn_cotrain.data.standardised import Gram, standardised
from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError

__all__ = ["LOADINGS_NEEDS", "LoadingsMethod", "gene_loadings"]

LOADINGS_NEEDS: frozenset[Need[Any]] = frozenset({Moments(), Gram()})
"""Needs of :func:`gene_loadings`, which reads the cells again where they are in memory or have many features."""

LoadingsMethod = Literal["pca", "factor_analysis", "gene2vec"]

_LOGGER = logging.getLogger(__name__)


def gene_loadings(
    statistics: Statistics,
    *,
    rank: int = 50,
    method: LoadingsMethod = "pca",
    seed: int = 0,
) -> np.ndarray:
    """Loadings of every gene on the leading components of normalised, gene-standardised expression.

    Cells that lack a feature's assay count as average there.

    Parameters
    ----------
    statistics
        Statistics of the cells to use (the training cells, for example).
    rank
        Number of components. Where the cells support fewer, the last columns are 0 and a warning gives their number.
    method
        ``"pca"``: ``V S / sqrt(C - 1)`` (a gene's row has squared length = the share of its variance explained);
        ``"factor_analysis"``: maximum-likelihood loadings, rotated to orthogonal columns in descending order;
        ``"gene2vec"``: :func:`~grn_cotrain.data.gene2vec.gene2vec`, which has no components: it fills all columns.
    seed
        Start vector of the eigen-solver; the result depends on it only by rounding (gene2vec: all draws).

    Returns
    -------
    numpy.ndarray
        float32 ``[G, rank]``; rows of genes that are constant over the cells are 0. In each column the largest entry
        by size is positive.

    Raises
    ------
    UserError
        Unknown method, ``rank`` below 1, or fewer than two cells; gensim missing where gene2vec needs it.
    """
    if method not in get_args(LoadingsMethod):
        raise UserError(f"method '{method}': unknown; choose from {', '.join(get_args(LoadingsMethod))}")
    if rank < 1:
        raise UserError(f"rank {rank}: give at least 1")
    if method == "gene2vec":
        return gene2vec(statistics, rank=rank, seed=seed)
    num_cells = statistics.num_cells
    if num_cells < 2:
        raise UserError(f"cells: {num_cells} of them; loadings need at least 2")
    statistics.collect(LOADINGS_NEEDS)
    z = standardised(statistics)
    varying_G = z.std_G > 0
    feasible = min(rank, num_cells - 1, int(varying_G.sum()))
    loadings_GR = np.zeros((statistics.num_features, rank), dtype=np.float32)
    if feasible < rank:
        _LOGGER.warning("rank %d: only %d components exist; the other columns are 0", rank, feasible)
    if feasible == 0:
        return loadings_GR
    if method == "pca":
        axes_GR, singular_R = principal_axes(z, feasible, seed)
        found_GR = axes_GR * (singular_R / np.sqrt(num_cells - 1))
    else:
        model = fit_factor_analysis(z, feasible, seed=seed)
        # Factors are defined up to a rotation; this one makes columns orthogonal, ordered by size.
        left_GR, singular_R, _ = np.linalg.svd(model.loading_GR, full_matrices=False)
        found_GR = left_GR * singular_R
        peak_R = found_GR[np.abs(found_GR).argmax(axis=0), np.arange(feasible)]
        found_GR = found_GR * np.where(peak_R < 0, -1.0, 1.0)
    loadings_GR[:, :feasible] = found_GR
    loadings_GR[~varying_G] = 0.0
    return loadings_GR
