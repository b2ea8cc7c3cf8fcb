"""Options that several commands have, said once: a run, a file of cells, tables of names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Aliases", "Cells", "Layer", "MinMapped", "Modality", "Orthologs", "Run", "read_tables"]

Run = Annotated[str, typer.Argument(metavar="RUN", help="run folder, or hf://NAME/REPOSITORY")]
Cells = Annotated[
    Path, typer.Argument(metavar="CELLS", help="h5ad, h5mu, loom, zarr, 10x h5, Matrix Market folder, csv")
]
Layer = Annotated[str | None, typer.Option(help="layer that holds the counts")]
Modality = Annotated[str | None, typer.Option(help="modality of several: rna, or rna,prot")]
Aliases = Annotated[Path | None, typer.Option(metavar="FILE", help="table of old gene symbols")]
Orthologs = Annotated[Path | None, typer.Option(metavar="FILE", help="table of human and mouse orthologs")]
MinMapped = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="least share of genes found, of the fewer of file and model")
]


def read_tables(aliases: Path | None, orthologs: Path | None) -> dict[str, Any]:
    """The tables that were given, read."""
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

    return {
        "aliases": AliasTable.read(aliases) if aliases is not None else None,
        "orthologs": OrthologTable.read(orthologs) if orthologs is not None else None,
    }
