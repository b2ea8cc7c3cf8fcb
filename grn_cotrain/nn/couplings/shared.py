"""Coupling ``shared``: graph and cells meet in the shared table alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grn_cotrain.nn.couplings.base import COUPLINGS, Coupled, Coupling

__all__ = ["SharedCoupling"]


@COUPLINGS.register("shared", paper="Kommu, Dip & Wang: co-training of masked modelling and GRN link prediction")
class SharedCoupling(Coupling):
    """Tokens read the shared table; the graph reaches them only through the table's gradients.

    .. math:: f_g = e_g

    The founding paper's coupling: both branches optimise one table, neither reads the other's output.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No settings."""

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        del config, width

    def forward(self, table_GD: Tensor, graph_GD: Tensor) -> Coupled:
        """Return the table rows; ``graph_GD`` is not read."""
        del graph_GD
        return Coupled(table_GD)
