"""Arguments and options of commands that are not options of a job: a run, a file of cells, a place to write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.commandline import say
from grn_cotrain.config import LARGEST_SEED
from grn_cotrain.errors import UserError
from grn_cotrain.text_tables import formula_guard

__all__ = ["Cells", "OptionalCells", "OutCells", "OutFolder", "PrepPlace", "RawText", "Run", "Seed", "tell_unfinished"]

_CELLS = "File of cells: h5ad, h5mu, loom, zarr, 10x h5, Matrix Market folder or csv. It is never changed."

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or hf://NAME/REPOSITORY.")]
Cells = Annotated[Path, typer.Argument(metavar="CELLS", help=_CELLS)]
OptionalCells = Annotated[Path | None, typer.Argument(metavar="CELLS", help=_CELLS, show_default=False)]
OutCells = Annotated[Path, typer.Option("--out", metavar="OUT.h5ad", help="File to write: h5ad, zarr, or h5mu.")]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")]
PrepPlace = Annotated[
    Path | None,
    typer.Option("--prep", metavar="DIR", help="New place of the run's prepared folder; default: search for it."),
]


def _raw_text(context: typer.Context, value: bool) -> bool:
    context.with_resource(formula_guard(not value))
    return value


RawText = Annotated[
    bool,
    typer.Option(
        "--raw-text",
        callback=_raw_text,
        help="Write names that begin with = + - @ unchanged, without the apostrophe that stops spreadsheets from"
        " running them as formulas.",
    ),
]


def _seed(value: int) -> int:
    # Not typer's own min and max: their error does not name the given value.
    if not 0 <= value <= LARGEST_SEED:
        raise UserError(f"--seed '{value}': give 0 to {LARGEST_SEED}")
    return value


Seed = Annotated[int, typer.Option(callback=_seed, help="Random seed.")]


def tell_unfinished(*runs: str | Path) -> None:
    """Print a first line if a run is not finished. Folders that are not runs are ignored."""
    from grn_cotrain.run_folder import RunFolder

    for run in runs:
        if (Path(run) / "recipe.yaml").is_file():
            RunFolder.open(run).tell_unfinished(say)
