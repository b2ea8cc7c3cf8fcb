"""Packed batches of cells. No padding on any hot path.

Dimension letters: B cells, T packed tokens, V vocabulary (special tokens, then features).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["CellBatch"]


@dataclass(frozen=True)
class CellBatch:
    """Cells as packed tokens; cell ``b`` owns tokens ``cu_lens[b]:cu_lens[b + 1]`` and its first token is CLS.

    Attributes
    ----------
    feature_ids_T
        int64 vocabulary ids: 0 PAD, 1 MASK, 2 CLS, then feature ``i`` at ``i + NUM_SPECIAL``.
    values_T
        float32 continuous values (log1p of counts per ten thousand, or the log-scale value as stored); CLS has 0.
    bins_T
        int64 value bins: 0 a zero (or CLS), 1..K quantile bins of the cell's non-zero values.
    modality_T
        int64 modality index (0 gene, 1 peak, 2 protein; CLS has 0).
    cu_lens
        int32 ``[B + 1]`` cumulative token counts; ``max_len`` is the longest cell.
    cell_index_B
        int64 row of each cell in its :class:`~grn_cotrain.data.cells.CellMatrix`.
    masked_T
        bool, True where the value is hidden from the encoder; None where nothing is hidden. Targets are
        ``values_T`` / ``bins_T`` themselves: an encoder must never read them where ``masked_T`` is True.
    """

    feature_ids_T: Tensor
    values_T: Tensor
    bins_T: Tensor
    modality_T: Tensor
    cu_lens: Tensor
    max_len: int
    cell_index_B: Tensor
    masked_T: Tensor | None = None

    @property
    def num_cells(self) -> int:
        """B."""
        return int(self.cu_lens.numel() - 1)

    @property
    def num_tokens(self) -> int:
        """T, CLS tokens included."""
        return int(self.feature_ids_T.numel())

    @property
    def cls_positions_B(self) -> Tensor:
        """Index of each cell's CLS token."""
        return self.cu_lens[:-1].long()

    @property
    def cell_of_token_T(self) -> Tensor:
        """int64 batch row (0..B-1) of every token."""
        lens_B = (self.cu_lens[1:] - self.cu_lens[:-1]).long()
        return torch.repeat_interleave(torch.arange(self.num_cells, device=lens_B.device), lens_B)

    def with_mask(self, masked_T: Tensor) -> CellBatch:
        """The same cells with other hidden positions."""
        return replace(self, masked_T=masked_T)

    def to(self, device: torch.device | str) -> CellBatch:
        """Copy to ``device``."""
        return CellBatch(
            self.feature_ids_T.to(device),
            self.values_T.to(device),
            self.bins_T.to(device),
            self.modality_T.to(device),
            self.cu_lens.to(device),
            self.max_len,
            self.cell_index_B.to(device),
            None if self.masked_T is None else self.masked_T.to(device),
        )
