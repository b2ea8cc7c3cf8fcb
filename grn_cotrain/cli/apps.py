"""The typer applications to which the commands of this package are added, in the order of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from grn_cotrain.commandline import console, say, version_option
from grn_cotrain.errors import UserError

__all__ = [
    "EVALUATE",
    "PREPARE",
    "SHARE",
    "TRAIN",
    "USE",
    "app",
    "embed_app",
    "evaluate_app",
    "exit_code_of_signals",
    "export_app",
    "progress",
    "require_out",
]

PREPARE, TRAIN, EVALUATE, USE, SHARE = "Prepare", "Train", "Evaluate", "Use", "Share"
"""Panels of ``--help``, in the order of work."""

_ORDER = (
    *("init", "check", "list"),
    *("train", "finetune", "extend"),
    *("evaluate", "compare", "report", "card", "diff"),
    *("embed", "annotate", "export", "score", "perturb", "generate"),
    "hub",
)


class _InOrderOfWork(TyperGroup):
    """Lists commands in the order in which they are needed; a new one comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_InOrderOfWork,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Gene regulatory networks inside single-cell pretraining.",
)
evaluate_app = typer.Typer(no_args_is_help=True, help="Compare a model with controls on held-out data.")
export_app = typer.Typer(no_args_is_help=True, help="Write embeddings and networks for other tools.")
embed_app = typer.Typer(no_args_is_help=True, help="Embed new data.")
app.add_typer(evaluate_app, name="evaluate", rich_help_panel=EVALUATE)
app.add_typer(export_app, name="export", rich_help_panel=USE)
app.add_typer(embed_app, name="embed", rich_help_panel=USE)


@app.callback()
def _main(version: Annotated[bool, version_option("grn-cotrain")] = False) -> None:
    del version  # the option's callback prints it and ends the program


def progress(text: str) -> None:
    """Print a progress message for people at a terminal."""
    if console().is_terminal:
        say(f"  {text}", style="dim")


@contextmanager
def exit_code_of_signals() -> Iterator[None]:
    """End training that a signal stopped with one line and the signal's exit code, 130 or 143."""
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
