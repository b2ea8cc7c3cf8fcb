"""Coupling ``attention_bias``: encoded genes bias who attends to whom."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.nn.cell_encoders.base import AttentionBias
from grn_cotrain.nn.couplings.base import COUPLINGS, Coupled, Coupling

__all__ = ["AttentionBiasCoupling"]


@COUPLINGS.register("attention_bias", paper="Ying et al. 2021 (Graphormer's attention bias), in low-rank form")
class AttentionBiasCoupling(Coupling):
    """Tokens read the table; the encoded genes add a low-rank term to the attention logits of every head.

    .. math:: f_g = e_g, \\qquad b_{ij} = (P h_i)^\\top (Q h_j), \\quad P, Q \\in R^{r \\times D}

    ``P`` starts at zero, so attention starts unbiased; the rank keeps the cost at ``r`` extra columns of queries and
    keys, where a dense bias would need a V x V matrix.

    Parameters
    ----------
    rank
        ``r``. Default 8.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`AttentionBiasCoupling`."""

        rank: int = 8

        def __post_init__(self) -> None:
            require(self.rank >= 1, f"rank: got {self.rank}; give at least 1")

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, config.rank, bias=False)
        self.key = nn.Linear(width, config.rank, bias=False)
        nn.init.zeros_(self.query.weight)

    def forward(self, table_GD: Tensor, graph_GD: Tensor) -> Coupled:
        """Return the table rows and the low-rank attention logits."""
        return Coupled(table_GD, AttentionBias(self.query(graph_GD), self.key(graph_GD)))
