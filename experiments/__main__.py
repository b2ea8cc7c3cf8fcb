"""``python -m experiments``: compare arms, keep run records, write the documents' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.commandline import run_app, say
from grn_cotrain.errors import UserError

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def compare(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, the same for all arms")],
    out: Annotated[Path, typer.Option(help="folder of the grid; a second call goes on where the first one stopped")],
    arms: Annotated[str, typer.Option(help="schedule+modifier+..., separated by commas")] = (
        "joint,mlm_only,link_only,pretrain_then_link,joint+rewired"
    ),
    seeds: Annotated[str, typer.Option(help="separated by commas; at least 3 for a claim")] = "0,1,2",
    jobs: Annotated[int, typer.Option(help="runs at a time")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="a.b=c, for all arms")] = None,
    record: Annotated[str | None, typer.Option(help="also keep a run record of this name")] = None,
) -> None:
    """Run arms x seeds, print one table, write compare.json and compare.parquet."""
    from experiments.arms import parse_arms
    from experiments.compare import compare as run_comparison
    from experiments.records import make_record, write_record

    comparison = run_comparison(
        recipe, parse_arms(arms), parse_seeds(seeds), out, jobs=jobs, overrides=set_ or [], say=say
    )
    say("\n" + "\n".join(comparison.lines()))
    say(f"written: {out / 'compare.json'}, {out / 'compare.parquet'}")
    if record is not None:
        say(f"recorded: {write_record(make_record(out, record))}")


@app.command("record")
def keep_record(
    folder: Annotated[Path, typer.Argument(help="--out of compare, evaluate links or the benchmarks; or a run folder")],
    name: Annotated[str, typer.Option(help="name of the record")],
    command: Annotated[str | None, typer.Option(help="the command that made the folder")] = None,
) -> None:
    """Condense a result into experiments/records."""
    from experiments.records import make_record, write_record

    say(f"recorded: {write_record(make_record(folder, name, command=command))}")


@app.command()
def withdraw(
    name: Annotated[str, typer.Argument(help="record of a study")],
    row: Annotated[str, typer.Option(help="'GROUP: NAME', as the table has it")],
    reason: Annotated[str, typer.Option(help="why it no longer holds")],
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


def parse_seeds(text: str) -> list[int]:
    """``0,1,2`` -> numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds '{text}': not whole numbers separated by commas; write for example 0,1,2") from None


def main() -> None:
    """Entry point: bad input is one line and exit code 2."""
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
