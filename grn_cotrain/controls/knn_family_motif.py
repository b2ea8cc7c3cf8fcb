"""kNN of training TFs by family and motif: votes of the family and of similar motifs."""

from __future__ import annotations

from grn_cotrain.controls._tf_knn import TFNeighbours
from grn_cotrain.controls.base import CONTROLS

__all__ = ["KnnFamilyMotif"]


@CONTROLS.register("knn_family_motif", paper="-")
class KnnFamilyMotif(TFNeighbours):
    """kNN of training TFs by family and motif: votes of the family and of similar motifs.

    Motifs come from ``grn-prep features --motifs``. On held-out targets it knows nothing: TFs are alike there.
    See :class:`~grn_cotrain.controls._tf_knn.TFNeighbours`.
    """

    name = "knn_family_motif"
    needs_cells = True
    uses_expression = False
    uses_family = True
    uses_motif = True
