"""``grn-prep``: raw files -> prepared folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from grn_cotrain.commandline import next_step, run_app, say, version_option
from grn_cotrain.commands import command
from grn_cotrain.data.io import CELL_FORMATS
from grn_cotrain.jobs.prepare import CountsOptions, FeatureOptions, GrnOptions, SplitOptions

from .cli_fetch import fetch

__all__ = ["app", "main"]

app = typer.Typer(
    name="grn-prep",
    help="Prepare cells, networks and edge splits for grn-cotrain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _main(version: Annotated[bool, version_option("grn-prep")] = False) -> None:
    del version  # the option's callback prints it and ends the program


@command(app, "counts")
def counts(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN", help=f"{CELL_FORMATS}; an address, or a name of fetch. Several are joined."),
    ],
    out: Annotated[Path, typer.Option(help="Prepared folder to write; an earlier one is replaced.")],
    options: CountsOptions,
) -> None:
    """Read, validate and select cells of one or several files; write a prepared folder."""
    from .counts import prepare_counts

    prep = prepare_counts(sources, out, options=options)
    for note in prep.meta["notes"]:
        say(note)
    say(f"cells: {prep.meta['num_cells']:,} x {prep.vocab.counted}, {prep.meta['num_values']:,} values")
    if prep.has_grn:
        for line in prep.grn.report.lines():
            say(f"network: {line}")
    say(f"prepared {out} (hash {prep.content_hash})")
    if prep.has_grn:
        next_step("grn-prep", "splits", out, "--kind", "unseen-target")
    else:
        next_step("grn-prep", "grn", "EDGES", "--prep", out)


@command(app, "grn")
def grn(
    edges: Annotated[str, typer.Argument(metavar="EDGES", help="Edge list; FILE:network/cell/set for BEELINE.")],
    prep: Annotated[Path, typer.Option(help="Prepared folder.")],
    options: GrnOptions,
) -> None:
    """Add a network to a prepared folder."""
    from .grn import prepare_grn

    network = prepare_grn(edges, prep, options=options)
    for line in network.report.lines():
        say(f"network: {line}")
    say(f"added to {prep} (hash {network.content_hash})")
    next_step("grn-prep", "splits", prep, "--kind", "unseen-target")


@command(app, "features")
def features(
    prep: Annotated[Path, typer.Argument(metavar="PREP", help="Prepared folder that takes the features.")],
    options: FeatureOptions,
    sources: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="PREP2", help="Prepared folder of another data set; repeat it."),
    ] = None,
) -> None:
    """Add features of genes from other prepared folders, and motifs of TFs."""
    from .features import prepare_features

    for line in prepare_features(prep, sources or [], options=options):
        say(line)
    say(f"features added to {prep}; controls, evidence and inductive features read them")
    next_step("grn-prep", "splits", prep, "--kind", "unseen-target")


@command(app, "splits")
def splits(
    prep: Annotated[Path, typer.Argument(metavar="PREP", help="Prepared folder.")],
    kind: Annotated[
        str, typer.Option(help="Kind: random, unseen-tf, unseen-target, unseen-both, published or transfer.")
    ],
    options: SplitOptions,
) -> None:
    """Split the edges of a network into training, validation and test."""
    from grn_cotrain.data.prep import Prep
    from grn_cotrain.data.split_checks import density_note

    from .splits import prepare_splits

    names = prepare_splits(prep, kind, options=options)
    opened = Prep.open(prep)
    for name in names:
        split = opened.split(name)
        say(split.summary())
        say(density_note(split))
    next_step("grn-cotrain", "evaluate", "links", prep, "--split", names[0])


@command(app, "convert")
def convert(
    prep: Annotated[Path, typer.Argument(metavar="PREP", help="Prepared folder of format 1.")],
    out: Annotated[Path, typer.Option(help="Prepared folder to write; an earlier one is replaced.")],
) -> None:
    """Convert a prepared folder of format 1 to format 2."""
    from .convert import convert_prep

    converted = convert_prep(prep, out)
    for note in converted.meta["notes"]:
        say(note)
    say(f"converted {prep} to {out} (hash {converted.content_hash})")
    next_step("grn-prep", "splits", out, "--kind", "unseen-target")


@command(app, "simulate")
def simulate(
    out: Annotated[Path, typer.Option(help="Prepared folder to write; an earlier one is replaced.")],
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    genes: Annotated[int, typer.Option(help="Number of genes, TFs included.")] = 500,
    tfs: Annotated[int, typer.Option(help="Number of TFs.")] = 60,
    cells: Annotated[int, typer.Option(help="Number of cells.")] = 2500,
    signal: Annotated[bool, typer.Option(help="Let regulation affect expression.")] = True,
) -> None:
    """Simulate a small two-omics data set whose network is known."""
    from grn_cotrain.data.prep import Prep

    from .simulate import simulate as simulate_folder

    simulate_folder(out, seed=seed, num_genes=genes, num_tfs=tfs, num_cells=cells, signal=signal)
    prep = Prep.open(out)
    say(f"simulated {prep.meta['num_cells']:,} cells x {prep.meta['num_genes']:,} genes, {prep.grn.num_edges:,} edges")
    say(f"prepared {out} (hash {prep.content_hash})")
    next_step("grn-prep", "splits", out, "--kind", "unseen-target")


command(app, "fetch")(fetch)


def main() -> None:
    """Entry point of ``grn-prep``."""
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
