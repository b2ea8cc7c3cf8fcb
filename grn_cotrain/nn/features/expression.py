"""Expression profile of each gene: loadings, mean, detection rate.

Dimension letters: F features, G genes, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from grn_cotrain.data.loadings import LOADINGS_NEEDS, gene_loadings
from grn_cotrain.data.statistics import Need
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.nn.features.base import FEATURE_SOURCES, FeatureContext, FeatureSource, standardised, unit_block

__all__ = ["ExpressionFeatures"]


@FEATURE_SOURCES.register("expression", paper="Stock et al. 2018, Two-step kernel ridge (features of unseen rows)")
class ExpressionFeatures(FeatureSource):
    """PCA loadings of normalised expression, the gene's mean, and the share of cells that express it.

    The two blocks have equal weight (mean squared row norm 1 each). A gene that no cell expresses has zero loadings;
    its detection rate of 0 is what marks it. Rows of other data sets (``grn-prep features``) stand next to them: of
    each set the loadings, and the mean, deviation, detection rate and presence; the blocks of K sets weigh
    1 / sqrt(K + 1) each, so that more sets do not raise the length of a row.

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

    @classmethod
    def needs(cls, config: Any) -> frozenset[Need[Any]]:
        """See :class:`FeatureSource`."""
        del config
        return LOADINGS_NEEDS | {Moments()}

    def features(self, context: FeatureContext) -> np.ndarray:
        """See :class:`FeatureSource`."""
        statistics = context.statistics
        if statistics is None:
            raise UserError("inductive 'expression': there are no cells to read it from; leave it out, or give cells")
        loadings_GR = gene_loadings(statistics, rank=self.config.rank, seed=context.seed)
        moments = statistics[Moments()]
        summary_G2 = standardised(np.column_stack([moments.mean_of_cells_G, moments.detected_G]))
        blocks = [unit_block(loadings_GR), unit_block(summary_G2)]
        sets = {} if context.vocab.features is None else context.vocab.features.of(context.vocab.symbols)
        for rows in sets.values():
            summary_G4 = standardised(np.column_stack([rows.summary_G3, rows.present_G]))
            blocks += [unit_block(rows.loadings_GR), unit_block(summary_G4)]
        return (np.hstack(blocks) / np.sqrt(len(sets) + 1)).astype(np.float32)
