"""``grn-cotrain generate``."""

from __future__ import annotations

from grn_cotrain.cli.apps import USE, app
from grn_cotrain.cli.options import Cells, OutCells, Run
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command
from grn_cotrain.jobs.generate import GenerateOptions

__all__ = ["generate"]


@command(app, "generate", panel=USE)
def generate(run: Run, cells: Cells, out: OutCells, options: GenerateOptions) -> None:
    """Generate values of genes from known genes, or cell states, in rounds; compare them with the gene mean."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.generate import generate_file
    from grn_cotrain.hub import resolve_run

    with counted("generating", "cells") as progress:
        generate_file(resolve_run(run, say=say), cells, out, options=options, say=say, progress=progress)
    next_step("grn-cotrain", "embed", "cells", run, out, "--out", out.with_name(f"{out.stem}-embedded.h5ad"))
