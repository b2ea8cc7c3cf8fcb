"""Contract of cell encoders: packed tokens in, token and cell states out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.cells import CellMatrix
from grn_cotrain.registry import Registry

__all__ = ["CELL_ENCODERS", "AttentionBias", "CellEncoder", "CellStates"]

CELL_ENCODERS: Registry[CellEncoder] = Registry("cell_encoder", __package__)


@dataclass(frozen=True)
class AttentionBias:
    """Low-rank additive attention logits per pair of features: ``bias[i, j] = query_VR[i] . key_VR[j]``.

    The encoder adds it to the scaled attention logits of every head; R is small, so no V x V matrix is ever built.
    """

    query_VR: Tensor
    key_VR: Tensor


@dataclass(frozen=True)
class CellStates:
    """``tokens_TD`` final state of every packed token, ``cells_BD`` one state per cell."""

    tokens_TD: Tensor
    cells_BD: Tensor


class CellEncoder(nn.Module, ABC):
    """Encoder of packed cells over shared gene features.

    ``__init__(config, *, width, num_bins, num_modalities, num_genes)``. Each subclass is one file with a
    ``Config`` dataclass.
    Contract (tests/cases/cell_encoders.py): the output of a cell depends neither on the other cells of the batch nor
    on the order of its tokens; hidden values (``batch.masked_T``) are never read; two evaluation passes are equal.
    """

    Config: ClassVar[type[Any]]

    def prepare(self, cells: CellMatrix, rows_C: np.ndarray) -> None:
        """Receive the training cells once, before training, for statistics kept as buffers. Default: nothing."""
        del cells, rows_C

    @abstractmethod
    def forward(self, batch: CellBatch, features_VD: Tensor, bias: AttentionBias | None = None) -> CellStates:
        """Encode ``batch``; ``features_VD`` holds the rows of the special tokens first, then one row a feature."""
