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

from .fetch import known_format, resolve_source

__all__ = ["build_network", "prepare_grn"]

logger = logging.getLogger(__name__)


def prepare_grn(
    edges: str | Path,
    prep: str | Path,
    *,
    format: str = "auto",
    aliases: str | Path | None = None,
    orthologs: str | Path | None = None,
    orthologs_policy: str = "one2one",
    on_duplicates: OnTrouble = "ignore",
    on_self_loops: OnTrouble = "ignore",
    on_unknown: OnTrouble = "ignore",
    on_reciprocal: OnTrouble = "ignore",
) -> GRN:
    """Align an edge list to a prepared folder's genes and write it there; an earlier network is replaced.

    Parameters
    ----------
    edges, format
        See :func:`~grn_cotrain.data.io.edges.load_edges`. ``edges`` may be an address or a name that
        :func:`~data_prep.fetch.resolve_source` fetches; a known name brings its format along.
    prep
        Prepared folder.
    aliases
        Table of old symbols: genes that the folder lacks are looked for under their other names.
    orthologs, orthologs_policy
        Table of human and mouse genes, for a network of the other species than the folder's.
    on_duplicates, on_self_loops, on_unknown, on_reciprocal
        ``ignore``, ``warn`` or ``error``; all are in the report either way.

    Raises
    ------
    UserError
        A bad file, names of another species, no edge on the folder's genes; the folder stays as it was.
    """
    opened = Prep.open(prep)
    grn = build_network(
        edges,
        opened.vocab,
        format=format,
        aliases=None if aliases is None else AliasTable.read(resolve_source(aliases)),
        orthologs=None if orthologs is None else OrthologTable.read(resolve_source(orthologs)),
        orthologs_policy=orthologs_policy,
        on_duplicates=on_duplicates,
        on_self_loops=on_self_loops,
        on_unknown=on_unknown,
        on_reciprocal=on_reciprocal,
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
