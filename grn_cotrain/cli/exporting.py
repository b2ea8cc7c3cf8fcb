"""``grn-cotrain export`` and ``embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import embed_app, export_app
from grn_cotrain.commandline import say

__all__ = ["embed_cells", "export_genes"]


@export_app.command("genes")
def export_genes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    kind: Annotated[str, typer.Option(help="static, graph or contextual")] = "graph",
    by: Annotated[str | None, typer.Option(metavar="OBS", help="contextual means per group of cells")] = None,
    format: Annotated[str, typer.Option(help="parquet, tsv or h5ad")] = "parquet",
    out: Annotated[Path | None, typer.Option(help="file to write; default: in the run folder")] = None,
) -> None:
    """Export gene embeddings with symbols, ids and the vocabulary's hash."""
    from grn_cotrain.export import export_genes as export

    export(run, kind, format, out, by=by, say=say)


@embed_app.command("cells")
def embed_cells(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="h5ad, 10x h5, Matrix Market folder, csv")],
    out: Annotated[Path, typer.Option(metavar="OUT.h5ad", help="file to write")],
    layer: Annotated[str | None, typer.Option(help="layer that holds the counts")] = None,
    key_added: Annotated[str, typer.Option(help="key in obsm")] = "X_grn_cotrain",
    min_mapped: Annotated[float, typer.Option(help="least share of genes that the model must know")] = 0.5,
) -> None:
    """Embed cells of any file."""
    from grn_cotrain.export import embed_cells as embed

    embed(run, cells, out, layer=layer, key_added=key_added, min_mapped=min_mapped, say=say)
