"""Boosted trees on the training graph alone: rates, paths, similar regulons."""

from __future__ import annotations

from grn_cotrain.controls._boosting import PairBooster
from grn_cotrain.controls.base import CONTROLS

__all__ = ["BoostingGraph"]


@CONTROLS.register("boosting_graph", paper="Ke et al. 2017 (LightGBM), as in scikit-learn")
class BoostingGraph(PairBooster):
    """Boosted trees on the training graph alone: rates, paths, similar regulons.

    It shows what a model can predict without expression.
    """

    name = "boosting_graph"
    needs_cells = False
    groups = ("graph",)
