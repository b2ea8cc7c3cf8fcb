"""Inner product of gene rows.

Dimension letters: D width, X any number of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, FactoredDecoder

__all__ = ["InnerDecoder"]


@LINK_DECODERS.register("inner", paper="Kipf & Welling 2016, Variational graph auto-encoders")
class InnerDecoder(FactoredDecoder):
    r"""Symmetric inner product with a learned scale and bias.

    .. math:: z_{st} = \frac{\alpha}{\sqrt{D}}\, g_s^\top g_t + \beta

    Symmetric by construction: it cannot distinguish TF -> target from target -> TF. Rows of unit RMS give logits of
    unit variance at the start (alpha = 1).

    Parameters
    ----------
    config
        No options.
    width
        D, width of the gene rows.
    num_genes
        Not used.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int, num_genes: int) -> None:
        super().__init__()
        del config, num_genes
        self.scale = nn.Parameter(torch.ones(()))
        self._norm = 1.0 / math.sqrt(width)

    def query(self, rows_XD: Tensor) -> Tensor:
        """See :class:`FactoredDecoder`."""
        return rows_XD * (self.scale * self._norm)

    def last_layer(self) -> nn.Parameter:
        """The scale."""
        return self.scale
