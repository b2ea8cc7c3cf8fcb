"""Boosted trees on everything that `boosting_all` reads, and on regulon factors."""

from __future__ import annotations

from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls.base import CONTROLS

__all__ = ["BoostingRegulon"]


@CONTROLS.register("boosting_regulon", paper="Ke et al. 2017 (LightGBM), as in scikit-learn")
class BoostingRegulon(PairBooster):
    """Boosted trees on graph, gene marginals, expression components, closed-form evidence and regulon factors.

    The difference to ``boosting_all`` is what the factors add.
    """

    name = "boosting_regulon"
    cost = "costly"
    needs_cells = True
    groups = ("graph", "gene", "symbol", "expression", "evidence", "regulon")
