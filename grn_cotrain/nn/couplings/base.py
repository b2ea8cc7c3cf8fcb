"""Contract of couplings: how encoded genes enter the cell tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from grn_cotrain.nn.cell_encoders.base import AttentionBias
from grn_cotrain.registry import Registry

__all__ = ["COUPLINGS", "Coupled", "Coupling"]

COUPLINGS: Registry[Coupling] = Registry("coupling", __package__)


@dataclass(frozen=True)
class Coupled:
    """Input of the cell encoder: one row a gene and, optionally, low-rank attention logits (rows = genes)."""

    features_GD: Tensor
    bias: AttentionBias | None = None


class Coupling(nn.Module, ABC):
    """``__init__(config, *, width)``; combines the shared table with the graph encoder's output."""

    Config: ClassVar[type[Any]]

    @abstractmethod
    def forward(self, table_GD: Tensor, graph_GD: Tensor) -> Coupled:
        """Return the gene rows that cell tokens are made of."""
