"""Format ``tsv``: everything that is known of each edge, as plain text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, READ_AS_MISSING, EdgeFormat
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["TsvFormat"]


@EDGE_FORMATS.register("tsv", paper="-")
class TsvFormat(EdgeFormat):
    """All columns of :class:`~grn_cotrain.export.predicted_edges.PredictedEdges`, tab-separated, with a header.

    ``pandas.read_csv(FILE, sep="\\t")`` reads it, and so does ``grn-prep grn``.
    """

    suffix = "tsv"
    grouped: ClassVar[bool] = True
    refused_names: ClassVar[frozenset[str]] = READ_AS_MISSING

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        write_delimited(edges.frame, path, float_format="%.9g")
        return [] if edges.has_probability else self.lost(edges, "weights, as the run has no probabilities")
