"""``grn-cotrain hub``: push a run to a model hub, fetch one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import app
from grn_cotrain.commandline import console, say

__all__ = ["fetch", "hub_app", "push"]

hub_app = typer.Typer(no_args_is_help=True, help="Runs on a model hub.")
app.add_typer(hub_app, name="hub")

RepoId = Annotated[str, typer.Argument(metavar="NAME/REPOSITORY", help="repository on the hub")]


@hub_app.command("push")
def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="finished run folder")],
    repo_id: RepoId,
    dry_run: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="write what would be pushed to FOLDER, and push nothing")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="make a new repository public; default: private")] = False,
    revision: Annotated[str | None, typer.Option(help="branch; default: main")] = None,
    license: Annotated[str | None, typer.Option(metavar="ID", help="licence for the card: mit, cc-by-4.0 ...")] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="one more file of the run: report.html ...; repeatable")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Push model, recipe, records and a generated card; never data, optimiser states or this machine's paths."""
    from grn_cotrain.hub import push_run, stage_run
    from grn_cotrain.hub.client import check_repo_id

    if dry_run is not None:
        check_repo_id(repo_id)
        staged = stage_run(run, dry_run, repo_id=repo_id, licence=license, include=include or ())
        for line in staged.lines():
            say(line)
        say(f"nothing was pushed; what would be lies in {dry_run}")
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


@hub_app.command("fetch")
def fetch(
    repo_id: RepoId,
    out: Annotated[Path, typer.Option(metavar="RUN", help="run folder to write")],
    revision: Annotated[str | None, typer.Option(help="branch, tag or commit; default: main")] = None,
) -> None:
    """Fetch a published run and verify every checksum; give RUN wherever a run is asked for."""
    from grn_cotrain.hub import fetch_run

    fetch_run(repo_id, out, revision=revision, say=say)
    say(f"next: grn-cotrain embed cells {out} CELLS.h5ad --out OUT.h5ad --zero-shot")
