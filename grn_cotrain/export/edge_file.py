"""Predicted edges in a file of any registered format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from grn_cotrain.export.edge_formats import EDGE_FORMATS, EdgeFormat
from grn_cotrain.export.edges import PredictedEdges, predict_edges
from grn_cotrain.files import atomic_file
from grn_cotrain.run_folder import RunFolder

__all__ = ["export_edges"]


def export_edges(
    run: str | Path,
    format: str = "parquet",
    out: str | Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    tfs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    top: int | None = None,
    top_per_tf: int | Literal["training"] | None = None,
    min_probability: float | None = None,
    include_known: bool | Literal["only"] = True,
    prep: str | Path | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
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
    options
        Options of the format, as its ``Config`` has them.
    tfs, targets, top, top_per_tf, min_probability, include_known, prep, progress
        See :func:`~grn_cotrain.export.edges.predict_edges`; without ``top``, ``top_per_tf`` and ``min_probability``,
        the format's own selection holds, and is said.
    say
        Told of what was written and of what was left out.

    Raises
    ------
    UserError
        As :func:`~grn_cotrain.export.edges.predict_edges`; unknown format or option; names that the format cannot hold.
    """
    writer: EdgeFormat = EDGE_FORMATS.build(format, options)
    chosen = writer.selection.unless(top, top_per_tf, min_probability)
    if chosen is writer.selection:
        say(f"kept by default: {chosen} (top, top_per_tf and min_probability choose others)")
    edges = predict_edges(
        run,
        tfs=tfs,
        targets=targets,
        top=chosen.top,
        top_per_tf=chosen.top_per_tf,
        min_probability=min_probability,
        include_known=include_known,
        prep=prep,
        say=say,
        progress=progress,
    )
    say(edges.summary())
    writer.check_names(edges)
    name = format.strip().lower().replace("-", "_")
    path = Path(out) if out is not None else RunFolder.open(run).folder / f"edges_{name}.{writer.suffix}"
    with atomic_file(path) as temporary:
        notes = writer.write(edges, temporary)
    if out is None:
        RunFolder.open(run).register([path.absolute()])
    for note in notes:
        say(note)
    say(f"{len(edges):,} edges, format {name}: {path}")
    return edges
