"""Head ``max_pool_linear``: largest entries over a cell's gene states, then a linear map.

Dimension letters: B cells, C classes, D width, T packed tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.nn.heads.base import HEADS, Head
from grn_cotrain.nn.pooling import pool_cells

__all__ = ["MaxPoolLinear"]


@HEADS.register("max_pool_linear", paper="xTrimoGene (Gong et al. 2023), cell type annotation (App. 8.1)")
class MaxPoolLinear(Head):
    r"""Max-pooling over the states of a cell's genes, then a linear map.

    .. math:: \mathrm{logits}_b = W \max_{t \in b} h_t + a

    The maximum is taken entry by entry over the packed segment of each cell, without padding. CLS and visible zeros
    are left out, as the published encoder reads non-zero genes alone; a cell without a gene takes the state of its CLS.

    Parameters
    ----------
    config
        See :class:`Config`.
    width
        D.
    num_classes
        C.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """How states are pooled.

        Attributes
        ----------
        pooling
            ``max`` as published, or ``mean``.
        """

        pooling: Literal["max", "mean"] = "max"

    def __init__(self, config: Config, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(width, num_classes)

    def forward(self, batch: PackedTokens, states: CellStates) -> Tensor:
        """See :class:`Head`."""
        return self.linear(pool_cells(batch, states.tokens_TD, self.config.pooling))
