"""Format ``beeline``: ``rankedEdges.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, READ_AS_MISSING, EdgeFormat, Selection
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["BeelineFormat"]


@EDGE_FORMATS.register("beeline", paper="Pratapa et al. 2020, Nature Methods 17, 147")
class BeelineFormat(EdgeFormat):
    """BEELINE's ranked edge list: ``Gene1, Gene2, EdgeWeight``, tab-separated, by falling weight.

    As the developer guide of BEELINE has it, ``Gene1`` are regulators, ``Gene2`` targets, ``EdgeWeight`` is "the
    absolute value of the weight". Its evaluation (``BLEval/computeEarlyPrec.py``) reads tabs, rounds weights to six
    decimals, takes absolute values, cuts after the k-th *row* and leaves weights of 0 out. Logits may be negative and
    small probabilities would tie, so weights here are logits, shifted so that the lowest is 0.000001: the ranking
    survives that reading.
    """

    suffix = "csv"
    selection: ClassVar[Selection] = Selection()
    refused_names: ClassVar[frozenset[str]] = READ_AS_MISSING

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        score = edges.frame["score"]
        table = edges.frame[["source", "target"]].set_axis(["Gene1", "Gene2"], axis=1)
        if edges.rank_by == "score":
            table["EdgeWeight"] = score - score.min() + 1e-6
            note = "weights are logits, shifted to be above 0"
        else:
            table["EdgeWeight"] = np.arange(len(table), 0, -1, dtype=np.float64)
            note = "weights are places, counted from the end: the edges are not in the order of their scores"
        write_delimited(table, path, float_format="%.6f")
        return [note, *self.lost(edges, "signs")]
