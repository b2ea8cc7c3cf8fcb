"""``grn-cotrain init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import PREPARE, app, progress
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command

__all__ = ["init"]


@command(app, "init", panel=PREPARE)
def init(
    cells: Annotated[str, typer.Argument(metavar="CELLS", help="File or folder of cells: h5ad, h5mu, loom, 10x, csv.")],
    edges: Annotated[str, typer.Argument(metavar="EDGES", help="Edge list of the network, in any format of grn-prep.")],
    out: Annotated[Path, typer.Option(metavar="PROJECT", help="Folder to write; new or empty.")],
) -> None:
    """Read cells and a network, and write a commented recipe for them with the reasons for every choice."""
    from grn_cotrain.start import start_project

    project = start_project(cells, edges, out, say=progress)
    for line in project.lines:
        say(line)
    say(f"written: {project.recipe}")
    next_step("grn-cotrain", "train", project.recipe, "--out", project.recipe.parent / "run")
