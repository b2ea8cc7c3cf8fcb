"""``grn-cotrain generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import app
from grn_cotrain.cli.options import Aliases, Layer, MinMapped, Modality, Orthologs, Run, Seed, read_tables
from grn_cotrain.commandline import say
from grn_cotrain.errors import UserError

__all__ = ["generate"]


@app.command("generate")
def generate(
    run: Run,
    cells: Annotated[Path, typer.Option(metavar="CELLS", help="file of cells; it is never changed")],
    out: Annotated[Path, typer.Option(metavar="OUT.h5ad", help="file to write")],
    known: Annotated[
        str,
        typer.Option(metavar="SHARE|GENES|FILE", help="share of values shown, names with commas, or a file of names"),
    ] = "0.5",
    genes: Annotated[str, typer.Option(help="what is generated: expressed genes of the cell, or all")] = "expressed",
    prompt: Annotated[str, typer.Option(help="what is read: the known genes, or the cell's state from them")] = "genes",
    rounds: Annotated[int, typer.Option(min=1, help="rounds; the most confident values come first")] = 4,
    sample: Annotated[bool, typer.Option("--sample", help="draw values instead of predicting them")] = False,
    layer: Layer = None,
    modality: Modality = None,
    aliases: Aliases = None,
    orthologs: Orthologs = None,
    min_mapped: MinMapped = 0.5,
    seed: Seed = 0,
) -> None:
    """Generate values of genes from known genes, or cell states, in rounds; prints the gene mean's error beside."""
    from grn_cotrain.cli.progress import counted
    from grn_cotrain.export.generate import generate_file
    from grn_cotrain.hub import resolve_run

    with counted("generating", "cells") as progress:
        generate_file(
            resolve_run(run, say=say),
            cells,
            out,
            known=_known(known),
            genes=genes,
            prompt=prompt,
            rounds=rounds,
            sample=sample,
            seed=seed,
            min_mapped=min_mapped,
            layer=layer,
            modality=modality,
            say=say,
            progress=progress,
            **read_tables(aliases, orthologs),
        )


def _known(text: str) -> float | list[str]:
    """A share, names in a file (the first word of each line), or names with commas."""
    try:
        return float(text)
    except ValueError:
        pass
    path = Path(text)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--known '{text}': cannot be read ({error}); give a text file, one gene a line") from None
        return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    return [name.strip() for name in text.split(",") if name.strip()]
