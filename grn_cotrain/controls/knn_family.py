"""kNN of training TFs by family: TFs whose symbols share a stem (STAT1 and STAT3, GATA, FOX, SOX ...)."""

from __future__ import annotations

from grn_cotrain.controls._tf_knn import TFNeighbours
from grn_cotrain.controls.base import CONTROLS

__all__ = ["KnnFamily"]


@CONTROLS.register("knn_family", paper="-")
class KnnFamily(TFNeighbours):
    """kNN of training TFs by family: TFs whose symbols share a stem (STAT1 and STAT3, GATA, FOX, SOX ...).

    See :class:`~grn_cotrain.controls._tf_knn.TFNeighbours`. On held-out targets it knows nothing: TFs are alike there.
    """

    name = "knn_family"
    needs_cells = True
    uses_expression = False
    uses_family = True
