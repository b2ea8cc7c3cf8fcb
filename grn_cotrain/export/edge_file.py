"""Predicted edges in a file of any registered format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from grn_cotrain.apply import OpenRun
from grn_cotrain.apply.cells import Progress
from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats import EDGE_FORMATS, EdgeFormat
from grn_cotrain.export.edges import predict_edges
from grn_cotrain.export.group_networks import networks_of_groups
from grn_cotrain.export.predicted_edges import PredictedEdges
from grn_cotrain.files import atomic_file
from grn_cotrain.jobs.edges import EdgeOptions
from grn_cotrain.options import keywords

__all__ = ["export_edges"]


@keywords(EdgeOptions)
def export_edges(
    run: str | Path | OpenRun,
    format: str = "parquet",
    out: str | Path | None = None,
    *,
    options: EdgeOptions,
    format_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> PredictedEdges:
    """Predict edges and write them for another tool.

    Parameters
    ----------
    run
        Run folder.
    format
        Name of one of :data:`~grn_cotrain.export.edge_formats.EDGE_FORMATS`.
    out
        File; default ``edges_FORMAT.SUFFIX`` in the run folder.
    {options}
    format_options
        Options of the format, as its ``Config`` has them.
    say, progress
        Receive what was written and what was left out; the number of TFs done and in all.

    With ``by``, the file holds a network for each group of cells; the result has its columns
    (:class:`~grn_cotrain.export.group_networks.GroupNetworks`).

    Without ``top``, ``top_per_tf`` and ``min_probability``, the format's own selection holds, and is reported.

    Raises
    ------
    UserError
        As :func:`~grn_cotrain.export.edges.predict_edges`; unknown format or option; names that the format cannot hold.
    """
    opened = OpenRun.of(run, prep=options.prep, side="links")
    writer: EdgeFormat = EDGE_FORMATS.build(format, format_options)
    if options.by is not None and not writer.grouped:
        able = ", ".join(name for name in EDGE_FORMATS.names() if EDGE_FORMATS.get(name).grouped)
        raise UserError(f"--by '{options.by}': format {format} holds one network; choose from {able}")
    chosen = writer.selection.unless(options.top, options.top_per_tf, options.min_probability)
    if chosen is writer.selection:
        say(f"kept by default: {chosen} (top, top_per_tf and min_probability choose others)")
    chosen_options = replace(options, top=chosen.top, top_per_tf=chosen.top_per_tf)
    edges = predict_edges(opened, options=chosen_options, say=say, progress=progress)
    say(edges.summary())
    if options.by is not None:
        edges = networks_of_groups(opened, edges, options, say=say).edges
    writer.check_names(edges)
    name = format.strip().lower().replace("-", "_")
    path = Path(out) if out is not None else opened.folder.folder / f"edges_{name}.{writer.suffix}"
    with atomic_file(path) as temporary:
        notes = writer.write(edges, temporary)
    if out is None:
        opened.folder.register([path.absolute()])
    for note in notes:
        say(note)
    say(f"{len(edges):,} edges, format {name}: {path}")
    return edges
