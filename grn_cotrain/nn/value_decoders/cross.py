"""Decoder A: the tokens in question ask the encoder's tokens, and nothing else.

Dimension letters: Q asked tokens, M tokens that the encoder read, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from grn_cotrain.data.vocab import MASK_ID
from grn_cotrain.nn.cross_attention import CrossAttentionStack
from grn_cotrain.nn.token_subset import TokenSubset
from grn_cotrain.nn.value_decoders.base import Decoded, Encoded, Readout, ValueDecoder, bias_factors, joined

__all__ = ["CrossDecoder"]


class CrossDecoder(ValueDecoder):
    """Cross-attention layers whose queries are the hidden tokens: gene row plus mask vector.

    Queries do not see each other, so decoding a tenth of the genes in training and all of them afterwards is one and
    the same function. Visible zeros are not asked unless ``decode_zeros``: they get their gene row plus zero vector.

    Parameters
    ----------
    width, num_layers, num_heads, ffn_width
        Sizes.
    dropout
        After each sub-layer.
    decode_zeros
        Ask for the state of visible zeros too.
    """

    def __init__(
        self,
        width: int,
        *,
        num_layers: int,
        num_heads: int,
        ffn_width: int,
        dropout: float = 0.0,
        decode_zeros: bool = False,
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.decode_zeros = decode_zeros
        self.blocks = CrossAttentionStack(width, num_layers, num_heads, ffn_width, dropout)

    def forward(self, encoded: Encoded) -> Decoded:
        """See :class:`ValueDecoder`."""
        read, asked = encoded.read, self.asked(encoded)
        decoded_QD = self.blocks(
            self.queries(encoded, asked),
            encoded.states_MD,
            asked.cu_lens,
            read.cu_lens,
            asked.max_len,
            read.max_len,
            bias_factors(encoded, asked.where_M, read.where_M),
        )
        parts = [(asked.where_M, decoded_QD), (read.where_M, encoded.states_MD)]
        if not self.decode_zeros:
            parts.insert(0, encoded.zero_states())
        return Decoded(joined(encoded, *parts), encoded.states_MD, read.cu_lens, read.where_M)

    def asked(self, encoded: Encoded) -> TokenSubset:
        """Hidden values, zeros of a hidden name, and visible zeros where they are wanted."""
        batch, unread_T = encoded.batch, ~encoded.read_T
        wanted_T = unread_T if self.decode_zeros else batch.hidden_T | (batch.feature_ids_T == MASK_ID)
        return TokenSubset.of(batch, unread_T & wanted_T)

    @staticmethod
    def queries(encoded: Encoded, asked: TokenSubset) -> Tensor:
        """Queries: ``[Q, D]``."""
        return encoded.rows(asked.where_M) + encoded.value_rows(asked.where_M)

    def attention(self, encoded: Encoded, layers: frozenset[int]) -> Iterator[Readout]:
        """See :class:`ValueDecoder`."""
        read, asked = encoded.read, self.asked(encoded)
        weights = self.blocks.attention(
            self.queries(encoded, asked),
            encoded.states_MD,
            asked.cu_lens,
            read.cu_lens,
            bias_factors(encoded, asked.where_M, read.where_M),
            layers=layers,
        )
        yield from zip(asked.places(encoded.batch), read.places(encoded.batch), weights, strict=True)
