"""Options of gene embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from grn_cotrain.data.io.names import AliasTable, OrthologTable
from grn_cotrain.errors import UserError
from grn_cotrain.options import Options, option

__all__ = ["KINDS", "VARM_KEY", "GeneOptions", "IntoOptions", "Kind"]

Kind = Literal["static", "graph", "contextual", "regulation"]
KINDS: tuple[str, ...] = get_args(Kind)
VARM_KEY = "grn_cotrain"


@dataclass(frozen=True, kw_only=True)
class GeneOptions(Options):
    """Which embeddings of genes are meant."""

    kind: Kind = option(
        "graph",
        "Kind of embedding: static (rows of the shared table), graph (output of the graph encoder), contextual (mean"
        " final state over the cells in which the gene is a token) or regulation (principal directions of the known and"
        " predicted regulators).",
    )
    by: str | None = option(None, "Column of obs: contextual means per group of cells.", metavar="OBS")
    prep: str | Path | None = option(
        None, "New place of the run's prepared folder; default: search for it.", metavar="DIR"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by is not None and self.kind != "contextual":
            raise UserError(f"--by '{self.by}': groups of cells concern contextual embeddings; add --kind contextual")


@dataclass(frozen=True, kw_only=True)
class IntoOptions(Options):
    """How embeddings of genes are added to a user's own object."""

    key_added: str = option(VARM_KEY, "Key in varm.", metavar="KEY")
    aliases: AliasTable | str | Path | None = option(None, "Table of old gene symbols.", metavar="FILE")
    orthologs: OrthologTable | str | Path | None = option(None, "Table of human and mouse orthologs.", metavar="FILE")
    overwrite: bool = option(False, "Replace a key of that name in the result.")
