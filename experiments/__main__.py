"""``python -m experiments``: keep run records and write the tables of the documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.commandline import run_app, say
from grn_cotrain.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.command("record")
def keep_record(
    folder: Annotated[
        Path, typer.Argument(help="--out of grn-cotrain compare, evaluate links or the benchmarks; or a run folder")
    ],
    name: Annotated[str, typer.Option(help="Name of the record.")],
    command: Annotated[str | None, typer.Option(help="The command that made the folder.")] = None,
) -> None:
    """Condense a result into experiments/records."""
    from experiments.records import make_record, write_record

    say(f"recorded: {write_record(make_record(folder, name, command=command))}")


@app.command()
def withdraw(
    name: Annotated[str, typer.Argument(help="Record of a study.")],
    row: Annotated[str, typer.Option(help="'GROUP: NAME', as the table has it")],
    reason: Annotated[str, typer.Option(help="Why it no longer holds.")],
) -> None:
    """Take a row that no longer holds out of a study's record."""
    from experiments.records import read_records, withdrawn, write_record

    records = {record["name"]: record for record in read_records()}
    if name not in records:
        raise UserError(f"record '{name}': there is none; choose from {', '.join(records)}")
    say(f"recorded: {write_record(withdrawn(records[name], row, reason))}")


@app.command()
def results() -> None:
    """Write experiments/RESULTS.md and the README's tables from the run records."""
    from experiments.results import write_documents

    for path in write_documents():
        say(f"written: {path}")


def main() -> None:
    """Entry point: bad input is one line and exit code 2."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
