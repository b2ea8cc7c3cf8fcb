"""Format ``txpert``: a gene graph for TxPert."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, EdgeFormat

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["TxpertFormat"]


@EDGE_FORMATS.register("txpert", paper="Wenkel et al. 2025, TxPert (arXiv 2505.14919)")
class TxpertFormat(EdgeFormat):
    """TxPert's gene graph: a parquet table ``regulator, target, weight``, as its ``graphs/string/v11.5.parquet``.

    ``gspp/data/graphmodule.py: GSPGraph.process_graph`` takes these columns (or ``source``), maps both ends to its
    perturbations or genes and drops the others. Weights are probabilities; ``signed=true`` multiplies them with signs
    (the option ``reduce2positive`` of TxPert then leaves repression out).
    """

    suffix = "parquet"
    refused_characters: ClassVar[None] = None

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Meaning of a weight.

        Attributes
        ----------
        signed
            Whether weights carry the edge's sign; unknown ones count as positive.
        """

        signed: bool = False

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        weight_M = edges.weights()
        if self.config.signed:
            weight_M = weight_M * np.where(edges.frame["sign"] < 0, -1, 1)
        table = edges.frame[["source", "target"]].set_axis(["regulator", "target"], axis=1)
        table.assign(weight=weight_M.astype(np.float32)).to_parquet(path, index=False)
        if not self.config.signed:
            return [f"{note} (option signed=true writes them)" for note in self.lost(edges, "signs")]
        return self.unsigned_as_positive(edges)
