"""Format ``gears``: a gene graph for GEARS, and for TxPert's ``go`` slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, READ_AS_MISSING, EdgeFormat
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["GearsFormat"]


@EDGE_FORMATS.register("gears", paper="Roohani et al. 2024, Nature Biotechnology 42, 927")
class GearsFormat(EdgeFormat):
    """GEARS' gene graph: ``source, target, importance``, comma-separated, as its ``go_essential_all.csv``.

    GEARS reads it with ``pandas.read_csv``, keeps the k edges of highest importance into each target
    (``gears/utils.py: get_similarity_network``) and needs both ends in its gene list (``GeneSimNetwork`` looks them
    up): give that list as ``--tfs`` and ``--targets``. Importance is the edge's probability, in (0, 1] as the Jaccard
    index there; a sign has no place. TxPert reads the same table as ``graphs/go/go_top_50.csv``.
    """

    suffix = "csv"
    refused_names: ClassVar[frozenset[str]] = READ_AS_MISSING

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        table = edges.frame[["source", "target"]].assign(importance=edges.weights())
        write_delimited(table, path, sep=",", float_format="%.9g")
        return self.lost(edges, "signs")
