"""Couplings of graph and cells, one a file."""

from grn_cotrain.nn.couplings.base import COUPLINGS, Coupled, Coupling

__all__ = ["COUPLINGS", "Coupled", "Coupling"]
