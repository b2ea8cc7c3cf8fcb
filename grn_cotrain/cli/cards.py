"""``grn-cotrain card`` and ``diff``: what a run's gene embedding holds, and in what two runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.cli.apps import EVALUATE, app, progress
from grn_cotrain.cli.options import PrepPlace, Seed, tell_unfinished
from grn_cotrain.commandline import console, next_step, say
from grn_cotrain.commands import command
from grn_cotrain.errors import UserError

__all__ = ["card", "diff"]


def _named(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@command(app, "card", panel=EVALUATE)
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    others: Annotated[
        str | None, typer.Option(metavar="RUN2,RUN3", help="runs of other seeds, for stability; with commas")
    ] = None,
    kind: Annotated[str, typer.Option(help="static, graph or contextual")] = "graph",
    genes: Annotated[
        str | None,
        typer.Option(metavar="STAT1,IRF9", help="genes whose neighbours are listed; default: hubs and markers"),
    ] = None,
    pathways: Annotated[Path | None, typer.Option(metavar="FILE.gmt", help="gene sets to probe")] = None,
    annotation: Annotated[
        Path | None, typer.Option(metavar="FILE.tsv", help="columns gene, chrom: the negative control")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="folder for the card; default: RUN")] = None,
    prep: PrepPlace = None,
    seed: Seed = 0,
) -> None:
    """Write the card of the gene embedding: neighbours, degree, probes beside controls, stability (json, md, html)."""
    from grn_cotrain.card import build_card
    from grn_cotrain.present.terminal import print_sections
    from grn_cotrain.report.card_page import write_card_page
    from grn_cotrain.run_folder import RunFolder

    target = out or run
    if target.exists() and not target.is_dir():
        raise UserError(f"--out '{target}': is a file; give a folder")
    tell_unfinished(run)

    def tell(text: str) -> None:  # steps are for people at a terminal; everything else is for everyone
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
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="run folder")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="run folder to compare with it")],
    kind: Annotated[str, typer.Option(help="embedding to compare: static, graph or contextual")] = "graph",
    edges: Annotated[bool, typer.Option(help="rank all pairs of both and show what moved most")] = True,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="write the difference as JSON too")] = None,
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
