"""kNN of training TFs by expression: cosine in the space of 50 expression components."""

from __future__ import annotations

from grn_cotrain.controls._tf_knn import TFNeighbours
from grn_cotrain.controls.base import CONTROLS

__all__ = ["KnnExpression"]


@CONTROLS.register("knn_expression", paper="-")
class KnnExpression(TFNeighbours):
    """kNN of training TFs by expression: cosine in the space of 50 expression components.

    See :class:`~grn_cotrain.controls._tf_knn.TFNeighbours`. On held-out targets it knows nothing: TFs are alike there.
    """

    name = "knn_expression"
    needs_cells = True
    uses_expression = True
    uses_family = False
