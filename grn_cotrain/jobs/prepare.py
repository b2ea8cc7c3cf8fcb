"""Options of preparing a folder: cells, network, splits. The ``prep:`` block of a recipe has the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grn_cotrain.errors import UserError
from grn_cotrain.options import Options, option, seed_option

__all__ = ["CountsOptions", "FeatureOptions", "GrnOptions", "SplitOptions"]

_FORMATS = (
    "auto, tsv[:source=COLUMN,target=COLUMN,weight=COLUMN,sign=COLUMN,header=no], beeline, trrust, dorothea[:AB], "
    "collectri[:expand,signed], decoupler, matrix[:rows=tf], dictionary:keys=target, gmt"
)
_ALIASES = "Table of old symbols: two columns alias and symbol, HGNC's complete set, NCBI's gene_info."
_CURRENT = (
    "Genes of the current annotation: a table with a column of symbols, a list, or hgnc of fetch; "
    "genes of the data that it lacks are marked as outdated. Default: those that --aliases knows by another symbol."
)
_ORTHOLOGS = "Table of human and mouse genes: two columns, JAX's homologs, an export of BioMart."
_POLICY = "Treatment of other orthologs: one2one leaves them out, sum adds up genes that share one."

OnTrouble = Literal["ignore", "warn", "error"]


@dataclass(frozen=True, kw_only=True)
class CountsOptions(Options):
    """How cells are read and selected."""

    layer: str | None = option(None, "Layer that holds the counts; default: X; raw for adata.raw.")
    modality: str | None = option(None, "Modality to read alone, such as rna, prot or atac; default: all.")
    names: str | None = option(
        None, "Column of the features that holds their names, if the index does not.", metavar="COLUMN"
    )
    annotations: str | Sequence[str] | None = option(
        None, "Columns that are not genes, separated by commas; they become columns of obs.", metavar="NAMES"
    )
    join: Literal["outer", "inner"] = option(
        "outer", "Features of several files: outer (those of any file) or inner (those of every one)."
    )
    source_key: str = option("source_file", "Column of obs that names the file of each cell.", metavar="OBS")
    aliases: str | Path | None = option(None, _ALIASES, metavar="FILE")
    current_symbols: str | Path | None = option(None, _CURRENT, metavar="FILE")
    orthologs: str | Path | None = option(None, _ORTHOLOGS, metavar="FILE")
    orthologs_policy: Literal["one2one", "sum"] = option("one2one", _POLICY)
    to_species: Literal["human", "mouse"] | None = option(
        None, "Species to map to by orthologs: human or mouse; default: the other one."
    )
    genes: str = option("all", "Genes to keep: all, or a sum such as hvg:2000+tf+targets.")
    grn: str | Path | None = option(None, "Edge list to add at once.", metavar="EDGES")
    grn_format: str = option("auto", f"Format of the edge list: {_FORMATS}.")
    tf_list: str | Path | None = option(None, "File of TF symbols, one per line, or a table.", metavar="FILE")
    species: Literal["auto", "human", "mouse"] = option(
        "auto", "Species of the files: auto (inferred from the names), human or mouse."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orthologs is None and self.to_species is not None:
            raise UserError(f"--to-species '{self.to_species}': needs a table of orthologs; give --orthologs FILE")


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(Options):
    """How features of genes are read from other data sets."""

    rank: int = option(50, "Number of expression components of each data set.", low=1)
    motifs: str | Path | None = option(
        None, "Position-frequency matrices of TFs: JASPAR's or MEME's format, or a zip of such files.", metavar="FILE"
    )


@dataclass(frozen=True, kw_only=True)
class GrnOptions(Options):
    """How a network is read."""

    format: str = option("auto", f"Format of the edge list: {_FORMATS}.")
    aliases: str | Path | None = option(None, _ALIASES, metavar="FILE")
    orthologs: str | Path | None = option(None, _ORTHOLOGS, metavar="FILE")
    orthologs_policy: Literal["one2one", "sum"] = option(
        "one2one", "Treatment of other orthologs: one2one, or sum (several genes may share one)."
    )
    on_duplicates: OnTrouble = option("ignore", "Treatment of repeated edges: ignore, warn or error.")
    on_self_loops: OnTrouble = option("ignore", "Treatment of self-loops: ignore, warn or error.")
    on_unknown: OnTrouble = option("ignore", "Treatment of edges of unknown genes: ignore, warn or error.")
    on_reciprocal: OnTrouble = option("ignore", "Treatment of edges that run both ways: ignore, warn or error.")


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Options):
    """How edges are split."""

    seed: int = seed_option()
    track: Literal["hidden", "visible"] = option(
        "visible", "Treatment of the other edges of held-out genes: visible leaves them in the graph, hidden does not."
    )
    folds: int = option(5, "Number of folds of the kinds that are cut into folds.", low=1)
    every_fold: bool = option(
        False, "Make one split for each fold of unseen-target, so that every gene is held out once."
    )
    outdated: Literal["leave-out", "keep"] = option(
        "leave-out", "Treatment of genes with an outdated symbol: leave-out takes them from the candidates, or keep."
    )
    train: str | Path | None = option(None, "File of labelled training pairs (published).", metavar="FILE")
    validation: str | Path | None = option(None, "File of labelled validation pairs (published).", metavar="FILE")
    test: str | Path | None = option(None, "File of labelled test pairs (published).", metavar="FILE")
    index: str | None = option(None, "FILE:network/cell/set of integer ids (published).")
    source_prep: str | Path | None = option(None, "Prepared folder whose network trains (transfer).", metavar="PREP2")
