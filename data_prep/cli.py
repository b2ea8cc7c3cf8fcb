"""``grn-prep``: raw files -> prepared folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grn_cotrain.commandline import run_app, say
from grn_cotrain.data.io import CELL_FORMATS

from .cli_fetch import fetch

if TYPE_CHECKING:
    from grn_cotrain.data.prep import Prep

__all__ = ["app", "main"]

app = typer.Typer(
    name="grn-prep",
    help="Prepare cells, networks and edge splits for grn-cotrain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_FORMATS = (
    "auto, tsv[:source=COLUMN,target=COLUMN,weight=COLUMN,sign=COLUMN,header=no], beeline, trrust, dorothea[:AB], "
    "collectri[:expand,signed], decoupler, matrix[:rows=tf], dictionary:keys=target, gmt"
)
_ALIASES = "table of old symbols: two columns alias and symbol, HGNC's complete set, NCBI's gene_info"
_ORTHOLOGS = "table of human and mouse genes: two columns, JAX's homologs, an export of BioMart"
_POLICY = "one2one, or sum (add up genes that share an ortholog)"


@app.command()
def counts(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN", help=f"{CELL_FORMATS}; an address or a name of fetch; several are joined"),
    ],
    out: Annotated[Path, typer.Option(help="prepared folder to write; an earlier one is replaced")],
    layer: Annotated[str | None, typer.Option(help="layer that holds the counts; raw for adata.raw")] = None,
    modality: Annotated[str | None, typer.Option(help="take rna, prot or atac alone; default: all")] = None,
    names: Annotated[
        str | None,
        typer.Option(help="column that holds the genes' names, where the index does not", metavar="COLUMN"),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(help="columns that are not genes, separated by commas; kept as annotation", metavar="NAMES"),
    ] = None,
    join: Annotated[
        str, typer.Option(help="several files: outer (genes of any) or inner (genes of every one)")
    ] = "outer",
    source_key: Annotated[
        str, typer.Option(help="several files: column of obs that names the file", metavar="OBS")
    ] = "source_file",
    aliases: Annotated[str | None, typer.Option(help=_ALIASES, metavar="FILE")] = None,
    orthologs: Annotated[str | None, typer.Option(help=_ORTHOLOGS, metavar="FILE")] = None,
    orthologs_policy: Annotated[str, typer.Option(help=_POLICY)] = "one2one",
    to: Annotated[str | None, typer.Option(help="orthologs: human or mouse; default: the other species")] = None,
    genes: Annotated[str, typer.Option(help="all, or a sum such as hvg:2000+tf+targets")] = "all",
    grn: Annotated[str | None, typer.Option(help="edge list to add at once", metavar="EDGES")] = None,
    grn_format: Annotated[str, typer.Option(help=_FORMATS)] = "auto",
    tf_list: Annotated[str | None, typer.Option(help="TF symbols, one a line, or a table", metavar="FILE")] = None,
    species: Annotated[str, typer.Option(help="species of the files: auto, human or mouse")] = "auto",
) -> None:
    """Read, validate and select cells of one or several files; write a prepared folder."""
    from .counts import prepare_counts

    prep = prepare_counts(
        sources,
        out,
        layer=layer,
        modality=modality,
        names=names,
        annotations=annotations,
        join=join,
        source_key=source_key,
        aliases=aliases,
        orthologs=orthologs,
        orthologs_policy=orthologs_policy,
        to_species=to,
        genes=genes,
        grn=grn,
        grn_format=grn_format,
        tf_list=tf_list,
        species=species,
    )
    for note in prep.meta["notes"]:
        say(note)
    say(f"cells: {prep.meta['num_cells']:,} x {_features(prep)}, {prep.meta['num_values']:,} values")
    if prep.has_grn:
        for line in prep.grn.report.lines():
            say(f"network: {line}")
    say(f"prepared {out} (hash {prep.content_hash})")


def _features(prep: Prep) -> str:
    """``9,015 genes`` or ``8,595 genes + 36,954 peaks``."""
    from grn_cotrain.data.vocab import MODALITIES

    counted = [(name, prep.vocab.modality.count(name)) for name in MODALITIES]
    return " + ".join(f"{number:,} {name}s" for name, number in counted if number)


@app.command()
def grn(
    edges: Annotated[str, typer.Argument(metavar="EDGES", help="edge list; FILE:network/cell/set for BEELINE")],
    prep: Annotated[Path, typer.Option(help="prepared folder")],
    format: Annotated[str, typer.Option(help=_FORMATS)] = "auto",
    aliases: Annotated[str | None, typer.Option(help=_ALIASES, metavar="FILE")] = None,
    orthologs: Annotated[str | None, typer.Option(help=_ORTHOLOGS, metavar="FILE")] = None,
    orthologs_policy: Annotated[str, typer.Option(help="one2one, or sum (several genes may share one)")] = "one2one",
) -> None:
    """Add a network to a prepared folder."""
    from .grn import prepare_grn

    network = prepare_grn(
        edges, prep, format=format, aliases=aliases, orthologs=orthologs, orthologs_policy=orthologs_policy
    )
    for line in network.report.lines():
        say(f"network: {line}")
    say(f"added to {prep} (hash {network.content_hash})")


@app.command()
def splits(
    prep: Annotated[Path, typer.Argument(metavar="PREP", help="prepared folder")],
    kind: Annotated[str, typer.Option(help="random, unseen-tf, unseen-target, unseen-both, published, transfer")],
    seed: Annotated[int, typer.Option(help="random seed", min=0)] = 0,
    track: Annotated[str, typer.Option(help="hidden or visible: the other edges of held-out genes")] = "visible",
    source_prep: Annotated[Path | None, typer.Option("--from", metavar="PREP2", help="transfer: trains there")] = None,
    train: Annotated[Path | None, typer.Option(help="published: labelled pairs")] = None,
    validation: Annotated[Path | None, typer.Option(help="published: labelled pairs")] = None,
    test: Annotated[Path | None, typer.Option(help="published: labelled pairs")] = None,
    index: Annotated[str | None, typer.Option(help="published: FILE:network/cell/set of integer ids")] = None,
) -> None:
    """Split a network's edges, with guards."""
    from grn_cotrain.data.prep import Prep
    from grn_cotrain.data.split_checks import density_note

    from .splits import prepare_splits

    names = prepare_splits(
        prep,
        kind,  # type: ignore[arg-type]
        seed=seed,
        track=track,  # type: ignore[arg-type]
        train=train,
        validation=validation,
        test=test,
        index=index,
        source_prep=source_prep,
    )
    opened = Prep.open(prep)
    for name in names:
        split = opened.split(name)
        say(split.summary())
        say(density_note(split))


@app.command()
def convert(
    prep: Annotated[Path, typer.Argument(metavar="PREP", help="prepared folder of format 1")],
    out: Annotated[Path, typer.Option(help="prepared folder to write; an earlier one is replaced")],
) -> None:
    """Write a prepared folder of format 1 again in format 2."""
    from data_prep.convert import convert_prep

    converted = convert_prep(prep, out)
    for note in converted.meta["notes"]:
        say(note)
    say(f"converted {prep} to {out} (hash {converted.content_hash})")


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="prepared folder to write; an earlier one is replaced")],
    seed: Annotated[int, typer.Option(help="random seed", min=0)] = 0,
    genes: Annotated[int, typer.Option(help="genes, TFs included")] = 500,
    tfs: Annotated[int, typer.Option(help="TFs")] = 60,
    cells: Annotated[int, typer.Option(help="cells")] = 2500,
    signal: Annotated[bool, typer.Option(help="whether regulation shows in expression")] = True,
) -> None:
    """Write a small two-omics world whose network is known."""
    from grn_cotrain.data.prep import Prep

    from .simulate import simulate as simulate_folder

    simulate_folder(out, seed=seed, num_genes=genes, num_tfs=tfs, num_cells=cells, signal=signal)
    prep = Prep.open(out)
    say(f"simulated {prep.meta['num_cells']:,} cells x {prep.meta['num_genes']:,} genes, {prep.grn.num_edges:,} edges")
    say(f"prepared {out} (hash {prep.content_hash})")


app.command()(fetch)


def main() -> None:
    """Entry point of ``grn-prep``."""
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
