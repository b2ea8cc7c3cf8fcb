"""``grn-cotrain card`` and ``diff``: the content of a run's embeddings, and the differences of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import EVALUATE, app, progress
from grn_cotrain.cli.options import tell_unfinished
from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.commands import command, flag_of
from grn_cotrain.errors import UserError
from grn_cotrain.files import refuse_file
from grn_cotrain.jobs.cell_card import CellCardOptions

__all__ = ["card", "diff"]


def _named(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@command(app, "card", panel=EVALUATE)
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    others: Annotated[
        str | None, typer.Option(metavar="RUN2,RUN3", help="Runs of other seeds, separated by commas, for stability.")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="Kind of gene embedding: static, graph, contextual or regulation; cells: the cell embedding."
        ),
    ] = "graph",
    cells: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Cells whose embedding is described; default with --kind cells: those of the run."
        ),
    ] = None,
    genes: Annotated[
        str | None,
        typer.Option(metavar="STAT1,IRF9", help="Genes whose neighbours are listed; default: hubs and markers."),
    ] = None,
    pathways: Annotated[Path | None, typer.Option(metavar="FILE.gmt", help="Gene sets to probe.")] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tsv", help="Table of gene and chrom, for the negative control."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the card; default: RUN.")] = None,
    *,
    options: CellCardOptions,
) -> None:
    """Write the card of an embedding, with controls.

    Genes: neighbours, degree, probes and stability. Cells: labels, and what depth, batch and detected genes explain.
    The card is written as JSON, Markdown and HTML.
    """
    from grn_cotrain.card import Card, build_card, build_cell_card
    from grn_cotrain.present.terminal import print_sections
    from grn_cotrain.report.card_page import write_card_page
    from grn_cotrain.report.cell_maps import cell_maps
    from grn_cotrain.run_folder import RunFolder

    of_cells = kind == "cells" or cells is not None
    _refuse_others(of_cells, kind, {"--others": others, "--genes": genes, "--pathways": pathways}, options)
    target = out or run
    refuse_file(target)
    tell_unfinished(run)

    def tell(text: str) -> None:  # steps are shown at a terminal only
        (progress if text.endswith("...") else say)(text)

    made: Card
    if of_cells:
        made = build_cell_card(run, cells, options, say=tell)
    else:
        made = build_card(
            run,
            kind=kind,
            others=_named(others),
            genes=_named(genes),
            pathways=pathways,
            chromosomes=annotation,
            prep=options.prep,
            seed=options.seed,
            say=tell,
        )
    paths = list(made.write(target))
    figures = cell_maps(made) if of_cells else ()
    paths.append(write_card_page(made, target / f"{made.stem}.html", figures=figures))
    RunFolder(run).register(path.absolute() for path in paths)
    print_sections(made.sections()[:1], console())
    say(f"card: {', '.join(str(path) for path in paths)}")
    next_step("grn-cotrain", "report", run)


def _refuse_others(of_cells: bool, kind: str, of_genes: Mapping[str, object], options: CellCardOptions) -> None:
    """Refuse options of the other card: they would be left out silently."""
    if of_cells:
        wrong = [name for name, value in of_genes.items() if value is not None]
        wrong += ["--kind"] if kind not in ("cells", "graph") else []
        if wrong:
            raise UserError(
                f"{wrong[0]}: belongs to the card of the gene embedding; leave it out, or leave out --cells"
            )
        return
    defaults = CellCardOptions()
    shared = ("prep", "seed")
    given = [one.name for one in fields(options) if getattr(options, one.name) != getattr(defaults, one.name)]
    wrong = [flag_of(name) for name in given if name not in shared]
    if wrong:
        raise UserError(f"{wrong[0]}: belongs to the card of the cell embedding; add --kind cells, or leave it out")


@command(app, "diff", panel=EVALUATE)
def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Run folder to compare with RUN_A.")],
    kind: Annotated[str, typer.Option(help="Embedding to compare: static, graph, contextual or regulation.")] = "graph",
    edges: Annotated[bool, typer.Option(help="Rank all pairs of both runs and show those that moved most.")] = True,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON file to write the difference to.")] = None,
) -> None:
    """Compare two runs: recipe, inputs, training, link and cell metrics, embeddings, edges."""
    from grn_cotrain.card import diff_runs

    if json is not None and json.is_dir():
        raise UserError(f"--json '{json}': is a folder; give a file")
    difference = diff_runs(run_a, run_b, kind=kind, edges=edges, say=lambda text: progress(text))
    if json is not None:
        difference.write(json)
    difference.render(console())
    next_step("grn-cotrain", "report", run_a, run_b)
