"""Format ``genernib``: a prediction for the geneRNIB benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat, Selection

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["GenernibFormat"]


@EDGE_FORMATS.register("genernib", paper="Nourisa et al. 2025, geneRNIB (bioRxiv 2025.02.25.640181)")
class GenernibFormat(EdgeFormat):
    """geneRNIB's prediction: an AnnData with nothing but ``uns``: ``dataset_id, method_id, prediction``.

    ``prediction`` is a table ``source, target, weight`` (``src/api/file_prediction_h5ad.yaml`` of
    openproblems-bio/task_grn_inference); the benchmark keeps the 50,000 links of highest absolute weight
    (``max_n_links``), which is the default number here. Weights are probabilities times signs, unknown signs positive.
    """

    suffix = "h5ad"
    selection: ClassVar[Selection] = Selection(top=50_000)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Facts for the benchmark.

        Attributes
        ----------
        dataset_id
            The benchmark's name of the data; empty: the recipe's name.
        method_id
            The benchmark's name of the method.
        """

        dataset_id: str = ""
        method_id: str = "grn_cotrain"

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        import anndata

        net = edges.to_grn().to_decoupler()
        net = net.reindex(net["weight"].abs().sort_values(ascending=False, kind="stable").index)
        net["weight"] = net["weight"].astype(float)
        adata = anndata.AnnData(
            uns={
                "dataset_id": self.config.dataset_id or edges.identity.run,
                "method_id": self.config.method_id,
                "prediction": net.set_axis([str(i) for i in range(len(net))], axis=0),
            }
        )
        write_h5ad(adata, path)
        notes = self.unsigned_as_positive(edges)
        if self.config.dataset_id:
            return notes
        named = f"dataset_id is the recipe's name, '{edges.identity.run}'"
        return [*notes, f"{named}: give the benchmark's with dataset_id=NAME"]
