"""``grn-cotrain export genes`` and ``embed cells``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.cli.apps import embed_app, export_app, require_out
from grn_cotrain.commandline import say

__all__ = ["embed_cells", "export_genes", "read_tables"]

Run = Annotated[str, typer.Argument(metavar="RUN", help="run folder, or hf://NAME/REPOSITORY")]
Aliases = Annotated[Path | None, typer.Option(metavar="FILE", help="table of old gene symbols")]
Orthologs = Annotated[Path | None, typer.Option(metavar="FILE", help="table of human and mouse orthologs")]


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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="varm: replace a key of that name")] = False,
) -> None:
    """Export gene embeddings with symbols, ids and the vocabulary's hash."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export import export_genes as export
    from grn_cotrain.hub import resolve_run

    require_out(run, out)
    with counted("cells", "cells") as progress:
        export(
            resolve_run(run, say=say),
            kind,
            format,
            out,
            by=by,
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
    cells: Annotated[
        Path, typer.Argument(metavar="CELLS", help="h5ad, h5mu, loom, zarr, 10x h5, Matrix Market folder, csv")
    ],
    out: Annotated[Path, typer.Option(metavar="OUT.h5ad", help="file to write: h5ad, zarr, or h5mu for an h5mu")],
    layer: Annotated[str | None, typer.Option(help="layer that holds the counts")] = None,
    modality: Annotated[str | None, typer.Option(help="modality of several: rna, or rna,prot")] = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    key_added: Annotated[str, typer.Option(help="key in obsm")] = "X_grn_cotrain",
    min_mapped: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="least share of genes found, of the fewer of file and model")
    ] = 0.5,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="say what the model was trained on, and whether these cells are new")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a key of that name in the copy")] = False,
) -> None:
    """Embed cells of any file; what the file holds is kept, and the file itself never changed."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export import embed_cells as embed
    from grn_cotrain.hub import resolve_run

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


def read_tables(aliases: Path | None, orthologs: Path | None) -> dict[str, Any]:
    """The tables that were given, read."""
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

    return {
        "aliases": AliasTable.read(aliases) if aliases is not None else None,
        "orthologs": OrthologTable.read(orthologs) if orthologs is not None else None,
    }
