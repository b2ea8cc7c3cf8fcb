"""``grn-cotrain check`` and ``train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import PREPARE, TRAIN, app, exit_code_of_signals
from grn_cotrain.commandline import next_step, say
from grn_cotrain.commands import command

__all__ = ["check", "train"]

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Recipe of the run.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change one key of the recipe; repeatable.")
]


@command(app, "check", panel=PREPARE)
def check(
    recipe: Recipe,
    set_: Overrides = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Figure to write (.svg, .pdf, .png): gains in simulated worlds, with these cells marked."),
    ] = None,
) -> None:
    """Load a recipe and its data, run one step, and report the time and memory that training will take."""
    from grn_cotrain.recipe import load_recipe

    resolved = load_recipe(recipe, set_ or [])  # a bad recipe is reported before torch is imported
    from grn_cotrain.train.check import check_recipe

    if figure is not None:
        from grn_cotrain.pl.power import check_figure

        check_figure(figure)
    report = check_recipe(resolved)
    say(f"data      {report.num_cells:,} cells x {report.features}; {report.num_train_edges:,} training edges")
    say(f"split     {report.split_summary}")
    say(
        f"tokens    {report.tokens_per_epoch:,} an epoch ({report.tokens_per_cell:,} a cell, median); an epoch is"
        f" {report.steps_per_epoch:.1f} steps"
    )
    say(f"model     {report.num_parameters:,} parameters")
    say(f"memory    about {report.memory_mb:,.0f} MiB at the peak")
    say(f"time      {report.minutes:.1f} minutes expected ({report.seconds_per_step:.2f} s a step)")
    for note in report.notes:
        say(f"note      {note}")
    if figure is not None:
        from grn_cotrain.pl.power import power_panels

        power_panels(report.cells_and_depth, figure)
        say(f"figure    {figure}")
    say(report.audit.summary())
    for warning in report.warnings:
        say(f"warning: {warning}")
    overrides = [word for one in set_ or [] for word in ("--set", one)]
    next_step("grn-cotrain", "train", recipe, *overrides, "--out", Path("runs") / resolved.name)


@command(app, "train", panel=TRAIN)
def train(
    recipe: Recipe,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    set_: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint of RUN.")] = False,
) -> None:
    """Train the model of a recipe.

    Ctrl-C and SIGTERM save a checkpoint after the current step; --resume continues from it."""
    from grn_cotrain.recipe import load_recipe
    from grn_cotrain.train.launchers import is_first, one_voice

    with one_voice(os.environ):
        resolved = load_recipe(recipe, set_ or [])
    from grn_cotrain.cli.progress import TerminalReporter
    from grn_cotrain.train.kept import kept_side, kept_step
    from grn_cotrain.train.run import train as run_training

    with exit_code_of_signals():
        run = run_training(resolved, out, resume=resume, reporter=TerminalReporter())
    if not is_first(os.environ):
        return
    record = run.record()
    say(f"{record['steps']} steps in {record['seconds']:.0f} s; peak {record['peak_memory_mb']:.0f} MiB")
    say(f"model kept: {kept_step(run)}")
    say(f"model: {run.model}")
    second = kept_side(run)
    if second is not None:
        side, step = second
        say(f"model kept for {side}: {step}")
        say(f"model for {side}: {run.side_model(side)}")
    next_step("grn-cotrain", "evaluate", "links", run.folder)
