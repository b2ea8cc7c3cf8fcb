"""Decoders D2, D1 and C: a cell's tokens are read once into a few latents, and the tokens in question ask those.

Dimension letters: Q asked tokens, M tokens that the encoder read, N latents, D width, B cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.nn.cross_attention import CrossAttentionBlock, CrossAttentionStack, Latents
from grn_cotrain.nn.packed_transformer import PackedTransformer
from grn_cotrain.nn.token_subset import TokenSubset
from grn_cotrain.nn.value_decoders.base import Decoded, Encoded, Readout, ValueDecoder, joined

__all__ = ["LatentDecoder"]


class LatentDecoder(ValueDecoder):
    r"""N latents read the encoder's tokens, work among themselves, and answer (Jaegle et al. 2021, Perceiver IO).

    .. math:: Z = \mathrm{blocks}(\mathrm{cross}(Z_0, I)), \qquad h_q = \mathrm{cross}(x_q, Z)

    The blocks cost ``N^2`` instead of ``M^2``, whatever the number of genes. Asked are hidden values (by gene row plus
    mask vector), CLS and hidden names (by their own state), visible non-zeros where ``decode_visible`` (else their
    state is the encoder's), and visible zeros where ``decode_zeros`` (else they get gene row plus zero vector). Asked
    tokens do not see each other. The latents stand for the cell where its state is pooled.

    Parameters
    ----------
    width, num_heads, ffn_width
        Sizes.
    num_latents, latent_layers
        N, and blocks of full attention among latents.
    num_layers
        Layers in which asked tokens read the latents.
    dropout
        After each sub-layer.
    decode_zeros, decode_visible
        Which visible tokens ask too.
    """

    def __init__(
        self,
        width: int,
        *,
        num_latents: int,
        latent_layers: int,
        num_layers: int,
        num_heads: int,
        ffn_width: int,
        dropout: float = 0.0,
        decode_zeros: bool = False,
        decode_visible: bool = False,
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.decode_zeros, self.decode_visible = decode_zeros, decode_visible
        self.latents = Latents(num_latents, width)
        self.read = CrossAttentionBlock(width, num_heads, ffn_width, dropout)
        self.latent_blocks = PackedTransformer(width, latent_layers, num_heads, ffn_width, dropout)
        self.blocks = CrossAttentionStack(width, num_layers, num_heads, ffn_width, dropout)

    def forward(self, encoded: Encoded) -> Decoded:
        """See :class:`ValueDecoder`."""
        read, asked = encoded.read, self.asked(encoded)
        summary_PD, summary_cu, num_latents = self.summary(encoded)
        decoded_QD = self.blocks(
            self.queries(encoded, asked), summary_PD, asked.cu_lens, summary_cu, asked.max_len, num_latents
        )
        parts = [(read.where_M, encoded.states_MD), (asked.where_M, decoded_QD)]
        if not self.decode_zeros:
            parts.insert(0, encoded.zero_states())
        return Decoded(joined(encoded, *parts), summary_PD, summary_cu)

    def summary(self, encoded: Encoded) -> tuple[Tensor, Tensor, int]:
        """Final latents ``[B * N, D]``, their cumulative counts, and N."""
        read = encoded.read
        start_PD, summary_cu = self.latents(encoded.batch.num_cells)
        num_latents = len(self.latents.rows_ND)
        held_PD = self.read(start_PD, encoded.states_MD, summary_cu, read.cu_lens, num_latents, read.max_len)
        return self.latent_blocks(held_PD, summary_cu, num_latents), summary_cu, num_latents

    def asked(self, encoded: Encoded) -> TokenSubset:
        """Tokens that read the latents."""
        batch, read_T = encoded.batch, encoded.read_T
        asked_T = batch.hidden_T | (batch.feature_ids_T < NUM_SPECIAL)
        if self.decode_visible:
            asked_T = asked_T | read_T
        if self.decode_zeros:
            asked_T = asked_T | ~read_T
        return TokenSubset.of(batch, asked_T)

    @staticmethod
    def queries(encoded: Encoded, asked: TokenSubset) -> Tensor:
        """Queries ``[Q, D]``: a token's own state where it has one, else gene row plus zero or mask vector."""
        shown_QD = encoded.rows(asked.where_M) + encoded.value_rows(asked.where_M)
        slot_T = encoded.read.where_M.new_full((encoded.batch.num_tokens,), -1)
        slot_T[encoded.read.where_M] = torch.arange(len(encoded.read), device=slot_T.device)
        slot_Q = slot_T[asked.where_M]
        has_state_Q = torch.nonzero(slot_Q >= 0).squeeze(1)
        return shown_QD.index_copy(0, has_state_Q, encoded.states_MD[slot_Q[has_state_Q]].to(shown_QD.dtype))

    def attention(self, encoded: Encoded, layers: frozenset[int]) -> Iterator[Readout]:
        """See :class:`ValueDecoder`; the product of both ways: what is asked of latents times what they have read."""
        read, asked = encoded.read, self.asked(encoded)
        start_PD, summary_cu = self.latents(encoded.batch.num_cells)
        q_PHK, k_MHK, v_MHK = self.read.heads(start_PD, encoded.states_MD)
        summary_PD = self.summary(encoded)[0]
        answers = self.blocks.attention(
            self.queries(encoded, asked), summary_PD, asked.cu_lens, summary_cu, layers=layers
        )
        places = zip(asked.places(encoded.batch), read.places(encoded.batch), strict=True)
        segments = zip(pairwise(summary_cu.tolist()), pairwise(read.cu_lens.tolist()), strict=True)
        for (rows_Q, columns_M), ((p_start, p_end), (m_start, m_end)), answer_QN in zip(
            places, segments, answers, strict=True
        ):
            taken_NM = self.read.read_and_weights(q_PHK[p_start:p_end], k_MHK[m_start:m_end], v_MHK[m_start:m_end])[1]
            yield rows_Q, columns_M, answer_QN @ taken_NM.float()
