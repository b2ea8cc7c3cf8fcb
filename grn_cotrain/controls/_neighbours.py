"""Nearest genes by expression, and smoothing of edge labels over them.

Dimension letters: G genes, R rank, N queries, K neighbours, A any number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from grn_cotrain.data.gene_features import SUMMARY
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.store import CellStore
from grn_cotrain.data.value_statistics import Moments

__all__ = ["RANK", "NeighbourFinder", "Neighbours", "gene_summaries", "loadings_of_sets", "unit_loadings"]

RANK = 50
_BLOCK = 1024
# The same components serve six controls; they live as long as the cells do.
_LOADINGS: WeakKeyDictionary[CellStore, dict[int, np.ndarray]] = WeakKeyDictionary()


def unit_loadings(cells: CellStore, *, rank: int = RANK) -> np.ndarray:
    """Loadings on the leading expression components, rows scaled to length 1 (0 stays 0): float32 ``[G, R]``.

    Inner products of rows are cosines: how similar the co-expression of two genes is, whatever their noise. Where the
    vocabulary carries features of other data sets, their loadings stand next to those of the cells, each set with the
    same weight among the sets that hold the gene: R is the sum of the ranks.
    """
    rank = max(1, min(rank, cells.num_cells - 1, cells.num_features - 1))
    known = _LOADINGS.setdefault(cells, {})
    if rank not in known:
        blocks = [_unit(gene_loadings(Statistics(cells), rank=rank))]
        features = cells.vocab.features
        if features is not None:
            blocks += [_unit(rows.loadings_GR) for rows in features.of(cells.vocab.symbols).values()]
        known[rank] = _unit(np.concatenate(blocks, axis=1)) if len(blocks) > 1 else blocks[0]
        known[rank].flags.writeable = False
    return known[rank]


def _unit(rows_GR: np.ndarray) -> np.ndarray:
    length_G1 = np.linalg.norm(rows_GR, axis=1, keepdims=True)
    return rows_GR / np.where(length_G1 > 0, length_G1, 1)


def loadings_of_sets(cells: CellStore, num: int) -> np.ndarray:
    """Leading unit loadings of every gene in each other data set, side by side: float32 ``[G, num x sets]``."""
    features = cells.vocab.features
    sets = {} if features is None else features.of(cells.vocab.symbols)
    empty_G0 = np.zeros((cells.num_features, 0), dtype=np.float32)
    return np.concatenate([empty_G0, *(_unit(rows.loadings_GR)[:, :num] for rows in sets.values())], axis=1)


def gene_summaries(cells: CellStore) -> tuple[np.ndarray, tuple[str, ...]]:
    """Mean, deviation and detection rate of every gene in the cells and in each other data set: float32 ``[G, F]``.

    A set adds a column that marks the genes that it holds. Returns the values and a name for each column.
    """
    moments = Statistics(cells)[Moments()]
    blocks = [np.stack([moments.mean_of_cells_G, moments.std_of_cells_G, moments.detected_G], axis=1)]
    names = list(SUMMARY)
    if cells.vocab.features is not None:
        for name, rows in cells.vocab.features.of(cells.vocab.symbols).items():
            blocks += [rows.summary_G3, rows.present_G[:, None]]
            names += [*(f"{what}_{name}" for what in SUMMARY), f"present_{name}"]
    return np.concatenate(blocks, axis=1).astype(np.float32), tuple(names)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """``index_NK`` gene indices, most similar first; ``weight_NK`` their cosines, negative ones set to 0."""

    index_NK: np.ndarray
    weight_NK: np.ndarray

    def weights(self, num: int, size: int) -> sparse.csr_array:
        """Weights of the first ``num`` neighbours as a CSR matrix ``[N, size]``."""
        index_NK, weight_NK = self.index_NK[:, :num], self.weight_NK[:, :num]
        offsets = np.arange(0, index_NK.size + 1, max(index_NK.shape[1], 1))[: len(index_NK) + 1]
        if index_NK.shape[1] == 0:
            return sparse.csr_array((len(index_NK), size), dtype=np.float32)
        return sparse.csr_array((weight_NK.ravel(), index_NK.ravel(), offsets), (len(index_NK), size))


class NeighbourFinder:
    """Finds nearest genes among a pool, and remembers: folds of pairs ask again and again for the same ones.

    Parameters
    ----------
    unit_GR
        From :func:`unit_loadings`.
    most
        Largest number of neighbours that will be asked for.
    """

    def __init__(self, unit_GR: np.ndarray, most: int) -> None:
        self.unit_GR, self.most = unit_GR, most
        self._found: dict[tuple[bytes, bytes], Neighbours] = {}

    def find(self, queries_N: np.ndarray, pool: np.ndarray) -> Neighbours:
        """Nearest genes of each query among ``pool`` (gene indices), itself excluded; ties go to the lower index."""
        key = (queries_N.tobytes(), pool.tobytes())
        if key not in self._found:
            self._found[key] = self._search(queries_N, np.sort(pool))
        return self._found[key]

    def _search(self, queries_N: np.ndarray, pool: np.ndarray) -> Neighbours:
        most = min(self.most, len(pool))
        index_NK = np.zeros((len(queries_N), most), dtype=np.int64)
        weight_NK = np.zeros((len(queries_N), most), dtype=np.float32)
        pool_RP = np.ascontiguousarray(self.unit_GR[pool].T)
        position_G = np.full(len(self.unit_GR), -1)
        position_G[pool] = np.arange(len(pool))
        for start in range(0, len(queries_N) if most else 0, _BLOCK):
            queries_B = queries_N[start : start + _BLOCK]
            # Rounded, so that the ties of duplicated profiles do not depend on the blocking of a matrix product.
            cosine_BP = np.round(self.unit_GR[queries_B] @ pool_RP, 5)
            own_B = position_G[queries_B]
            cosine_BP[np.flatnonzero(own_B >= 0), own_B[own_B >= 0]] = -np.inf
            best_BK = _largest(cosine_BP, most)
            index_NK[start : start + _BLOCK] = pool[best_BK]
            weight_NK[start : start + _BLOCK] = np.maximum(np.take_along_axis(cosine_BP, best_BK, axis=1), 0)
        return Neighbours(index_NK, weight_NK)


def _largest(values_BP: np.ndarray, num: int) -> np.ndarray:
    """Columns of the ``num`` largest values of each row, largest first, ties by column."""
    if num < values_BP.shape[1]:
        columns_BK = np.argpartition(-values_BP, num - 1, axis=1)[:, :num]
    else:
        columns_BK = np.broadcast_to(np.arange(values_BP.shape[1]), values_BP.shape).copy()
    columns_BK.sort(axis=1)
    order_BK = np.argsort(-np.take_along_axis(values_BP, columns_BK, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns_BK, order_BK, axis=1)
