"""Format ``gmt``: regulons as gene sets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats.base import CONTROL_CHARACTERS, EDGE_FORMATS, EdgeFormat
from grn_cotrain.text_tables import guarded

if TYPE_CHECKING:
    from grn_cotrain.export.predicted_edges import PredictedEdges

__all__ = ["GmtFormat"]

_MARKS = {1: "+", -1: "-", 0: "?"}


@EDGE_FORMATS.register("gmt", paper="Van de Sande et al. 2020, Nature Protocols 15, 2247 (pySCENIC)")
class GmtFormat(EdgeFormat):
    """SCENIC's regulons as GMT: ``STAT1(+)``, a description, then the genes, tab-separated, best first.

    GMT is the Broad Institute's gene matrix transposed; ``GeneSignature.from_gmt`` of ctxcore (pySCENIC's AUCell) and
    ``decoupler.pp.read_gmt`` read it. As in pySCENIC, activated and repressed targets are sets apart, ``TF(+)`` and
    ``TF(-)``; targets of unknown sign are a third one, ``TF(?)``, are counted as activated, or are left out.
    """

    suffix = "gmt"
    # Some readers cut fields at any white space (decoupler's does), and take a leading # for a comment.
    refused_characters: ClassVar[re.Pattern[str]] = re.compile(rf"{CONTROL_CHARACTERS.pattern}|^#|\s")

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Which sets are written.

        Attributes
        ----------
        min_size
            Sets with fewer genes are left out.
        unsigned
            Targets of unknown sign: ``apart`` as ``TF(?)``, ``activating`` among ``TF(+)``, or ``drop``.
        """

        min_size: int = 10
        unsigned: Literal["apart", "activating", "drop"] = "apart"

        def __post_init__(self) -> None:
            if self.min_size < 1:
                raise UserError(f"min_size: got {self.min_size}; give 1 or more")

    def write(self, edges: PredictedEdges, path: Path) -> list[str]:
        """See :class:`EdgeFormat`."""
        frame = edges.frame[["source", "target", "sign", "known"]]
        notes = []
        unsigned = frame["sign"] == 0
        if self.config.unsigned == "drop" and unsigned.any():
            notes.append(f"{int(unsigned.sum()):,} edges of unknown sign were left out")
            frame = frame[~unsigned]
        elif self.config.unsigned == "activating":
            frame = frame.assign(sign=frame["sign"].mask(unsigned, 1))
        lines, small = [], []
        marks = frame["sign"].map(_MARKS).rename("mark")
        for (tf, mark), part in frame.groupby(["source", marks], sort=False):
            name = f"{tf}({mark})"
            if len(part) < self.config.min_size:
                small.append(name)
                continue
            new = int((part["known"] == "").sum())
            lines.append("\t".join(map(guarded, [name, f"tf={tf};targets={len(part)};new={new}", *part["target"]])))
        if small:
            notes.append(
                f"{len(small):,} regulons have fewer than {self.config.min_size} targets and were left out: "
                f"{name_some(small)}"
            )
        if not lines:
            raise UserError(
                f"min_size {self.config.min_size}: no regulon has as many targets; give a smaller one, or more edges"
            )
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [f"{len(lines):,} regulons", *notes, *self.lost(edges, "weights")]
