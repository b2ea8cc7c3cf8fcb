"""``grn-cotrain export edges``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.cli.apps import export_app, require_out
from grn_cotrain.cli.options import PrepPlace, RawText, Run, tell_unfinished
from grn_cotrain.commandline import say
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.strict import parse_yaml

__all__ = ["export_edges"]

_KNOWN: dict[str, Any] = {"keep": True, "drop": False, "only": "only"}


@export_app.command("edges")
def export_edges(
    run: Run,
    format: Annotated[
        str,
        typer.Option(
            help="beeline, celloracle, decoupler, gears, genernib, gmt, graphml, h5ad, parquet, tsv or txpert"
        ),
    ] = "parquet",
    top: Annotated[int | None, typer.Option(metavar="K", help="best edges to keep")] = None,
    top_per_tf: Annotated[
        str | None, typer.Option(metavar="K|training", help="best edges of each TF; training: as many as it has there")
    ] = None,
    min_probability: Annotated[float | None, typer.Option(metavar="P", help="least calibrated probability")] = None,
    tfs: Annotated[str | None, typer.Option(metavar="FILE|A,B", help="sources; default: the TFs of the split")] = None,
    targets: Annotated[str | None, typer.Option(metavar="FILE|A,B", help="targets; default: all genes")] = None,
    known: Annotated[str, typer.Option(help="edges of the network: keep, drop (only new ones) or only")] = "keep",
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="option of the format; may be repeated")
    ] = None,
    prep: PrepPlace = None,
    out: Annotated[Path | None, typer.Option(help="file to write; default: in the run folder")] = None,
    raw_text: RawText = False,
) -> None:
    """Score all TF x gene pairs and write the best for another tool; known edges are labelled."""
    if known not in _KNOWN:
        raise UserError(f"--known '{known}': choose from {', '.join(_KNOWN)}{did_you_mean(known, _KNOWN)}")
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
            options=_options(option or []),
            tfs=_names(tfs, "--tfs"),
            targets=_names(targets, "--targets"),
            top=top,
            top_per_tf=_per_tf(top_per_tf),
            min_probability=min_probability,
            include_known=_KNOWN[known],
            prep=prep,
            say=say,
            progress=progress,
        )


def _per_tf(text: str | None) -> Any:
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


def _names(text: str | None, flag: str) -> list[str] | None:
    """Names of a file, one a line, or listed with commas."""
    if text is None:
        return None
    if Path(text).is_file():
        from grn_cotrain.data.io.name_lists import read_names

        notes: list[str] = []
        names = read_names(text, what=flag, notes=notes)
        for note in notes:
            say(f"{flag}: {note}")
        return names
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or "/" in text:
        raise UserError(f"{flag} '{text}': no such file, and no names; give a file of names, or names with commas")
    return names


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
