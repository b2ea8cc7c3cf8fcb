"""Edge list -> network of a prepared folder: ``grn-prep grn``."""

from __future__ import annotations

import logging
from pathlib import Path

from grn_cotrain.data.grn import GRN, OnTrouble
from grn_cotrain.data.prep import Prep, write_grn

__all__ = ["prepare_grn"]

logger = logging.getLogger(__name__)


def prepare_grn(
    edges: str | Path,
    prep: str | Path,
    *,
    format: str = "auto",
    on_duplicates: OnTrouble = "ignore",
    on_self_loops: OnTrouble = "ignore",
    on_unknown: OnTrouble = "ignore",
    on_reciprocal: OnTrouble = "ignore",
) -> GRN:
    """Align an edge list to a prepared folder's genes and write it there; an earlier network is replaced.

    Parameters
    ----------
    edges, format
        See :func:`~grn_cotrain.data.io.edges.load_edges`.
    prep
        Prepared folder.
    on_duplicates, on_self_loops, on_unknown, on_reciprocal
        ``ignore``, ``warn`` or ``error``; all are in the report either way.

    Raises
    ------
    UserError
        A bad file, names of another species, no edge on the folder's genes; the folder stays as it was.
    """
    opened = Prep.open(prep)
    grn = GRN.from_file(
        edges,
        opened.vocab,
        format=format,
        on_duplicates=on_duplicates,
        on_self_loops=on_self_loops,
        on_unknown=on_unknown,
        on_reciprocal=on_reciprocal,
    )
    stale = opened.split_names() if opened.has_grn and opened.grn.content_hash != grn.content_hash else []
    write_grn(opened.folder, grn)
    if stale:
        grn.report.notes.append(f"splits of the earlier network must be made anew: {', '.join(stale)}")
    return grn
