"""The mean profile of training cells: which share of a cell's measurements each feature has.

Dimension letters: B cells of a block, G features, A assays, N stored values of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grn_cotrain.data.cell_blocks import Block, Layout
from grn_cotrain.data.statistics import Accumulator, Need

__all__ = ["MeanProfile"]


@dataclass(frozen=True)
class MeanProfile(Need[np.ndarray]):
    """Mean over cells of their proportions: float64 ``[G]``, which sums to 1 over the tokens of each assay.

    The proportions of a cell are its values taken back from the logarithm (``expm1``) over their sum in the same assay.
    Cells that lack an assay, or have no value in it, do not count. One more cell with equal proportions is added, so
    that every feature that can be a token has a share above 0; all others have 0.
    """

    def start(self, layout: Layout) -> Accumulator[np.ndarray]:
        """See :class:`Need`."""
        return _Proportions(layout)


class _Proportions(Accumulator[np.ndarray]):
    """Sums of proportions and numbers of cells."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sum_G = np.zeros(layout.num_features)
        self._cells_A = np.zeros(len(layout.assays), dtype=np.int64)

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        layout, size = self._layout, len(self._layout.assays)
        gene_N = block.values_BG.indices
        amount_N = np.expm1(np.maximum(block.values_BG.data.astype(np.float64), 0.0)) * layout.is_token_G[gene_N]
        key_N = block.cell_N * size + layout.assay_G[gene_N]
        total_K = np.bincount(key_N, amount_N, minlength=len(block.rows_B) * size)
        share_N = amount_N / np.where(total_K > 0, total_K, 1.0)[key_N]
        self._sum_G += np.bincount(gene_N, share_N, minlength=layout.num_features)
        self._cells_A += (total_K.reshape(-1, size) > 0).sum(axis=0)

    def result(self) -> np.ndarray:
        """See :class:`Accumulator`."""
        layout = self._layout
        tokens_A = np.bincount(layout.assay_G, layout.is_token_G, minlength=len(layout.assays))
        even_G = layout.is_token_G / np.maximum(tokens_A, 1)[layout.assay_G]
        return np.asarray((self._sum_G + even_G) / (self._cells_A + 1)[layout.assay_G])
