"""Options that several commands have, said once: a run, a file of cells, tables of names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.commandline import say
from grn_cotrain.config import LARGEST_SEED
from grn_cotrain.errors import UserError
from grn_cotrain.text_tables import formula_guard

__all__ = [
    "Aliases",
    "Cells",
    "Layer",
    "MinMapped",
    "Modality",
    "Orthologs",
    "PrepPlace",
    "RawText",
    "Run",
    "Seed",
    "pair",
    "read_tables",
    "tell_unfinished",
]

Run = Annotated[str, typer.Argument(metavar="RUN", help="run folder, or hf://NAME/REPOSITORY")]
Cells = Annotated[
    Path, typer.Argument(metavar="CELLS", help="h5ad, h5mu, loom, zarr, 10x h5, Matrix Market folder, csv")
]
Layer = Annotated[str | None, typer.Option(help="layer that holds the counts")]
Modality = Annotated[str | None, typer.Option(help="modality of several: rna, or rna,prot")]
Aliases = Annotated[Path | None, typer.Option(metavar="FILE", help="table of old gene symbols")]
Orthologs = Annotated[Path | None, typer.Option(metavar="FILE", help="table of human and mouse orthologs")]
PrepPlace = Annotated[
    Path | None,
    typer.Option("--prep", metavar="DIR", help="new place of the run's prepared folder; default: it is looked for"),
]
MinMapped = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="least share of genes found, of the fewer of file and model")
]


def _raw_text(context: typer.Context, value: bool) -> bool:
    context.with_resource(formula_guard(not value))
    return value


RawText = Annotated[
    bool,
    typer.Option(
        "--raw-text",
        callback=_raw_text,
        help="Write names that begin with = + - @ as they are, without the apostrophe that keeps spreadsheets from"
        " running them as formulas.",
    ),
]


def _seed(value: int) -> int:
    # Not typer's own min and max: their error does not say what was given.
    if not 0 <= value <= LARGEST_SEED:
        raise UserError(f"--seed '{value}': give 0 to {LARGEST_SEED}")
    return value


Seed = Annotated[int, typer.Option(callback=_seed, help="of every draw")]


def pair(text: str | None, option: str) -> tuple[str, str] | None:
    """``COLUMN=VALUE`` in two."""
    if text is None:
        return None
    column, equals, value = text.partition("=")
    if not equals or not column or not value:
        raise UserError(f"{option} '{text}': give COLUMN=VALUE, for example cell_type=B")
    return column, value


def read_tables(aliases: Path | None, orthologs: Path | None) -> dict[str, Any]:
    """The tables that were given, read."""
    from grn_cotrain.data.io.names import AliasTable, OrthologTable

    return {
        "aliases": AliasTable.read(aliases) if aliases is not None else None,
        "orthologs": OrthologTable.read(orthologs) if orthologs is not None else None,
    }


def tell_unfinished(*runs: str | Path) -> None:
    """Print, before anything else, that a run is not finished, where it is not. What is no run is not looked at."""
    from grn_cotrain.run_folder import RunFolder

    for run in runs:
        if (Path(run) / "recipe.yaml").is_file():
            RunFolder.open(run).tell_unfinished(say)
