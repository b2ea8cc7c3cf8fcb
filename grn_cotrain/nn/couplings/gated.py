"""Coupling ``gated``: a learned gate mixes table rows and encoded genes, per gene and channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grn_cotrain.nn.couplings.base import COUPLINGS, Coupled, Coupling

__all__ = ["GatedCoupling"]


@COUPLINGS.register("gated", paper="Srivastava et al. 2015 (highway networks), applied to encoded genes")
class GatedCoupling(Coupling):
    """Tokens read a gated mixture of the table row and the encoded gene.

    .. math:: z_g = \\sigma(A e_g + B h_g + c), \\qquad f_g = (1 - z_g) \\odot e_g + z_g \\odot W h_g

    Parameters
    ----------
    bias
        Start of ``c``; negative values favour the table. Default -2 (12 % of the encoded gene).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Settings of :class:`GatedCoupling`."""

        bias: float = -2.0

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * width, width)
        self.project = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            nn.init.normal_(self.gate.weight, std=0.02)
            self.gate.bias.fill_(config.bias)
            self.project.weight.copy_(torch.eye(width))

    def forward(self, table_GD: Tensor, graph_GD: Tensor) -> Coupled:
        """Return the gated mixture."""
        gate_GD = torch.sigmoid(self.gate(torch.cat([table_GD, graph_GD], dim=1)))
        return Coupled(torch.lerp(table_GD, self.project(graph_GD).to(table_GD.dtype), gate_GD.to(table_GD.dtype)))
