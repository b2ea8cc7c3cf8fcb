"""The network that a run predicts, as a table."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.jobs.edges import EdgeOptions
from grn_cotrain.options import keywords

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["infer_grn"]

logger = logging.getLogger(__name__)


@keywords(EdgeOptions)
def infer_grn(run: str | Path, options: EdgeOptions) -> pd.DataFrame:
    """Score all TF x gene pairs of a run and return the best, known edges labelled.

    The edges are those that ``grn-cotrain export edges`` writes with the same options: without ``top``, ``top_per_tf``
    and ``min_probability``, as many of each TF as it has training edges; else what these three name and nothing more.

    Parameters
    ----------
    run
        Run folder, or ``hf://NAME/REPOSITORY``.
    {options}

    Returns
    -------
    pandas.DataFrame
        The best first (``rank_by``): ``source, target, score, probability, sign, sign_source, correlation, known,
        evidence, shared_by, target_mean, evidence_rank, channels``, as
        :class:`~grn_cotrain.export.predicted_edges.PredictedEdges` has them. The score of an edge with
        ``known == "train"`` is a fit, not a prediction. ``attrs`` holds the run's hashes and the prevalence that
        probabilities are calibrated for. With ``by``, a row for each edge and group of cells, with the columns of
        :class:`~grn_cotrain.export.group_networks.GroupNetworks`; ``attrs`` then holds facts about the groups too.

    Raises
    ------
    UserError
        As :func:`~grn_cotrain.export.edges.predict_edges`.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> net = gc.tl.infer_grn("runs/pbmc", top_per_tf=50, known="drop")  # doctest: +SKIP
    >>> nets = gc.tl.infer_grn("runs/pbmc", by="cell_type", cells=adata)  # doctest: +SKIP
    """
    from grn_cotrain.apply import OpenRun
    from grn_cotrain.export.edge_formats import EdgeFormat
    from grn_cotrain.export.edges import predict_edges
    from grn_cotrain.export.group_networks import networks_of_groups
    from grn_cotrain.hub.fetch import resolve_run

    chosen = EdgeFormat.selection.unless(options.top, options.top_per_tf, options.min_probability)
    kept = replace(options, top=chosen.top, top_per_tf=chosen.top_per_tf)
    opened = OpenRun.of(resolve_run(run), prep=options.prep, side="links")
    edges = predict_edges(opened, options=kept, say=logger.warning)
    frame, facts = edges.frame, dict[str, Any](edges.provenance())
    if options.by is not None:
        networks = networks_of_groups(opened, edges, kept, say=logger.warning)
        frame = networks.edges.frame
        facts["groups"] = networks.provenance()
    frame.attrs = {"grn_cotrain": facts}
    for line in edges.summary().splitlines():
        logger.log(logging.WARNING if line.startswith("warning: ") else logging.INFO, line)
    return frame
