"""The network that a run predicts, as a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["infer_grn"]

logger = logging.getLogger(__name__)


def infer_grn(
    run: str | Path,
    *,
    tfs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    top: int | None = None,
    top_per_tf: int | Literal["training"] | None = None,
    min_probability: float | None = None,
    include_known: bool | Literal["only"] = True,
    prep: str | Path | None = None,
) -> pd.DataFrame:
    """Score all TF x gene pairs of a run and return the best, known edges labelled.

    The edges are those that ``grn-cotrain export edges`` writes with the same options: without ``top``, ``top_per_tf``
    and ``min_probability``, as many of each TF as it has training edges; else what these three name and nothing more.

    Parameters
    ----------
    run
        Run folder, or ``hf://NAME/REPOSITORY``.
    tfs, targets
        Names; default: the TFs that the run was trained and tested on, and all its genes.
    top
        Number of edges to keep, the best of all TFs; without ``top_per_tf``, a few TFs of high degree fill it.
    top_per_tf
        Number of edges to keep of each TF, before ``top``; ``"training"``: as many as it has training edges.
    min_probability
        Keep edges of at least this calibrated probability.
    include_known
        True: known edges compete with new ones. False: new edges alone. ``"only"``: known ones alone.
    prep
        The run's prepared folder, where it has moved; without it, held-out edges count as new, and no new one has a
        sign.

    Returns
    -------
    pandas.DataFrame
        By falling score: ``source, target, score, probability, sign, sign_source, correlation, known, evidence``, as
        :class:`~grn_cotrain.export.edges.PredictedEdges` has them. The score of an edge with ``known == "train"`` is a
        fit, not a prediction. ``attrs`` holds the run's hashes and the prevalence that probabilities are calibrated
        for.

    Raises
    ------
    UserError
        As :func:`~grn_cotrain.export.edges.predict_edges`.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> net = gc.tl.infer_grn("runs/pbmc", top_per_tf=50, include_known=False)  # doctest: +SKIP
    """
    # Imported here, so that `import grn_cotrain.tl` loads no torch.
    from grn_cotrain.export.edge_formats import EdgeFormat
    from grn_cotrain.export.edges import predict_edges
    from grn_cotrain.hub.fetch import resolve_run

    chosen = EdgeFormat.selection.unless(top, top_per_tf, min_probability)
    edges = predict_edges(
        resolve_run(run),
        tfs=tfs,
        targets=targets,
        top=chosen.top,
        top_per_tf=chosen.top_per_tf,
        min_probability=min_probability,
        include_known=include_known,
        prep=prep,
        say=logger.warning,
    )
    frame = edges.frame
    frame.attrs = {"grn_cotrain": edges.provenance()}
    for line in edges.summary().splitlines():
        logger.info(line)
    return frame
