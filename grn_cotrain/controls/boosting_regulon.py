"""Boosted trees on everything that `boosting_all` reads, and on regulon factors."""

from __future__ import annotations

from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls.base import CONTROLS
from grn_cotrain.controls.boosting_all import BoostingAll

__all__ = ["BoostingRegulon"]


@CONTROLS.register("boosting_regulon", paper="Ke et al. 2017 (LightGBM), as in scikit-learn")
class BoostingRegulon(PairBooster):
    """Boosted trees on everything that ``boosting_all`` reads, and on regulon factors, which read validation pairs.

    The difference to ``boosting_all`` is what the factors add.
    """

    name = "boosting_regulon"
    cost = "costly"
    needs_cells = True
    groups = (*BoostingAll.groups, "regulon")
