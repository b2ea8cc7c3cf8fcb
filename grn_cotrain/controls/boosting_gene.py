"""Boosted trees on each gene's own mean, deviation and TF flag."""

from __future__ import annotations

from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls.base import CONTROLS

__all__ = ["BoostingGene"]


@CONTROLS.register("boosting_gene", paper="Ke et al. 2017 (LightGBM), as in scikit-learn")
class BoostingGene(PairBooster):
    """Boosted trees on each gene's own mean, deviation and TF flag.

    What expression says about the gene, not about the pair: 60-80 % of its worth on unseen genes.
    """

    name = "boosting_gene"
    needs_cells = True
    groups = ("gene",)
