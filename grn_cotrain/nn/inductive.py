"""Inductive gene features by name, as the recipe lists them.

Dimension letters: F features, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grn_cotrain.data.statistics import Need, Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.nn.features import FEATURE_SOURCES, FeatureContext

__all__ = ["feature_needs", "inductive_features"]


def feature_needs(names: Sequence[str]) -> frozenset[Need[Any]]:
    """Statistics that these sources read; an unknown name is reported by :func:`inductive_features`."""
    known = [name for name in names if name in FEATURE_SOURCES.names()]
    return frozenset().union(*(FEATURE_SOURCES.get(name).needs(FEATURE_SOURCES.config(name, {})) for name in known))


def inductive_features(
    names: Sequence[str],
    vocab: FeatureVocab,
    statistics: Statistics | None,
    *,
    feature_matrix: str | Path | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute the features of every gene by source.

    Parameters
    ----------
    names
        Sources, for example ``("expression", "tf_family")``; see ``grn-cotrain list inductive``.
    vocab
        Genes, in the order of the rows.
    statistics
        Statistics of the training cells; None if no source reads them.
    feature_matrix
        File for the source ``matrix``, which it switches on by itself.
    seed
        For sources that draw.

    Returns
    -------
    dict
        Source -> finite float32 ``[G, F]``. Genes that a source knows nothing about are marked in a column of theirs.

    Raises
    ------
    UserError
        Unknown or repeated source, or a source that lacks what it reads.
    """
    wanted = list(names)
    repeated = {name for name in wanted if wanted.count(name) > 1}
    if repeated:
        raise UserError(f"inductive: '{min(repeated)}' is named more than once; name each source once")
    if feature_matrix is not None and "matrix" not in wanted:
        wanted.append("matrix")
    path = None if feature_matrix is None else Path(feature_matrix)
    context = FeatureContext(vocab=vocab, statistics=statistics, feature_matrix=path, seed=seed)
    return {name: FEATURE_SOURCES.build(name).features(context) for name in wanted}
