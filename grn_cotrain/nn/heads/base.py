"""Contract of classification heads: encoded cells in, one logit a cell and class out.

Dimension letters: B cells, C classes, D width, T packed tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.registry import Registry

__all__ = ["HEADS", "Head"]

HEADS: Registry[Head] = Registry("head", __package__)


class Head(nn.Module, ABC):
    """``__init__(config, *, width, num_classes)``. Each subclass is one file with a ``Config`` dataclass.

    Contract (tests/cases/heads.py): the logits of a cell depend neither on the other cells of the batch nor on the
    order of its tokens, and gradients reach every weight and the states that are read.
    """

    Config: ClassVar[type[Any]]

    @abstractmethod
    def forward(self, batch: PackedTokens, states: CellStates) -> Tensor:
        """Return logits ``[B, C]``; their softmax over C is the probability of each class."""
