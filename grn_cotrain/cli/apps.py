"""The typer applications that the commands of this package hang themselves on, and how they print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from grn_cotrain.commandline import console, say
from grn_cotrain.errors import UserError

__all__ = [
    "app",
    "embed_app",
    "evaluate_app",
    "exit_code_of_signals",
    "export_app",
    "progress",
    "require_out",
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Gene regulatory networks inside single-cell pretraining.",
)
evaluate_app = typer.Typer(no_args_is_help=True, help="Model beside controls, on held-out data.")
export_app = typer.Typer(no_args_is_help=True, help="Embeddings and networks for other tools.")
embed_app = typer.Typer(no_args_is_help=True, help="Embed new data.")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(export_app, name="export")
app.add_typer(embed_app, name="embed")


def progress(text: str) -> None:
    """What is going on, for people at a terminal."""
    if console().is_terminal:
        say(f"  {text}", style="dim")


@contextmanager
def exit_code_of_signals() -> Iterator[None]:
    """Training that a signal stopped ends with one line and the signal's exit code, 130 or 143."""
    from grn_cotrain.train.stopping import TrainingStopped

    try:
        yield
    except TrainingStopped as stopped:
        say(str(stopped))
        raise typer.Exit(stopped.exit_code) from None


def require_out(run: str, out: Path | None) -> None:
    """Refuse to write into a run that is not on this machine: its folder is a cache."""
    if out is None and run.startswith("hf://"):
        raise UserError("--out: not given, and RUN is on a hub; name the file to write")
