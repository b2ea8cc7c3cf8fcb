"""``grn-cotrain report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import EVALUATE, app
from grn_cotrain.cli.options import PrepPlace, tell_unfinished
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command

__all__ = ["report"]


@command(app, "report", panel=EVALUATE)
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN [RUN ...]", help="Run folders; several are shown side by side.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="File to write; default: report.html in the first RUN.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page; default: the names of the recipes.")] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder of a further link table, of folds evaluated together; repeatable."),
    ] = None,
    card: Annotated[bool, typer.Option("--card/--no-card", help="Include the card of the gene embedding.")] = True,
    basis: Annotated[str, typer.Option(help="Layout of genes on maps: umap, or pca, which is faster.")] = "umap",
    prep: PrepPlace = None,
    date: Annotated[str, typer.Option(help="Date to show; default: none, so that equal runs give equal files.")] = "",
) -> None:
    """Write one self-contained HTML page about one or several runs."""
    from grn_cotrain.report import write_report

    tell_unfinished(*runs)
    path = write_report(
        runs,
        out,
        title=title,
        date=date,
        tables=table or (),
        card=card,
        basis=basis,  # type: ignore[arg-type]  # checked there
        prep=prep,
        say=lambda text: say(f"  {text}", style="dim"),
    )
    say(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    next_step("grn-cotrain", "export", "edges", runs[0])
