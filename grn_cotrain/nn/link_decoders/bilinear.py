"""Full bilinear form of gene rows.

Dimension letters: D width, X any number of rows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, FactoredDecoder

__all__ = ["BilinearDecoder"]


@LINK_DECODERS.register("bilinear", paper="Nickel et al. 2011, A three-way model for collective learning (RESCAL)")
class BilinearDecoder(FactoredDecoder):
    r"""Directed bilinear form: sources and targets play different roles.

    .. math:: z_{st} = \frac{1}{\sqrt{D}}\, g_s^\top W g_t + \beta

    ``W`` starts as N(0, 1/D), so that rows of unit RMS give logits of unit variance.
    """

    def __init__(self, config: FactoredDecoder.Config, *, width: int, **_: Any) -> None:
        super().__init__(config, width=width)
        self.weight_DD = nn.Parameter(torch.randn(width, width) / math.sqrt(width))

    def query(self, rows_XD: Tensor) -> Tensor:
        """See :class:`FactoredDecoder`."""
        return (rows_XD @ self.weight_DD) * self._norm

    def last_layer(self) -> nn.Parameter:
        """The matrix."""
        return self.weight_DD
