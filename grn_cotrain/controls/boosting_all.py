"""Boosted trees on everything: graph, gene marginals, symbols, expression components, closed-form evidence."""

from __future__ import annotations

from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls.base import CONTROLS

__all__ = ["BoostingAll"]


@CONTROLS.register("boosting_all", paper="Ke et al. 2017 (LightGBM), as in scikit-learn")
class BoostingAll(PairBooster):
    """Boosted trees on everything: graph, gene marginals, symbols, expression components, closed-form evidence.

    The strongest control on most splits.
    """

    name = "boosting_all"
    needs_cells = True
    version = 4
    groups = ("graph", "gene", "symbol", "expression", "evidence")
