"""Diagonal bilinear form of gene rows.

Dimension letters: D width, X any number of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, FactoredDecoder

__all__ = ["DistMultDecoder"]


@LINK_DECODERS.register("distmult", paper="Yang et al. 2015, Embedding entities and relations (DistMult)")
class DistMultDecoder(FactoredDecoder):
    r"""Inner product with one learned weight per dimension.

    .. math:: z_{st} = \frac{1}{\sqrt{D}} \sum_d w_d\, g_{sd}\, g_{td} + \beta

    Symmetric, as in the paper; equal to ``inner`` at the start (w = 1), then free to use or ignore dimensions.
    """

    def __init__(self, config: FactoredDecoder.Config, *, width: int, **_: Any) -> None:
        super().__init__(config, width=width)
        self.weight_D = nn.Parameter(torch.ones(width))

    def query(self, rows_XD: Tensor) -> Tensor:
        """See :class:`FactoredDecoder`."""
        return rows_XD * (self.weight_D * self._norm)

    def last_layer(self) -> nn.Parameter:
        """The weights."""
        return self.weight_D
