"""``grn-cotrain export genes`` and ``embed cells``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import embed_app, export_app, require_out
from grn_cotrain.cli.options import (
    Aliases,
    Cells,
    Layer,
    MinMapped,
    Modality,
    Orthologs,
    PrepPlace,
    RawText,
    Run,
    read_tables,
    tell_unfinished,
)
from grn_cotrain.commandline import say

__all__ = ["embed_cells", "export_genes"]


@export_app.command("genes")
def export_genes(
    run: Run,
    kind: Annotated[str, typer.Option(help="static, graph or contextual")] = "graph",
    by: Annotated[str | None, typer.Option(metavar="OBS", help="contextual means per group of cells")] = None,
    format: Annotated[str, typer.Option(help="parquet, tsv, word2vec, safetensors, h5ad or varm")] = "parquet",
    out: Annotated[Path | None, typer.Option(help="file to write; default: in the run folder")] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="CELLS.h5ad", help="varm: the file to copy; it is not changed")
    ] = None,
    key_added: Annotated[str, typer.Option(help="varm: key in varm")] = "grn_cotrain",
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    prep: PrepPlace = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="varm: replace a key of that name")] = False,
    raw_text: RawText = False,
) -> None:
    """Export gene embeddings with symbols, ids and the vocabulary's hash."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export import export_genes as export
    from grn_cotrain.hub import resolve_run

    require_out(run, out)
    tell_unfinished(run)
    with counted("cells", "cells") as progress:
        export(
            resolve_run(run, say=say),
            kind,
            format,
            out,
            by=by,
            prep=prep,
            into=into,
            key_added=key_added,
            overwrite=overwrite,
            say=say,
            progress=progress,
            **read_tables(aliases, orthologs),
        )


@embed_app.command("cells")
def embed_cells(
    run: Run,
    cells: Cells,
    out: Annotated[Path, typer.Option(metavar="OUT.h5ad", help="file to write: h5ad, zarr, or h5mu for an h5mu")],
    layer: Layer = None,
    modality: Modality = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    key_added: Annotated[str, typer.Option(help="key in obsm")] = "X_grn_cotrain",
    min_mapped: MinMapped = 0.5,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="say what the model was trained on, and whether these cells are new")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a key of that name in the copy")] = False,
) -> None:
    """Embed cells of any file; what the file holds is kept, and the file itself never changed."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export import embed_cells as embed
    from grn_cotrain.hub import resolve_run

    tell_unfinished(run)
    with counted("cells", "cells") as progress:
        embed(
            resolve_run(run, say=say),
            cells,
            out,
            layer=layer,
            modality=modality,
            key_added=key_added,
            min_mapped=min_mapped,
            zero_shot=zero_shot,
            overwrite=overwrite,
            say=say,
            progress=progress,
            **read_tables(aliases, orthologs),
        )
