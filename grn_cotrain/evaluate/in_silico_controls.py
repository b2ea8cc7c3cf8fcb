"""Random sets of genes like those that are perturbed: what their shift is compared with.

Dimension letters: G genes, N genes of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grn_cotrain.data.value_statistics import FeatureMoments

__all__ = ["matched_controls"]

_NEIGHBOURS = 2  # controls are drawn from so many times as many nearest genes


def matched_controls(
    moments: FeatureMoments, genes: Sequence[int], eligible_G: np.ndarray, *, num_controls: int, seed: int = 0
) -> list[tuple[int, ...]]:
    """Random sets of genes like ``genes`` in detection rate and mean non-zero value.

    Distance is Euclidean in (arcsine of the root of the detection rate, mean non-zero value), each over its deviation
    among eligible genes. For each gene, controls are drawn without replacement from the ``2 * num_controls`` nearest.

    Parameters
    ----------
    moments
        Moments of the normalised values of the cells.
    genes
        Genes to match; they are never among the controls.
    eligible_G
        bool: genes that may be controls. Those without a value here never are.
    num_controls
        Number of sets; fewer come back where there are not enough genes.
    """
    detected_G, mean_G = moments.detected_G, moments.mean_G
    pool_N = np.flatnonzero(eligible_G & (detected_G > 0) & ~np.isin(np.arange(len(detected_G)), genes))
    point_G2 = np.stack([np.arcsin(np.sqrt(detected_G)), mean_G], axis=1)
    spread_2 = point_G2[pool_N].std(axis=0) if len(pool_N) else np.ones(2)
    point_G2 = point_G2 / np.where(spread_2 > 0, spread_2, 1.0)
    generator = np.random.default_rng((seed, 31))
    queues = []
    for gene in genes:
        distance_N = np.square(point_G2[pool_N] - point_G2[gene]).sum(axis=1)
        near_N = pool_N[np.argsort(distance_N, kind="stable")[: _NEIGHBOURS * num_controls]]
        queues.append(list(generator.permutation(near_N)))
    sets: list[tuple[int, ...]] = []
    while len(sets) < num_controls:
        drawn: list[int] = []
        for queue in queues:
            place = next((i for i, gene in enumerate(queue) if gene not in drawn), None)
            if place is None:
                return sets
            drawn.append(int(queue.pop(place)))
        sets.append(tuple(drawn))
    return sets
