"""``grn-cotrain export edges``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.cli.apps import export_app, require_out
from grn_cotrain.cli.options import RawText, Run, tell_unfinished
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command
from grn_cotrain.errors import UserError
from grn_cotrain.jobs.edges import EdgeOptions
from grn_cotrain.strict import parse_yaml

__all__ = ["export_edges"]


@command(export_app, "edges")
def export_edges(
    run: Run,
    options: EdgeOptions,
    format: Annotated[
        str,
        typer.Option(
            help="Format: beeline, celloracle, decoupler, gears, genernib, gmt, graphml, h5ad, parquet, tsv or txpert."
        ),
    ] = "parquet",
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the format; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; default: in the run folder.")] = None,
    raw_text: RawText = False,
) -> None:
    """Score all TF x gene pairs and write the best for another tool. Known edges are labelled."""
    require_out(run, out)
    tell_unfinished(run)
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.edge_file import export_edges as export
    from grn_cotrain.hub import resolve_run

    with counted("scoring", "TFs") as progress:
        export(
            resolve_run(run, say=say),
            format,
            out,
            options=options,
            format_options=_options(option or []),
            say=say,
            progress=progress,
        )
    next_step("grn-cotrain", "report", run)


def _options(pairs: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UserError(f"--option '{pair}': give NAME=VALUE")
        try:
            options[name.strip()] = parse_yaml(value)
        except ValueError:
            options[name.strip()] = value
    return options
