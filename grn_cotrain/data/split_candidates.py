"""Which genes are candidates of a split: those with a current symbol, unless the user keeps the others.

Dimension letters: G genes, E edges.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from grn_cotrain.data.alignment import name_some
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    from grn_cotrain.data.grn import GRN

__all__ = ["Outdated", "left_out"]

logger = logging.getLogger(__name__)

Outdated = Literal["leave-out", "keep"]


def left_out(grn: GRN, pairs_2E: np.ndarray, outdated: Outdated) -> np.ndarray:
    """Which genes are not candidates, bool ``[G]``; what that costs is counted and named."""
    if outdated not in get_args(Outdated):
        raise UserError(f"outdated '{outdated}': choose from {', '.join(get_args(Outdated))}")
    left_G = np.zeros(grn.num_genes, dtype=bool)
    marked_G = grn.vocab.outdated_G
    if not marked_G.any():
        return left_G
    names = name_some([grn.vocab.symbols[i] for i in np.flatnonzero(marked_G)])
    edges = int(marked_G[pairs_2E].any(axis=0).sum())
    if outdated == "keep":
        logger.warning(
            "%d genes with an outdated symbol stay candidates, with %d edges: %s", marked_G.sum(), edges, names
        )
        return left_G
    left_G[: len(marked_G)] = marked_G
    logger.warning(
        "%d genes with an outdated symbol are not candidates: %s; %d edges leave", marked_G.sum(), names, edges
    )
    return left_G
