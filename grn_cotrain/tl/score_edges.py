"""Scores of any pairs by name, as a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["score_edges"]

logger = logging.getLogger(__name__)


def score_edges(
    run: str | Path, pairs: pd.DataFrame | str | Path | Sequence[tuple[str, str]], *, format: str = "auto"
) -> pd.DataFrame:
    """Score TF, target pairs by name: one row of output a row of input, in order.

    Parameters
    ----------
    run
        Run folder, or ``hf://NAME/REPOSITORY``.
    pairs
        A frame with ``source`` and ``target``, or other known names such as ``TF`` and ``gene`` (other columns and the
        index are kept), ``(TF, target)`` tuples, or a file: any edge list that ``grn-prep grn`` reads.
    format
        Format of a file: ``tsv:source=COLUMN,target=COLUMN`` names the columns.

    Returns
    -------
    pandas.DataFrame
        ``source, target, score`` and, where the run has a calibration, ``probability``; for a frame, its own columns
        with these added. A pair with a gene that the model does not know has NaN; such genes are logged.

    Raises
    ------
    UserError
        No pair has both genes in the model's vocabulary; a column is missing, or its name is taken; no such run.

    Examples
    --------
    >>> import grn_cotrain as gc
    >>> gc.tl.score_edges("runs/pbmc", [("STAT1", "IFIT1"), ("SPI1", "CD14")])  # doctest: +SKIP
    """
    # Imported here, so that `import grn_cotrain.tl` loads no torch.
    import pandas as pd

    from grn_cotrain.data.io.edges import load_pairs
    from grn_cotrain.errors import UserError
    from grn_cotrain.evaluate.score import score_named
    from grn_cotrain.hub.fetch import resolve_run

    if isinstance(pairs, (str, Path)):
        read, what = load_pairs(pairs, format), f"pairs '{pairs}'"
        given = read.frame
        for note in read.notes:
            logger.info("%s: %s", what, note)
    elif isinstance(pairs, pd.DataFrame):
        given, what = pairs, "pairs"
        taken = [name for name in ("score", "probability") if name in given.columns]
        if taken:
            raise UserError(f"pairs: has a column '{taken[0]}' already; drop or rename it")
    else:
        rows = [tuple(pair) for pair in pairs]
        if any(len(row) != 2 for row in rows):
            raise UserError("pairs: a row is not a (TF, target) pair; give tuples of two names")
        given, what = pd.DataFrame(rows, columns=["source", "target"]), "pairs"
    scored = score_named(resolve_run(run), given, what=what)
    for line in scored.lines():
        logger.log(logging.WARNING if "unknown" in line else logging.INFO, line)
    added = scored.frame.drop(columns=["source", "target"]).set_axis(given.index)
    return pd.concat([given, added], axis=1)
