"""Inner product of gene rows.

Dimension letters: D width, X any number of rows.
"""

from __future__ import annotations

from typing import Any

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
    """

    def __init__(self, config: FactoredDecoder.Config, *, width: int, **_: Any) -> None:
        super().__init__(config, width=width)
        self.scale = nn.Parameter(torch.ones(()))

    def query(self, rows_XD: Tensor) -> Tensor:
        """See :class:`FactoredDecoder`."""
        return rows_XD * (self.scale * self._norm)

    def last_layer(self) -> nn.Parameter:
        """The scale."""
        return self.scale
