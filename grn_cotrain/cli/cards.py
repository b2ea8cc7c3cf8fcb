"""``grn-cotrain card`` and ``diff``: the content of a run's gene embedding, and the differences of two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import EVALUATE, app, progress
from grn_cotrain.cli.options import PrepPlace, Seed, tell_unfinished
from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.commands import command
from grn_cotrain.errors import UserError
from grn_cotrain.files import refuse_file

__all__ = ["card", "diff"]


def _named(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@command(app, "card", panel=EVALUATE)
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    others: Annotated[
        str | None, typer.Option(metavar="RUN2,RUN3", help="Runs of other seeds, separated by commas, for stability.")
    ] = None,
    kind: Annotated[str, typer.Option(help="Kind of embedding: static, graph or contextual.")] = "graph",
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
    prep: PrepPlace = None,
    seed: Seed = 0,
) -> None:
    """Write the card of the gene embedding: neighbours, degree, probes with controls, and stability.

    The card is written as JSON, Markdown and HTML.
    """
    from grn_cotrain.card import build_card
    from grn_cotrain.present.terminal import print_sections
    from grn_cotrain.report.card_page import write_card_page
    from grn_cotrain.run_folder import RunFolder

    target = out or run
    refuse_file(target)
    tell_unfinished(run)

    def tell(text: str) -> None:  # steps are shown at a terminal only
        (progress if text.endswith("...") else say)(text)

    made = build_card(
        run,
        kind=kind,
        others=_named(others),
        genes=_named(genes),
        pathways=pathways,
        chromosomes=annotation,
        prep=prep,
        seed=seed,
        say=tell,
    )
    paths = list(made.write(target))
    paths.append(write_card_page(made, target / "card.html"))
    RunFolder(run).register(path.absolute() for path in paths)
    print_sections(made.sections()[:1], console())
    say(f"card: {', '.join(str(path) for path in paths)}")
    next_step("grn-cotrain", "report", run)


@command(app, "diff", panel=EVALUATE)
def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Run folder to compare with RUN_A.")],
    kind: Annotated[str, typer.Option(help="Embedding to compare: static, graph or contextual.")] = "graph",
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
