"""``grn-cotrain perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import USE, app
from grn_cotrain.cli.options import OptionalCells, RawText, Run, tell_unfinished
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command
from grn_cotrain.jobs.perturb import PerturbOptions

__all__ = ["perturb"]


@command(app, "perturb", panel=USE)
def perturb(
    run: Run,
    gene: Annotated[
        list[str], typer.Option(metavar="NAME", help="Gene to perturb; repeat the option to perturb several together.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Table of genes to write: .tsv or .parquet.")],
    options: PerturbOptions,
    cells: OptionalCells = None,
    cells_out: Annotated[Path | None, typer.Option(metavar="FILE", help="Table of the shift of each cell.")] = None,
    raw_text: RawText = False,
) -> None:
    """Delete or over-express genes in silico and measure how far cells and other genes move.

    The shifts are compared with those of matched genes.

    Without CELLS, the cells of the run's prepared folder are used.
    """
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.perturb import perturb_file
    from grn_cotrain.hub import resolve_run

    tell_unfinished(run)
    with counted("perturbing", "cells") as progress:
        perturb_file(
            resolve_run(run, say=say),
            cells,
            gene,
            out,
            options=options,
            cells_out=cells_out,
            say=say,
            progress=progress,
        )
    next_step(
        "grn-cotrain", "export", "edges", run, "--tfs", gene[0], "--out", f"edges_{gene[0]}.tsv", "--format", "tsv"
    )
