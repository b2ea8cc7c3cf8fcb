"""Format ``parquet``: everything that is known of each edge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["ParquetFormat"]


@EDGE_FORMATS.register("parquet", paper="Apache Parquet")
class ParquetFormat(EdgeFormat):
    """All columns of :class:`~grn_cotrain.export.predicted_edges.PredictedEdges`, for ``pandas.read_parquet``.

    The schema's metadata hold, each after ``grn_cotrain.``, the run's name and hashes, ``scorer``, ``num_candidates``,
    ``labels`` and, with probabilities, ``prevalence`` and ``num_calibration``: what they are calibrated for.
    """

    suffix = "parquet"
    grouped: ClassVar[bool] = True
    refused_characters: ClassVar[None] = None

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(edges.frame, preserve_index=False)
        own = {f"grn_cotrain.{name}": str(value) for name, value in edges.provenance().items()}
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), path)
        return [] if edges.has_probability else self.lost(edges, "weights, as the run has no probabilities")
