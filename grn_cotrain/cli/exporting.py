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
    run: Annotated[str, typer.Argument(metavar="RUN", help="run folder")],
    kind: Annotated[str, typer.Option(help="static, graph or contextual")] = "graph",
    by: Annotated[str | None, typer.Option(metavar="OBS", help="contextual means per group of cells")] = None,
    format: Annotated[str, typer.Option(help="parquet, tsv, word2vec, safetensors, h5ad or varm")] = "parquet",
    out: Annotated[Path | None, typer.Option(help="file to write; default: in the run folder")] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="CELLS.h5ad", help="varm: the file to copy; it is not changed")
    ] = None,
    key_added: Annotated[str, typer.Option(help="varm: key in varm")] = "grn_cotrain",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="varm: replace a key of that name")] = False,
) -> None:
    """Export gene embeddings with symbols, ids and the vocabulary's hash."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export import export_genes as export

    with counted("cells", "cells") as progress:
        export(
            run,
            kind,
            format,
            out,
            by=by,
            into=into,
            key_added=key_added,
            overwrite=overwrite,
            say=say,
            progress=progress,
        )


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
