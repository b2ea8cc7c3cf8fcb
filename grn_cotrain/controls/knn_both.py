"""kNN of training TFs by expression and family together."""

from __future__ import annotations

from grn_cotrain.controls._tf_knn import TFNeighbours
from grn_cotrain.controls.base import CONTROLS

__all__ = ["KnnBoth"]


@CONTROLS.register("knn_both", paper="-")
class KnnBoth(TFNeighbours):
    """kNN of training TFs by expression and family together.

    See :class:`~grn_cotrain.controls._tf_knn.TFNeighbours`. On held-out targets it knows nothing: TFs are alike there.
    """

    name = "knn_both"
    needs_cells = True
    uses_expression = True
    uses_family = True
