"""Multi-layer perceptron on pairs of gene rows.

Dimension letters: D width, G genes, H hidden, M pairs, S sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grn_cotrain.config import require
from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, LearnedDecoder

__all__ = ["MLPDecoder"]

_BLOCK_ELEMENTS = 2**23  # hidden values held at once by block(): 32 MiB of float32


@LINK_DECODERS.register("mlp", paper="He et al. 2017, Neural collaborative filtering")
class MLPDecoder(LearnedDecoder):
    r"""One hidden layer on source row, target row and their product.

    .. math::
        h_{st} = \mathrm{rmsnorm}(\mathrm{GELU}(A g_s + B g_t + C (g_s \odot g_t) + d)), \qquad
        z_{st} = \frac{1}{\sqrt{H}}\, w^\top h_{st} + \beta

    Directed, since A and B differ. The hidden layer is normalised, so that :math:`|w^\top h| / \sqrt H \le \|w\|`: a
    penalty on ``w`` alone bounds the logits, and no other weight can grow to escape it.

    Parameters
    ----------
    config
        ``hidden``: H.
    width
        D, width of the gene rows.
    num_genes
        Not used.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Size.

        Attributes
        ----------
        hidden
            Hidden units H.
        """

        hidden: int = 64

        def __post_init__(self) -> None:
            require(self.hidden >= 1, f"hidden: got {self.hidden}; give at least 1")

    def __init__(self, config: Config, *, width: int, num_genes: int) -> None:
        super().__init__()
        del num_genes
        self.source = nn.Linear(width, config.hidden)
        self.target = nn.Linear(width, config.hidden, bias=False)
        self.product = nn.Linear(width, config.hidden, bias=False)
        self.weight_H = nn.Parameter(torch.randn(config.hidden))
        self.bias = nn.Parameter(torch.zeros(()))
        self._norm = 1.0 / math.sqrt(config.hidden)

    def last_layer(self) -> nn.Parameter:
        """Weights of the hidden units."""
        return self.weight_H

    def forward(self, genes_GD: Tensor, pairs_2M: Tensor) -> Tensor:
        """See :class:`LinkDecoder`."""
        source_MD, target_MD = genes_GD[pairs_2M[0]], genes_GD[pairs_2M[1]]
        return self._head(self.source(source_MD) + self.target(target_MD) + self.product(source_MD * target_MD))

    def block(self, genes_GD: Tensor, sources_S: Tensor) -> Tensor:
        """See :class:`LinkDecoder`. Tiles of sources, so that without gradients memory does not grow with S x G x H."""
        target_GH = self.target(genes_GD)
        rows = max(1, _BLOCK_ELEMENTS // max(1, target_GH.numel()))
        tiles = [self._tile(genes_GD, target_GH, tile_S) for tile_S in sources_S.split(rows)]
        return torch.cat(tiles) if tiles else genes_GD.new_zeros(0, len(genes_GD))

    def _tile(self, genes_GD: Tensor, target_GH: Tensor, sources_S: Tensor) -> Tensor:
        source_SD = genes_GD[sources_S]
        # C (s * t) = (C diag(s)) t: one matrix per source, and no S x G x D tensor.
        product_SHD = self.product.weight * source_SD[:, None, :]
        product_SGH = genes_GD @ product_SHD.transpose(1, 2)
        return self._head(self.source(source_SD)[:, None, :] + target_GH + product_SGH)

    def _head(self, hidden: Tensor) -> Tensor:
        activated = F.rms_norm(F.gelu(hidden), (hidden.shape[-1],), eps=1e-6)
        return activated @ self.weight_H * self._norm + self.bias
