"""Format ``decoupler``: a signed, weighted network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats.base import EDGE_FORMATS, READ_AS_MISSING, EdgeFormat
from grn_cotrain.text_tables import write_delimited

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["DecouplerFormat"]


@EDGE_FORMATS.register("decoupler", paper="Badia-i-Mompel et al. 2022, Bioinformatics Advances 2, vbac016")
class DecouplerFormat(EdgeFormat):
    """decoupler's network: ``source, target, weight``, comma-separated; the weight carries the sign.

    ``dc.mt.ulm(adata, net=pandas.read_csv(FILE))`` takes it as it is (decoupler 2, "net: long-format DataFrame of
    features and feature sets": source, target and, optionally, weight). A weight is the edge's probability times its
    sign; as in :meth:`~grn_cotrain.data.grn.GRN.to_decoupler`, an unknown sign counts as activation, or the edge is
    left out.
    """

    suffix = "csv"
    refused_names: ClassVar[frozenset[str]] = READ_AS_MISSING

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Meaning of a weight.

        Attributes
        ----------
        weights
            ``probability``: probability times sign. ``sign``: the sign alone.
        unsigned
            Edges of unknown sign: ``positive`` counts them as activation, ``drop`` leaves them out.
        """

        weights: Literal["probability", "sign"] = "probability"
        unsigned: Literal["positive", "drop"] = "positive"

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        grn = edges.to_grn()
        net = grn.to_decoupler()
        if self.config.weights == "sign":
            net["weight"] = np.sign(net["weight"])
        notes = []
        unsigned = grn.sign_E == 0
        if unsigned.any():
            dropped = self.config.unsigned == "drop"
            what = "left out" if dropped else "written as activating (option unsigned=drop leaves them out)"
            notes.append(f"{int(unsigned.sum()):,} edges of unknown sign were {what}")
            net = net[~unsigned] if dropped else net
        if net.empty:
            raise UserError("unsigned 'drop': no edge has a sign; take unsigned=positive")
        write_delimited(net, path, sep=",", float_format="%.6g")
        if (net["weight"] > 0).all():
            notes.append("all weights are positive: --format decoupler reads them back as activating, auto as unsigned")
        return notes
