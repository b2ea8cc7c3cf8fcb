"""``grn-cotrain finetune``, ``annotate`` and ``extend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grn_cotrain.cli.apps import app, exit_code_of_signals
from grn_cotrain.cli.options import (
    Aliases,
    Cells,
    Layer,
    MinMapped,
    Modality,
    Orthologs,
    RawText,
    Run,
    Seed,
    pair,
    read_tables,
)
from grn_cotrain.commandline import console, say
from grn_cotrain.present import number
from grn_cotrain.present.terminal import print_table

__all__ = ["annotate", "extend", "finetune"]


@app.command("finetune")
def finetune(
    run: Annotated[str, typer.Argument(metavar="RUN", help="folder of a finished run, or hf://NAME/REPOSITORY")],
    cells: Cells,
    label: Annotated[str, typer.Option(metavar="OBS", help="column of obs with the type of each cell")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write: a run that `annotate` and `embed` read")],
    head: Annotated[str, typer.Option(help="classification head: grn-cotrain list head")] = "cls_mlp",
    freeze: Annotated[str, typer.Option(help="none, embeddings, first_block or encoder")] = "first_block",
    test_by: Annotated[
        str | None, typer.Option(metavar="COLUMN=VALUE", help="judge on the cells of one batch or donor")
    ] = None,
    test: Annotated[float, typer.Option(help="share of each class to judge on, without --test-by")] = 0.2,
    validation: Annotated[float, typer.Option(help="share of each class of the rest that picks the epoch")] = 0.1,
    class_weights: Annotated[str, typer.Option(help="none, or balanced: classes weigh the same")] = "none",
    epochs: Annotated[int, typer.Option(help="most passes over the training cells")] = 50,
    patience: Annotated[int, typer.Option(help="epochs without a lower validation loss until it stops")] = 10,
    learning_rate: Annotated[float, typer.Option(help="peak rate of AdamW")] = 1e-3,
    cells_per_batch: Annotated[int, typer.Option(help="most cells a step")] = 32,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    seed: Seed = 0,
    bootstrap: Annotated[int, typer.Option(min=0, help="replicates of the intervals; 0 for none")] = 1000,
    layer: Layer = None,
    modality: Modality = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    min_mapped: MinMapped = 0.5,
    raw_text: RawText = False,
) -> None:
    """Fine-tune a model for cell-type annotation and judge it on held-out cells beside plain classifiers."""
    from grn_cotrain.config import ComponentSpec, parse
    from grn_cotrain.hub import resolve_run
    from grn_cotrain.train.finetune import EpochReport, FinetuneConfig
    from grn_cotrain.train.finetune_run import finetune_run

    options: dict[str, Any] = {
        "freeze": freeze,
        "class_weights": class_weights,
        "epochs": epochs,
        "patience": patience,
        "learning_rate": learning_rate,
        "cells_per_batch": cells_per_batch,
        "device": device,
        "seed": seed,
    }
    config = parse(FinetuneConfig, {**options, "head": ComponentSpec(head)})

    def told(report: EpochReport) -> None:
        say(
            f"  epoch {report.epoch}: loss {number(report.train_loss)}, validation {number(report.validation_loss)},"
            f" accuracy {number(report.validation_accuracy)}"
        )

    with exit_code_of_signals():
        table = finetune_run(
            resolve_run(run, say=say),
            cells,
            out,
            label=label,
            config=config,
            test=test,
            validation=validation,
            test_by=pair(test_by, "--test-by"),
            bootstrap=bootstrap,
            layer=layer,
            modality=modality,
            min_mapped=min_mapped,
            say=say,
            on_epoch=told,
            **read_tables(aliases, orthologs),
        )
    for shown in table.tables():
        print_table(shown, console())
    say(f"table: {out / 'annotation.tsv'}, per_class.tsv, confusion.tsv, predictions.tsv, history.tsv")
    say(f"annotate other cells: grn-cotrain annotate {out} CELLS --out OUT.h5ad")


@app.command("annotate")
def annotate(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="folder of `grn-cotrain finetune`, or hf://NAME/REPOSITORY")
    ],
    cells: Cells,
    out: Annotated[Path, typer.Option(metavar="OUT.h5ad", help="file to write: h5ad, zarr, or h5mu for an h5mu")],
    min_probability: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="cells whose best class has less are `unassigned`")
    ] = 0.0,
    key_added: Annotated[
        str | None, typer.Option(metavar="KEY", help="column of obs; default: predicted_ and the label's name")
    ] = None,
    layer: Layer = None,
    modality: Modality = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    min_mapped: MinMapped = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a column of that name in the copy")] = False,
) -> None:
    """Annotate cells of any file with a fine-tuned model; the file itself is never changed."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.cell_types import annotate_cells
    from grn_cotrain.hub import resolve_run

    with counted("cells", "cells") as progress:
        annotate_cells(
            resolve_run(run, say=say),
            cells,
            out,
            min_probability=min_probability,
            key_added=key_added,
            layer=layer,
            modality=modality,
            min_mapped=min_mapped,
            overwrite=overwrite,
            say=say,
            progress=progress,
            **read_tables(aliases, orthologs),
        )


@app.command("extend")
def extend(
    run: Run,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write: a run of its own")],
    features: Annotated[
        Path | None, typer.Option(metavar="FILE", help="features, one a line: name, and after tabs id and modality")
    ] = None,
    cells: Annotated[Path | None, typer.Option(metavar="CELLS", help="file of cells whose features are wanted")] = None,
    modality: Annotated[
        str | None, typer.Option(help="gene, peak or protein: of the list's features, or those of the cells to take")
    ] = None,
    layer: Layer = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    seed: Seed = 0,
) -> None:
    """Append new features or modalities to a model's vocabulary; no old row moves."""
    from grn_cotrain.export.extend import extend_run
    from grn_cotrain.hub import resolve_run

    extend_run(
        resolve_run(run, say=say),
        out,
        features=features,
        cells=cells,
        modality=modality,
        layer=layer,
        seed=seed,
        say=say,
        **read_tables(aliases, orthologs),
    )
    say(f"extended run: {out}")
