"""Coupling ``residual``: encoded genes are added to the table rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grn_cotrain.nn.couplings.base import COUPLINGS, Coupled, Coupling

__all__ = ["ResidualCoupling"]


@COUPLINGS.register("residual", paper="He et al. 2016 (residual learning), applied to encoded genes")
class ResidualCoupling(Coupling):
    """Tokens read the table row plus a linear image of the encoded gene.

    .. math:: f_g = e_g + W h_g

    ``W`` starts small (``gain`` times the identity), so that a run begins near the ``shared`` coupling and learns how
    much of the network its tokens need, while gradients of masked values reach the graph encoder from the first step.

    Parameters
    ----------
    gain
        Scale of the identity that ``W`` starts from. Default 0.1.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`ResidualCoupling`."""

        gain: float = 0.1

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            self.project.weight.copy_(config.gain * torch.eye(width))

    def forward(self, table_GD: Tensor, graph_GD: Tensor) -> Coupled:
        """Return ``table + W graph``."""
        return Coupled(table_GD + self.project(graph_GD))
