"""Options of the network that a run predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grn_cotrain.errors import UserError
from grn_cotrain.options import Options, option

__all__ = ["MOST_EDGES", "EdgeOptions"]

MOST_EDGES = 30_000_000
"""Rows that one table may have; beyond it the names alone fill a laptop's memory."""

Known = Literal["keep", "drop", "only"]


def _per_tf(text: str) -> Any:
    return int(text) if text.lstrip("-").isdigit() else text


@dataclass(frozen=True, kw_only=True)
class EdgeOptions(Options):
    """Which edges a run predicts are kept."""

    tfs: str | Sequence[str] | None = option(
        None,
        "Names of the sources, or a file of names, one a line; default: the TFs of the run's split (of the model's own"
        " graph, where the prepared folder"
        " is gone). A TF without training edges may be named; its scores then depend on its expression alone.",
        metavar="FILE|A,B",
    )
    targets: str | Sequence[str] | None = option(
        None, "Names of the targets, or a file of names; default: all genes but spike-ins.", metavar="FILE|A,B"
    )
    top: int | None = option(None, "Number of edges to keep, the best of all TFs.", metavar="K", low=1)
    top_per_tf: int | Literal["training"] | None = option(
        None,
        "Number of edges to keep of each TF, before top; training: as many as the TF has training edges. A few TFs of"
        " high degree fill a short list otherwise.",
        metavar="K|training",
        parse=_per_tf,
        low=1,
    )
    min_probability: float | None = option(None, "Minimum calibrated probability.", metavar="P", low=0.0, high=1.0)
    known: Known = option(
        "keep", "Edges of the network: keep (they compete with new ones), drop (only new edges) or only."
    )
    rank_by: Literal["specific", "score"] | None = option(
        None,
        "Order of a TF's targets: specific (targets that other TFs share go down) or score; default: specific for new"
        " edges (known: drop), else score.",
    )
    explain: bool = option(
        False,
        "Add the columns neighbours and data_sets: the TF's training targets that are alike to the target, their votes,"
        " and the data sets in which they are. Two baselines are fitted for this.",
    )
    prep: str | Path | None = option(
        None,
        "New place of the run's prepared folder; default: search for it. Known edges and signs come from it; without"
        " it the model's own graph is used, and missing facts are reported.",
        metavar="DIR",
    )

    by: str | None = option(
        None,
        "Column of obs with groups of cells, such as cell_type: one network a group, in which the weight of an edge is"
        " multiplied by the probability that it acts in these cells.",
        metavar="COLUMN",
    )
    cells: Any = option(
        None, "Cells of the groups, an h5ad or an AnnData; default: the run's own cells.", metavar="FILE", parse=str
    )
    min_mapped: float = option(
        0.5,
        "Minimum fraction of genes shared by the cells and the model, relative to the smaller set.",
        low=0.0,
        high=1.0,
    )
    min_cells: int = option(30, "Minimum number of cells of a group; smaller groups are reported and left out.", low=5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cells is not None and self.by is None:
            raise UserError("--cells: cells are read for groups alone; give --by COLUMN too")
        for flag, value in (("--top", self.top), ("--top-per-tf", self.top_per_tf)):
            if isinstance(value, int) and value > MOST_EDGES:
                raise UserError(f"{flag} '{value}': more than one table holds; give {MOST_EDGES:,} or fewer")
