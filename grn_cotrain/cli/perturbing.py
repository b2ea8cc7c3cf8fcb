"""``grn-cotrain perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.cli.apps import app
from grn_cotrain.cli.options import (
    Aliases,
    Layer,
    MinMapped,
    Modality,
    Orthologs,
    PrepPlace,
    RawText,
    Run,
    Seed,
    pair,
    read_tables,
    tell_unfinished,
)
from grn_cotrain.commandline import say

__all__ = ["perturb"]


@app.command("perturb")
def perturb(
    run: Run,
    gene: Annotated[
        list[str], typer.Option(metavar="NAME", help="gene to perturb; repeat it to perturb several together")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="table of genes to write: .tsv or .parquet")],
    mode: Annotated[str, typer.Option(help="delete or overexpress")] = "delete",
    level: Annotated[
        str, typer.Option(metavar="Q|cell_max", help="overexpress: quantile of the gene's values to raise it to")
    ] = "0.99",
    cells: Annotated[
        Path | None, typer.Option(metavar="CELLS", help="file of cells; default: those of the run's prepared folder")
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="COLUMN=VALUE", help="cells with this value of obs")] = None,
    max_cells: Annotated[int, typer.Option(min=0, help="at most so many cells a gene, at random; 0: all")] = 256,
    controls: Annotated[int, typer.Option(min=0, help="random matched genes to compare with")] = 20,
    cells_out: Annotated[Path | None, typer.Option(metavar="FILE", help="table of the shift of each cell")] = None,
    layer: Layer = None,
    modality: Modality = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    min_mapped: MinMapped = 0.5,
    prep: PrepPlace = None,
    seed: Seed = 0,
    raw_text: RawText = False,
) -> None:
    """Delete or over-express genes in silico: how far cells and other genes move, beside random matched genes."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.perturb import perturb_file
    from grn_cotrain.hub import resolve_run

    tell_unfinished(run)
    with counted("perturbing", "cells") as progress:
        perturb_file(
            resolve_run(run, say=say),
            gene,
            out,
            cells=cells,
            cells_out=cells_out,
            mode=mode,
            level=_level(level),
            only=pair(only, "--only"),
            max_cells=max_cells or None,
            num_controls=controls,
            min_mapped=min_mapped,
            prep=prep,
            seed=seed,
            layer=layer,
            modality=modality,
            say=say,
            progress=progress,
            **read_tables(aliases, orthologs),
        )


def _level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text  # cell_max, or what is refused with its name
