"""Diagonal bilinear form of gene rows.

Dimension letters: D width, X any number of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, FactoredDecoder

__all__ = ["DistMultDecoder"]


@LINK_DECODERS.register("distmult", paper="Yang et al. 2015, Embedding entities and relations (DistMult)")
class DistMultDecoder(FactoredDecoder):
    r"""Inner product with one learned weight per dimension.

    .. math:: z_{st} = \frac{1}{\sqrt{D}} \sum_d w_d\, g_{sd}\, g_{td} + \beta

    Symmetric, as in the paper; equal to ``inner`` at the start (w = 1), then free to use or ignore dimensions.

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
        self.weight_D = nn.Parameter(torch.ones(width))
        self._norm = 1.0 / math.sqrt(width)

    def query(self, rows_XD: Tensor) -> Tensor:
        """See :class:`FactoredDecoder`."""
        return rows_XD * (self.weight_D * self._norm)

    def last_layer(self) -> nn.Parameter:
        """The weights."""
        return self.weight_D
