"""How each feature goes with the depth of a cell: the covariance of its value with log depth over training cells.

Dimension letters: B cells of a block, G features, A assays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.cell_blocks import Block, Layout
from grn_cotrain.data.statistics import Accumulator, Need

__all__ = ["DepthCovariance"]


@dataclass(frozen=True)
class DepthCovariance(Need[np.ndarray]):
    """Covariance of each feature's value, zeros included, with ``log1p`` of its assay's total: float64 ``[G]``.

    Each assay counts the cells that have it. Features of an assay without reads have 0: nothing is known of its depth.
    """

    def start(self, layout: Layout) -> Accumulator[np.ndarray]:
        """See :class:`Need`."""
        return _Products(layout)


class _Products(Accumulator[np.ndarray]):
    """Sums of depths, values and their products."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._cells_A = np.zeros(len(layout.assays), dtype=np.int64)
        self._depth_A = np.zeros(len(layout.assays))
        self._value_G = np.zeros(layout.num_features)
        self._product_G = np.zeros(layout.num_features)

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        depth_BA = np.zeros(block.present_BA.shape)
        for place, assay in self._layout.with_reads():
            depth_BA[:, place] = np.log1p(assay.size_factor_C[block.rows_B]) * block.present_BA[:, place]
        self._cells_A += block.present_BA.sum(axis=0)
        self._depth_A += depth_BA.sum(axis=0)
        gene_N, value_N = block.values_BG.indices, block.values_BG.data.astype(np.float64)
        product_N = value_N * depth_BA[block.cell_N, self._layout.assay_G[gene_N]]
        self._value_G += np.bincount(gene_N, value_N, minlength=len(self._value_G))
        self._product_G += np.bincount(gene_N, product_N, minlength=len(self._value_G))

    def result(self) -> np.ndarray:
        """See :class:`Accumulator`."""
        cells_G = np.maximum(self._cells_A, 1)[self._layout.assay_G]
        depth_G = self._depth_A[self._layout.assay_G] / cells_G
        return np.asarray((self._product_G - depth_G * self._value_G) / cells_G)
