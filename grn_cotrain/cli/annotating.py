"""``grn-cotrain finetune``, ``annotate`` and ``extend``."""

from __future__ import annotations

from typing import Annotated

import typer

from grn_cotrain.cli.apps import TRAIN, USE, app, exit_code_of_signals
from grn_cotrain.cli.options import Cells, OptionalCells, OutCells, OutFolder, RawText, Run
from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.commands import command
from grn_cotrain.jobs.annotate import AnnotateOptions
from grn_cotrain.jobs.extend import ExtendOptions
from grn_cotrain.jobs.finetune import FinetuneConfig, LabelOptions
from grn_cotrain.present import number
from grn_cotrain.present.terminal import print_table

__all__ = ["annotate", "extend", "finetune"]


@command(app, "finetune", panel=TRAIN)
def finetune(
    run: Run, cells: Cells, out: OutFolder, options: LabelOptions, config: FinetuneConfig, raw_text: RawText = False
) -> None:
    """Fine-tune a model for cell-type annotation and compare it with plain classifiers on held-out cells."""
    from grn_cotrain.finetune.fit import EpochReport
    from grn_cotrain.finetune.run import finetune_run
    from grn_cotrain.hub import resolve_run

    def show_epoch(report: EpochReport) -> None:
        say(
            f"  epoch {report.epoch}: loss {number(report.train_loss)}, validation {number(report.validation_loss)},"
            f" accuracy {number(report.validation_accuracy)}"
        )

    with exit_code_of_signals():
        table = finetune_run(
            resolve_run(run, say=say), cells, out, options=options, config=config, say=say, on_epoch=show_epoch
        )
    for shown in table.tables():
        print_table(shown, console())
    say(f"table: {out / 'annotation.tsv'}, per_class.tsv, confusion.tsv, predictions.tsv, history.tsv")
    next_step("grn-cotrain", "annotate", out, "CELLS.h5ad", "--out", "OUT.h5ad")


@command(app, "annotate", panel=USE)
def annotate(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Folder that `grn-cotrain finetune` wrote, or hf://NAME/REPOSITORY.")
    ],
    cells: Cells,
    out: OutCells,
    options: AnnotateOptions,
) -> None:
    """Annotate cells of any file with a fine-tuned model. The file itself is never changed."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.cell_types import annotate_cells
    from grn_cotrain.hub import resolve_run

    with counted("cells", "cells") as progress:
        annotate_cells(resolve_run(run, say=say), cells, out, options=options, say=say, progress=progress)
    next_step("grn-cotrain", "embed", "cells", run, out, "--out", out.with_name(f"{out.stem}-embedded{out.suffix}"))


@command(app, "extend", panel=TRAIN)
def extend(run: Run, out: OutFolder, options: ExtendOptions, cells: OptionalCells = None) -> None:
    """Append new features or modalities to a model's vocabulary. Old rows keep their values and places."""
    from grn_cotrain.export.extend import extend_run
    from grn_cotrain.hub import resolve_run

    extend_run(resolve_run(run, say=say), cells, out, options=options, say=say)
    say(f"extended run: {out}")
    next_step("grn-cotrain", "finetune", out, cells or "CELLS.h5ad", "--label", "OBS", "--out", f"{out}-types")
