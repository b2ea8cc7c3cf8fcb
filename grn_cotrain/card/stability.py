"""Would another seed have given the same embedding? Agreement of runs that differ in their seed, compared with chance.

An embedding has no axes of its own, so it is compared up to rotation (Procrustes), by its geometry (CKA) and by what
users read from it (nearest neighbours). Chance is the same comparison with the other run's genes permuted.

Dimension letters: G genes, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grn_cotrain.card.vectors import linear_cka, nearest, overlap, procrustes_r2
from grn_cotrain.errors import UserError

__all__ = ["MEASURES", "Agreement", "agreement_of", "shared_rows"]

MEASURES = {
    "procrustes_r2": "variance explained by the best rotation, shift and scale (1 - disparity)",
    "cka": "linear CKA",
    "neighbours_10": "mean Jaccard overlap of the 10 nearest neighbours",
    "neighbours_50": "mean Jaccard overlap of the 50 nearest neighbours",
}
_LEAST_SHARED = 0.5  # share of the genes of either run
_SIZES = (10, 50)


@dataclass(frozen=True)
class Agreement:
    """Agreement with one other run.

    Attributes
    ----------
    run, seed
        The other run, and its seed.
    num_shared, num_dropped
        Genes compared; genes of either run that the other lacks.
    values, chance
        By the names of :data:`MEASURES`: as found, and with permuted genes.
    same_weights
        The two runs are one: agreement then carries no information.
    differs_in
        Keys of the recipe, apart from the seed, in which the runs differ: agreement then depends on more than seeds.
    """

    run: str
    seed: int | None
    num_shared: int
    num_dropped: int
    values: Mapping[str, float]
    chance: Mapping[str, float]
    same_weights: bool = False
    differs_in: tuple[str, ...] = ()


def shared_rows(
    mine: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]], *, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both, gene by gene, of the genes that both have.

    Raises
    ------
    UserError
        Fewer than half of the genes of either are shared: the runs are about other genes.
    """
    places = {name: row for row, name in enumerate(other)}
    pairs = [(row, places[name]) for row, name in enumerate(mine) if name in places]
    least = min(len(mine), len(other))
    if len(pairs) < max(3, _LEAST_SHARED * least):
        raise UserError(
            f"{what}: shares {len(pairs):,} of {least:,} genes with this run, so it is of another vocabulary; give "
            "runs on the same genes"
        )
    rows = np.array(pairs, dtype=np.int64)
    return rows[:, 0], rows[:, 1]


def agreement_of(a_GD: np.ndarray, b_GD: np.ndarray, *, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Every measure, as found and with the genes of ``b`` permuted; rows are the same genes in the same order."""
    permuted_G = np.random.default_rng(seed).permutation(len(b_GD))
    values = {"procrustes_r2": procrustes_r2(a_GD, b_GD), "cka": linear_cka(a_GD, b_GD)}
    chance = {"procrustes_r2": procrustes_r2(a_GD, b_GD[permuted_G]), "cka": linear_cka(a_GD, b_GD[permuted_G])}
    largest = max(_SIZES)
    mine_GK, other_GK, lost_GK = (nearest(rows, largest)[0] for rows in (a_GD, b_GD, b_GD[permuted_G]))
    for k in _SIZES:
        values[f"neighbours_{k}"] = float(overlap(mine_GK[:, :k], other_GK[:, :k]).mean())
        chance[f"neighbours_{k}"] = float(overlap(mine_GK[:, :k], lost_GK[:, :k]).mean())
    return values, chance
