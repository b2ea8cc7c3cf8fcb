"""The typer applications that the commands of this package hang themselves on, and how they print."""

from __future__ import annotations

import typer

from grn_cotrain.commandline import console, say

__all__ = ["app", "embed_app", "evaluate_app", "export_app", "number", "progress"]

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


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def progress(text: str) -> None:
    """What is going on, for people at a terminal."""
    if console().is_terminal:
        say(f"  {text}", style="dim")
