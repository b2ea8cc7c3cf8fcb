"""Expression profile of each gene: loadings, mean, detection rate.

Dimension letters: C cells, F features, G genes, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.errors import UserError
from grn_cotrain.nn.features.base import FEATURE_SOURCES, FeatureContext, FeatureSource, standardised, unit_block

__all__ = ["ExpressionFeatures"]


@FEATURE_SOURCES.register("expression", paper="Stock et al. 2018, Two-step kernel ridge (features of unseen rows)")
class ExpressionFeatures(FeatureSource):
    """PCA loadings of normalised expression, beside the gene's mean and the share of cells that express it.

    The two blocks have equal weight (mean squared row norm 1 each). A gene that no cell expresses has zero loadings;
    its detection rate of 0 is what marks it.

    Parameters
    ----------
    config
        ``rank`` of the loadings.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Size of the profile.

        Attributes
        ----------
        rank
            Number of loadings.
        """

        rank: int = 50

    def features(self, context: FeatureContext) -> np.ndarray:
        """See :class:`FeatureSource`."""
        if context.cells is None:
            raise UserError("inductive 'expression': there are no cells to read it from; leave it out, or give cells")
        loadings_GR = gene_loadings(context.cells, rank=self.config.rank, seed=context.seed, rows=context.rows)
        values_CG = context.cells.normalised()
        if context.rows is not None:
            values_CG = values_CG[np.asarray(context.rows)]
        num_cells = max(1, values_CG.shape[0])
        mean_G = np.asarray(values_CG.sum(axis=0, dtype=np.float64)).ravel() / num_cells
        detected_G = values_CG.getnnz(axis=0) / num_cells
        summary_G2 = standardised(np.column_stack([mean_G, detected_G]))
        return np.hstack([unit_block(loadings_GR), unit_block(summary_G2)]).astype(np.float32)
