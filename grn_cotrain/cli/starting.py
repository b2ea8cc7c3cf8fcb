"""``grn-cotrain init``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import app, progress
from grn_cotrain.commandline import say

__all__ = ["init"]


@app.command()
def init(
    cells: Annotated[str, typer.Argument(metavar="CELLS", help="File or folder of cells: h5ad, h5mu, loom, 10x, csv.")],
    edges: Annotated[str, typer.Argument(metavar="EDGES", help="Edge list of the network, in any format of grn-prep.")],
    out: Annotated[Path, typer.Option(metavar="PROJECT", help="Folder to make; new or empty.")],
) -> None:
    """Look at two files and write a commented recipe for them, with the reasons for every choice."""
    from grn_cotrain.start import start_project

    project = start_project(cells, edges, out, say=progress)
    for line in project.lines:
        say(line)
    say(f"written: {project.recipe}")
    run = shlex.quote(str(project.recipe.parent / "run"))
    say(f"next: grn-cotrain train {shlex.quote(str(project.recipe))} --out {run}")
