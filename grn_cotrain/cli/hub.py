"""``grn-cotrain hub``: push a run to a model hub, or fetch one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import SHARE, app
from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.commands import command

__all__ = ["fetch", "hub_app", "push"]

hub_app = typer.Typer(no_args_is_help=True, help="Push runs to a model hub and fetch them.")
app.add_typer(hub_app, name="hub", rich_help_panel=SHARE)

RepoId = Annotated[str, typer.Argument(metavar="NAME/REPOSITORY", help="Repository on the hub.")]


@command(hub_app, "push")
def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    repo_id: RepoId,
    dry_run: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the files to FOLDER instead of pushing them.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public; default: private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; default: main.")] = None,
    license: Annotated[str | None, typer.Option(metavar="ID", help="Licence for the card, such as mit.")] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Further file of the run, such as report.html; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Push without asking for confirmation.")] = False,
) -> None:
    """Push a run's model, recipe, records and a generated card.

    Data, optimiser states and paths of this machine are never pushed."""
    from grn_cotrain.hub import push_run, stage_run
    from grn_cotrain.hub.client import check_repo_id

    if dry_run is not None:
        check_repo_id(repo_id)
        staged = stage_run(run, dry_run, repo_id=repo_id, licence=license, include=include or ())
        for line in staged.lines():
            say(line)
        say(f"nothing was pushed; the files are in {dry_run}")
        next_step("grn-cotrain", "hub", "push", run, repo_id)
        return
    ask = console().is_terminal and not yes
    push_run(
        run,
        repo_id,
        private=not public,
        revision=revision,
        licence=license,
        include=include or (),
        confirm=typer.confirm if ask else None,
        say=say,
    )
    next_step("grn-cotrain", "hub", "fetch", repo_id, "--out", "RUN")


@command(hub_app, "fetch")
def fetch(
    repo_id: RepoId,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; default: main.")] = None,
) -> None:
    """Fetch a published run and verify every checksum. Every command that takes a RUN accepts the result."""
    from grn_cotrain.hub import fetch_run

    fetch_run(repo_id, out, revision=revision, say=say)
    next_step("grn-cotrain", "embed", "cells", out, "CELLS.h5ad", "--out", "OUT.h5ad", "--zero-shot")
