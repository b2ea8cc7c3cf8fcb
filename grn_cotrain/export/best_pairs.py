"""The best pairs of a stream of tiles, in memory that depends on how many are kept.

Dimension letters: G genes, K kept pairs, M pairs, N targets, S sources of a tile.
"""

from __future__ import annotations

import numpy as np

from grn_cotrain.data.pairs import pairs_from_keys
from grn_cotrain.errors import UserError

__all__ = ["BestPairs", "best"]


def best(scores_M: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` highest scores, ascending; of equal scores at the edge the first ones are taken."""
    if count >= scores_M.size:
        return np.arange(scores_M.size)
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    threshold = np.partition(scores_M, scores_M.size - count)[scores_M.size - count]
    above_M = scores_M > threshold
    tied = np.flatnonzero(scores_M == threshold)[: count - int(above_M.sum())]
    above_M[tied] = True
    return np.flatnonzero(above_M)


class BestPairs:
    """Collects scored pairs; the result does not depend on how the pairs were cut into tiles.

    Sources and targets must come in ascending order, within a tile and from tile to tile, so that ties fall to the
    pair of the lowest key.

    Parameters
    ----------
    num_genes
        G, for keys.
    top
        Number of pairs to keep, or None for all.
    limit
        More kept pairs than this are refused.
    """

    def __init__(self, num_genes: int, *, top: int | None, limit: int) -> None:
        self.num_genes = num_genes
        self.top = top
        self.limit = limit
        self._floor = -np.inf
        self._keys: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._held = 0

    def add(
        self,
        sources_S: np.ndarray,
        targets_N: np.ndarray,
        scores_SN: np.ndarray,
        allowed_SN: np.ndarray,
        *,
        most_S: np.ndarray | None = None,
    ) -> None:
        """Take the allowed pairs of a tile that may still be among the best; at most ``most_S`` of each source.

        Raises
        ------
        UserError
            More pairs than the limit are kept.
        """
        if most_S is not None:
            kept_SN = np.zeros_like(allowed_SN)
            for row, most in enumerate(most_S.tolist()):
                columns = np.flatnonzero(allowed_SN[row])
                kept_SN[row, columns[best(scores_SN[row, columns], most)]] = True
            allowed_SN = kept_SN
        if self.top is not None:
            allowed_SN = allowed_SN & (scores_SN > self._floor)
        rows_M, columns_M = np.nonzero(allowed_SN)
        self._keys.append(sources_S[rows_M] * np.int64(self.num_genes) + targets_N[columns_M])
        self._scores.append(scores_SN[rows_M, columns_M])
        self._held += rows_M.size
        if self.top is not None and self._held > 2 * self.top:
            self._shrink()
        if self._held > 2 * self.limit or (self.top is None and self._held > self.limit):
            raise UserError(
                f"more than {self.limit:,} pairs would be kept, more than one table holds; give top, or a higher"
                " min_probability"
            )

    def _shrink(self) -> None:
        keys_M, scores_M = np.concatenate(self._keys), np.concatenate(self._scores)
        if self.top is not None:
            kept_K = best(scores_M, self.top)
            keys_M, scores_M = keys_M[kept_K], scores_M[kept_K]
            if scores_M.size == self.top:
                self._floor = float(
                    scores_M.min()
                )  # a later pair of this very score has a higher key: it loses the tie
        self._keys, self._scores, self._held = [keys_M], [scores_M], keys_M.size

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs ``[2, K]`` and scores ``[K]`` by falling score, ties by key."""
        if not self._keys:
            return np.zeros((2, 0), dtype=np.int64), np.zeros(0)
        self._shrink()
        keys_M, scores_M = self._keys[0], self._scores[0]
        order_K = np.argsort(-scores_M, kind="stable")
        return pairs_from_keys(keys_M[order_K], self.num_genes), scores_M[order_K]
