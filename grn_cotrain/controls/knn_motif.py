"""kNN of training TFs by motif: TFs whose binding sites are alike."""

from __future__ import annotations

from grn_cotrain.controls._tf_knn import TFNeighbours
from grn_cotrain.controls.base import CONTROLS

__all__ = ["KnnMotif"]


@CONTROLS.register("knn_motif", paper="-")
class KnnMotif(TFNeighbours):
    """kNN of training TFs by motif: TFs whose binding sites are alike.

    Motifs come from ``grn-prep features --motifs``. On held-out targets it knows nothing: TFs are alike there.
    See :class:`~grn_cotrain.controls._tf_knn.TFNeighbours`.
    """

    name = "knn_motif"
    needs_cells = True
    uses_expression = False
    uses_family = False
    uses_motif = True
