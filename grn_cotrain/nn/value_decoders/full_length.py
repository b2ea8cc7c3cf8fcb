"""Full-length decoder, as xTrimoGene was published: linear attention over every token.

Dimension letters: T packed tokens, D width, W width of the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from grn_cotrain.nn.performer import PackedPerformer
from grn_cotrain.nn.value_decoders.base import Decoded, Encoded, Readout, ValueDecoder, joined

__all__ = ["FullLengthDecoder"]


class FullLengthDecoder(ValueDecoder):
    r"""Gene row joined to encoder state, zero or mask vector; a linear map; Performer (Gong et al. 2023, equations 3,
    4).

    .. math:: I_{full} = W_p [g, x] + b_p, \qquad I_{decoder} = \mathrm{Performer}(I_{full})

    where ``x`` is the encoder's state of a visible non-zero, and the zero's or the mask's learned vector elsewhere.
    (Equation 3 writes the sum over the three kinds of token as one concatenation; the text states that the gene's row
    is concatenated to each.) ``W_p`` is kept as its two halves, ``W_g g + W_x x``: the same map, and as zeros and masks
    show two vectors only, the second half is computed for the encoder's tokens alone. A last linear map leads from the
    decoder's width back to D. Visible non-zeros keep the encoder's state; what becomes of them here serves the others.

    Parameters
    ----------
    width, decoder_width
        D and W.
    num_layers, num_heads, ffn_width
        Size of the decoder.
    dropout
        After each sub-layer.
    num_features
        Random features of each block; None: K log K for heads of width K.
    """

    def __init__(
        self,
        width: int,
        *,
        decoder_width: int,
        num_layers: int,
        num_heads: int,
        ffn_width: int,
        dropout: float = 0.0,
        num_features: int | None = None,
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.from_gene = nn.Linear(width, decoder_width)
        self.from_state = nn.Linear(width, decoder_width, bias=False)
        self.blocks = PackedPerformer(decoder_width, num_layers, num_heads, ffn_width, dropout, num_features)
        self.to_width = nn.Linear(decoder_width, width)

    def forward(self, encoded: Encoded) -> Decoded:
        """See :class:`ValueDecoder`."""
        batch, read = encoded.batch, encoded.read
        decoded_TW = self.blocks(self.inputs(encoded), batch.cu_lens, batch.max_len)
        every_T = torch.arange(batch.num_tokens, device=read.where_M.device)
        tokens_TD = joined(encoded, (every_T, self.to_width(decoded_TW)), (read.where_M, encoded.states_MD))
        return Decoded(tokens_TD, encoded.states_MD, read.cu_lens, read.where_M)

    def inputs(self, encoded: Encoded) -> Tensor:
        """``I_full`` of equation 3: ``[T, W]``."""
        mask_W, zero_W = self.from_state(torch.stack([encoded.mask_D, encoded.zero_D]))
        shown_TW = torch.where(encoded.batch.hidden_T[:, None], mask_W, zero_W)
        states_MW = self.from_state(encoded.states_MD).to(shown_TW.dtype)
        shown_TW = shown_TW.index_copy(0, encoded.read.where_M, states_MW)
        gene_TW: Tensor = self.from_gene(encoded.rows_TD)
        return gene_TW + shown_TW

    def attention(self, encoded: Encoded, layers: frozenset[int]) -> Iterator[Readout]:
        """See :class:`ValueDecoder`."""
        shares = self.blocks.attention(self.inputs(encoded), encoded.batch.cu_lens, layers=sorted(layers))
        for share_LL in shares:
            every_L = torch.arange(len(share_LL), device=share_LL.device)
            yield every_L, every_L, share_LL
