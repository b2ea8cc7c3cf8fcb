"""``grn-cotrain export genes`` and ``embed cells``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import embed_app, export_app, require_out
from grn_cotrain.cli.options import Cells, OptionalCells, OutCells, RawText, Run, tell_unfinished
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command
from grn_cotrain.jobs.embed import EmbedOptions
from grn_cotrain.jobs.genes import GeneOptions, IntoOptions

__all__ = ["embed_cells", "export_genes"]


@command(export_app, "genes")
def export_genes(
    run: Run,
    options: GeneOptions,
    into: IntoOptions,
    cells: OptionalCells = None,
    format: Annotated[
        str, typer.Option(help="File format: parquet, tsv, word2vec, safetensors, h5ad, or varm (a copy of CELLS).")
    ] = "parquet",
    out: Annotated[Path | None, typer.Option(help="File to write; default: in the run folder.")] = None,
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
            cells,
            out,
            options=options,
            format=format,
            into=into,
            say=say,
            progress=progress,
        )
    next_step("grn-cotrain", "card", run)


@command(embed_app, "cells")
def embed_cells(run: Run, cells: Cells, out: OutCells, options: EmbedOptions) -> None:
    """Embed cells of any file and write a copy of it. The file itself is never changed."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export import embed_cells as embed
    from grn_cotrain.hub import resolve_run

    tell_unfinished(run)
    with counted("cells", "cells") as progress:
        embed(resolve_run(run, say=say), cells, out, options=options, say=say, progress=progress)
    next_step("grn-cotrain", "finetune", run, out, "--label", "OBS", "--out", f"{Path(run).name}-types")
