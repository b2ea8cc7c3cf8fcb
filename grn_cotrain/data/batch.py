"""Packed batches of cells. No padding on any hot path.

Dimension letters: B cells, T packed tokens, V vocabulary (special tokens, then features), K covariates, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["PackedTokens"]


@dataclass(frozen=True)
class PackedTokens:
    """Cells as packed tokens; cell ``b`` owns tokens ``cu_lens[b]:cu_lens[b + 1]`` and its first token is CLS.

    What objectives hide is hidden in one of two ways. *Values and modalities* stay in place as targets, and a flag says
    that no encoder may read them. *Names* are taken out of the batch, MASK standing in their place, since a name is
    used in too many ways (rows, statistics, ranks) to be watched; the objective keeps the names itself. See
    :mod:`grn_cotrain.objectives.masking`.

    Attributes
    ----------
    feature_ids_T
        int64 vocabulary ids: 0 PAD, 1 MASK, 2 CLS, then feature ``i`` at ``i + NUM_SPECIAL``. MASK: a token whose name
        is hidden.
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
    modality_hidden_T
        bool, True where the modality is hidden too; an encoder must never read ``modality_T`` there, nor guess it from
        ``feature_ids_T`` by anything but the feature's own row.
    ranks_T
        int64 rank of each token within its cell (0: CLS; 1: the highest), for encoders that read ranks; set by their
        :meth:`~grn_cotrain.nn.cell_encoders.CellEncoder.prepare_batch` before names are hidden. Else None.
    total_B
        float32 total counts of each cell, before features were selected; None where values are log-scale.
    depth_B2
        float32 log1p total counts of the target and of the source (what the encoder is shown), where an objective
        makes them differ; None: both are ``total_B``.
    covariates_BK
        int64 code of each cell in each of ``tokens.covariates``; -1 where the category is not known. Else None.
    prompt_BD
        State of each cell that stands in the place of its CLS at the input (cell-prompted generation), for encoders
        that read it (:attr:`~grn_cotrain.nn.cell_encoders.CellEncoder.reads_prompt`). Else None.
    """

    feature_ids_T: Tensor
    values_T: Tensor
    bins_T: Tensor
    modality_T: Tensor
    cu_lens: Tensor
    max_len: int
    cell_index_B: Tensor
    masked_T: Tensor | None = None
    modality_hidden_T: Tensor | None = None
    ranks_T: Tensor | None = None
    total_B: Tensor | None = None
    depth_B2: Tensor | None = None
    covariates_BK: Tensor | None = None
    prompt_BD: Tensor | None = None

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

    @property
    def hidden_T(self) -> Tensor:
        """bool, True where the value is hidden; all False where ``masked_T`` is None."""
        return torch.zeros_like(self.feature_ids_T, dtype=torch.bool) if self.masked_T is None else self.masked_T

    def with_mask(self, masked_T: Tensor) -> PackedTokens:
        """The same cells with other hidden positions."""
        return replace(self, masked_T=masked_T)

    def to(self, device: torch.device | str) -> PackedTokens:
        """Copy to ``device``."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **(values | moved))
