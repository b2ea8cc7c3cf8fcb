"""Edge list -> network of a prepared folder: ``grn-prep grn``."""

from __future__ import annotations

import logging
from pathlib import Path

from grn_cotrain.data.grn import GRN, OnTrouble
from grn_cotrain.data.io.edge_names import rename_edges
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.data.io.names import AliasTable, OrthologTable
from grn_cotrain.data.prep import Prep, write_grn
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.jobs.prepare import GrnOptions
from grn_cotrain.options import keywords

from .fetch import known_format, resolve_source

__all__ = ["build_network", "prepare_grn"]

logger = logging.getLogger(__name__)


@keywords(GrnOptions)
def prepare_grn(edges: str | Path, prep: str | Path, options: GrnOptions) -> GRN:
    """Align an edge list to a prepared folder's genes and write it there; an earlier network is replaced.

    Parameters
    ----------
    edges
        See :func:`~grn_cotrain.data.io.edges.load_edges`. It may be an address or a name that
        :func:`~data_prep.fetch.resolve_source` fetches; a known name brings its format along.
    prep
        Prepared folder.
    {options}

    Raises
    ------
    UserError
        A bad file, names of another species, no edge on the folder's genes; the folder stays as it was.
    """
    opened = Prep.open(prep)
    grn = build_network(
        edges,
        opened.vocab,
        format=options.format,
        aliases=None if options.aliases is None else AliasTable.read(resolve_source(options.aliases)),
        orthologs=None if options.orthologs is None else OrthologTable.read(resolve_source(options.orthologs)),
        orthologs_policy=options.orthologs_policy,
        on_duplicates=options.on_duplicates,
        on_self_loops=options.on_self_loops,
        on_unknown=options.on_unknown,
        on_reciprocal=options.on_reciprocal,
    )
    stale = opened.split_names() if opened.has_grn and opened.grn.content_hash != grn.content_hash else []
    write_grn(opened.folder, grn)
    if stale:
        grn.report.notes.append(f"splits of the earlier network must be made again: {', '.join(stale)}")
    return grn


def build_network(
    edges: str | Path,
    vocab: FeatureVocab,
    *,
    format: str = "auto",
    aliases: AliasTable | None = None,
    orthologs: OrthologTable | None = None,
    orthologs_policy: str = "one2one",
    **on_trouble: OnTrouble,
) -> GRN:
    """Read an edge list, give its genes the vocabulary's names, and align it; the report lists what changed."""
    format = (known_format(edges) or format) if format == "auto" else format
    what = f"edge list '{edges}'"
    parsed = load_edges(resolve_source(edges), format)
    parsed, renamed = rename_edges(
        parsed, vocab, aliases=aliases, orthologs=orthologs, policy=orthologs_policy, what=what
    )
    grn = GRN.from_edge_list(parsed, vocab, what=what, **on_trouble)
    grn.report.renamed = [*renamed, *grn.report.renamed]
    return grn
