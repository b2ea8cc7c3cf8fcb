"""Format ``graphml``: a network for Cytoscape, Gephi and networkx."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grn_cotrain.data.grn_convert import write_graphml
from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["GraphmlFormat"]

_ATTRIBUTES = ("score", "probability", "sign_source", "correlation", "known")


@EDGE_FORMATS.register("graphml", paper="Brandes et al. 2002, GraphML progress report")
class GraphmlFormat(EdgeFormat):
    """GraphML (http://graphml.graphdrawing.org): a directed graph of genes that networkx, Cytoscape and Gephi read.

    Edges carry ``weight, sign, evidence, score, probability, sign_source, correlation, known``; nodes carry ``is_tf``.
    A value that is not there (no probability, no cells) is an attribute that is not there.
    """

    suffix = "graphml"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        graph = edges.to_grn().to_networkx()
        frame = edges.frame
        for name in _ATTRIBUTES:
            # Python's own numbers, since GraphML writers know no numpy types.
            for source, target, value in zip(frame["source"], frame["target"], frame[name].tolist(), strict=True):
                if value == value:  # leaves NaN out
                    graph.edges[source, target][name] = value
        sources = set(frame["source"])
        for node, attributes in graph.nodes(data=True):
            attributes["is_tf"] = node in sources
        write_graphml(graph, path)
        return []
