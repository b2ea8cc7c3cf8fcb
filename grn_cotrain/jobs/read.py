"""How cells of any origin are read for a model: the options that every job on cells has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.data.io.names import AliasTable, OrthologTable
from grn_cotrain.options import Options, option

__all__ = ["ReadOptions"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions(Options):
    """How cells are read, and how much of them the model must know."""

    layer: str | None = option(None, "Layer that holds the counts; default: X; raw for adata.raw.")
    modality: str | None = option(None, "Modality to read where there are several: rna, or rna,prot; default: all.")
    aliases: AliasTable | str | Path | None = option(None, "Table of old gene symbols.", metavar="FILE")
    orthologs: OrthologTable | str | Path | None = option(None, "Table of human and mouse orthologs.", metavar="FILE")
    min_mapped: float = option(
        0.5,
        "Minimum fraction of genes shared by the cells and the model, relative to the smaller set.",
        low=0.0,
        high=1.0,
    )
