"""xTrimoGene against its equations, and what its encoder and its decoders may and may not look at.

Dimension letters: T packed tokens, M tokens that the encoder reads, V vocabulary, D width, L tokens of one cell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import CLS_ID, MASK_ID, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, AttentionBias
from grn_cotrain.nn.cell_encoders.xtrimogene import FORMS, XTrimoGeneEncoder
from grn_cotrain.nn.packed_transformer import TransformerBlock
from grn_cotrain.nn.performer import PerformerBlock
from grn_cotrain.nn.value_decoders import CrossDecoder, FullLengthDecoder, LatentDecoder

WIDTH, GENES = 12, 40
LATENT = {"num_latents": 4, "latent_layers": 2, "num_heads": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "published": {"num_layers": 2, "num_heads": 3},
    "A": {"num_layers": 2, "num_heads": 3},
    "D2": LATENT,
    "D1": LATENT,
    "C": LATENT,
}
BY_QUERIES = ["A", "D2", "D1", "C"]


def _encoder(decoder: str, **options: Any) -> XTrimoGeneEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(
            "xtrimogene",
            {"decoder": decoder, **OPTIONS[decoder], **options},
            width=WIDTH,
            num_bins=5,
            num_modalities=3,
            num_genes=GENES,
        )
    assert isinstance(encoder, XTrimoGeneEncoder)
    return encoder.double().eval()


def _features() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(NUM_SPECIAL + GENES, WIDTH, generator=generator).double()


def _batch(num_cells: int = 3, *, genes: int = GENES, seed: int = 2) -> PackedTokens:
    """Every gene a token; each cell has visible and hidden values and zeros."""
    generator = torch.Generator().manual_seed(seed)
    ids, values, masked = [], [], []
    for _ in range(num_cells):
        value = torch.rand(genes, generator=generator).double() * 5 + 0.1
        value[torch.rand(genes, generator=generator) < 0.6] = 0
        ids.append(torch.cat([torch.tensor([CLS_ID]), NUM_SPECIAL + torch.randperm(genes, generator=generator)]))
        values.append(torch.cat([torch.zeros(1).double(), value]))
        hidden = torch.rand(genes + 1, generator=generator) < 0.3
        hidden[0] = False
        masked.append(hidden)
    ids_T = torch.cat(ids)
    return PackedTokens(
        feature_ids_T=ids_T,
        values_T=torch.cat(values),
        bins_T=torch.zeros_like(ids_T),
        modality_T=torch.zeros_like(ids_T),
        cu_lens=(torch.arange(num_cells + 1) * (genes + 1)).int(),
        max_len=genes + 1,
        cell_index_B=torch.arange(num_cells),
        masked_T=torch.cat(masked),
    )


def _kept(batch: PackedTokens, keep_T: Tensor) -> PackedTokens:
    """The batch without some of its tokens."""
    cells = batch.cell_of_token_T[keep_T]
    cu_lens = F.pad(torch.bincount(cells, minlength=batch.num_cells).cumsum(0), (1, 0)).int()
    assert batch.masked_T is not None
    return replace(
        batch,
        feature_ids_T=batch.feature_ids_T[keep_T],
        values_T=batch.values_T[keep_T],
        bins_T=batch.bins_T[keep_T],
        modality_T=batch.modality_T[keep_T],
        masked_T=batch.masked_T[keep_T],
        cu_lens=cu_lens,
        max_len=int(cu_lens.diff().max()),
    )


# ---- the published form, from its equations --------------------------------------------------------------------------


def _dense_block(block: TransformerBlock, x_LD: Tensor) -> Tensor:
    """Full attention and feed-forward part of one cell, head by head."""
    length, heads = len(x_LD), block.num_heads
    normed_LD = F.layer_norm(x_LD, x_LD.shape[1:], block.attention_norm.weight, block.attention_norm.bias)
    q, k, v = (normed_LD @ block.qkv.weight.T + block.qkv.bias).chunk(3, dim=1)
    reads = []
    for head in range(heads):
        at = slice(head * block.head_width, (head + 1) * block.head_width)
        scores_LL = q[:, at] @ k[:, at].T / block.head_width**0.5
        share_LL = scores_LL.exp() / scores_LL.exp().sum(1, keepdim=True)
        assert share_LL.shape == (length, length)
        reads.append(share_LL @ v[:, at])
    x_LD = x_LD + torch.cat(reads, dim=1) @ block.attention_out.weight.T + block.attention_out.bias
    normed_LD = F.layer_norm(x_LD, x_LD.shape[1:], block.ffn_norm.weight, block.ffn_norm.bias)
    up = F.gelu(normed_LD @ block.ffn_up.weight.T + block.ffn_up.bias)
    return x_LD + up @ block.ffn_down.weight.T + block.ffn_down.bias


def _dense_stack(stack: Any, x_LD: Tensor) -> Tensor:
    for block in stack.blocks:
        x_LD = _dense_block(block, x_LD)
    return F.layer_norm(x_LD, x_LD.shape[1:], stack.final_norm.weight, stack.final_norm.bias)


def _published_by_hand(encoder: XTrimoGeneEncoder, batch: PackedTokens, features_VD: Tensor) -> Tensor:
    """Equations 1 to 4, cell by cell, token by token."""
    decoder = encoder.decoder
    assert isinstance(decoder, FullLengthDecoder)
    w_p = torch.cat([decoder.from_gene.weight, decoder.from_state.weight], dim=1)
    states = []
    for cell in range(batch.num_cells):
        tokens = range(int(batch.cu_lens[cell]), int(batch.cu_lens[cell + 1]))
        genes_LD = torch.stack([features_VD[batch.feature_ids_T[t]] for t in tokens])
        value = [float(batch.values_T[t]) for t in tokens]
        hidden = [bool(batch.hidden_T[t]) for t in tokens]
        seen = [i for i, t in enumerate(tokens) if t == tokens[0] or (value[i] != 0 and not hidden[i])]
        inputs = [genes_LD[i] + (0 if i == 0 else encoder.values(torch.tensor([value[i]]).double())[0]) for i in seen]
        encoded_MD = _dense_stack(encoder.trunk, torch.stack(inputs))
        shown = []
        for i in range(len(tokens)):
            if i in seen:
                shown.append(encoded_MD[seen.index(i)])
            else:
                shown.append(encoder.values.mask_D if hidden[i] else encoder.values.zero_D)
        full_LW = torch.cat([genes_LD, torch.stack(shown)], dim=1) @ w_p.T + decoder.from_gene.bias
        decoded_LD = decoder.to_width(_dense_stack(decoder.blocks, full_LW))
        states += [encoded_MD[seen.index(i)] if i in seen else decoded_LD[i] for i in range(len(tokens))]
    return torch.stack(states)


def test_published_form_equals_the_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """With exact attention in the place of its random features."""
    monkeypatch.setattr(PerformerBlock, "attend", TransformerBlock.attend)
    encoder, batch, features = _encoder("published"), _batch(), _features()
    found = encoder(batch, features)
    torch.testing.assert_close(found.tokens_TD, _published_by_hand(encoder, batch, features))
    assert torch.equal(found.cells_BD, found.tokens_TD[batch.cls_positions_B])


def test_published_form_comes_near_the_equations_with_many_features() -> None:
    batch, features = _batch(), 0.3 * _features()

    def error(num_features: int) -> float:
        encoder = _encoder("published", num_features=num_features)
        expected = _published_by_hand(encoder, batch, features)
        decoded_T = batch.hidden_T | (batch.values_T == 0) & (batch.feature_ids_T != CLS_ID)
        gap = (encoder(batch, features).tokens_TD - expected)[decoded_T]
        return float((gap.norm() / expected[decoded_T].norm()).detach())

    assert error(4000) < 0.02
    assert error(4000) < error(4)


def test_published_decoder_is_half_as_deep_with_two_thirds_of_the_heads() -> None:
    def build(width: int, **options: Any) -> FullLengthDecoder:
        config = CELL_ENCODERS.config("xtrimogene", options)
        decoder = config.build_decoder(width, options["num_heads"])
        assert isinstance(decoder, FullLengthDecoder)
        return decoder

    def sizes(decoder: FullLengthDecoder) -> tuple[int, int, int, int]:
        block = decoder.blocks.blocks[0]
        return len(decoder.blocks.blocks), block.num_heads, block.head_width, decoder.from_gene.out_features

    assert sizes(build(24, num_heads=12, num_layers=12)) == (6, 8, 2, 16)
    assert sizes(build(24, num_heads=4, num_layers=5)) == (2, 3, 6, 18)
    assert sizes(build(24, num_heads=6, num_layers=1, decoder_width=10)) == (1, 2, 5, 10)
    assert sizes(build(24, num_heads=12, decoder_layers=1, decoder_width=24)) == (1, 8, 3, 24)


# ---- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", sorted(FORMS))
def test_encoder_never_touches_zeros_or_hidden_tokens(decoder: str) -> None:
    encoder, batch, features = _encoder(decoder), _batch(), _features().requires_grad_()
    seen_T = (batch.feature_ids_T == CLS_ID) | ((batch.values_T != 0) & ~batch.hidden_T)
    calls = []
    handle = encoder.trunk.register_forward_hook(lambda module, inputs, output: calls.append(inputs))
    states = encoder(batch, features)
    handle.remove()
    ((inputs_MD, cu_lens, max_len, _),) = calls
    assert inputs_MD.shape == (int(seen_T.sum()), WIDTH)
    assert cu_lens.diff().tolist() == torch.bincount(batch.cell_of_token_T[seen_T]).tolist()
    assert max_len == int(cu_lens.diff().max())

    # Another set of zeros and hidden tokens, with other names and values: what the encoder makes stays the same.
    ids_T = torch.where(seen_T, batch.feature_ids_T, NUM_SPECIAL + (batch.feature_ids_T + 7) % GENES)
    values_T = torch.where(batch.hidden_T, torch.nan, batch.values_T)
    tampered = encoder.encode(replace(batch, feature_ids_T=ids_T, values_T=values_T), features, None)
    assert torch.equal(tampered.states_MD, encoder.encode(batch, features, None).states_MD)
    fewer = encoder(_kept(batch, seen_T), features)
    torch.testing.assert_close(fewer.tokens_TD, states.tokens_TD[seen_T])
    torch.testing.assert_close(fewer.cells_BD, states.cells_BD)


@pytest.mark.parametrize("decoder", sorted(FORMS))
def test_hidden_and_zero_tokens_get_states_that_know_the_cell(decoder: str) -> None:
    encoder, batch, features = _encoder(decoder), _batch(1), _features()
    seen = int(torch.nonzero((batch.values_T != 0) & ~batch.hidden_T)[0])
    other = replace(batch, values_T=batch.values_T.index_fill(0, torch.tensor([seen]), 4.9))
    moved_T = (encoder(other, features).tokens_TD - encoder(batch, features).tokens_TD).abs().sum(1) > 1e-9
    assert moved_T[batch.hidden_T].all()
    zero_T = (batch.values_T == 0) & ~batch.hidden_T & (batch.feature_ids_T != CLS_ID)
    assert moved_T[zero_T].all() == (decoder == "published")
    assert moved_T[0]
    if decoder != "published":
        plain = features[batch.feature_ids_T[zero_T]] + encoder.values.zero_D
        torch.testing.assert_close(encoder(batch, features).tokens_TD[zero_T], plain)
        asked = _encoder(decoder, decode_zeros=True)
        moved_T = (asked(other, features).tokens_TD - asked(batch, features).tokens_TD).abs().sum(1) > 1e-9
        assert moved_T[zero_T].all()


@pytest.mark.parametrize("decoder", BY_QUERIES)
def test_asking_for_some_genes_or_for_all_is_the_same_function(decoder: str) -> None:
    """Zeros are hidden too, more and more of them: what the encoder reads is the same, the queries are not."""
    encoder, batch, features = _encoder(decoder), _batch(), _features()
    zero_T = (batch.values_T == 0) & (batch.feature_ids_T != CLS_ID)
    generator = torch.Generator().manual_seed(5)
    assert batch.masked_T is not None
    every = encoder(batch.with_mask(batch.masked_T | zero_T), features)
    for share in (0.0, 0.2, 0.7):
        some_T = torch.where(zero_T, torch.rand(len(zero_T), generator=generator) < share, batch.masked_T)
        some = encoder(batch.with_mask(some_T), features)
        torch.testing.assert_close(some.tokens_TD[some_T], every.tokens_TD[some_T])
        torch.testing.assert_close(some.cells_BD, every.cells_BD)
        # Nor need the others be there at all.
        keep_T = some_T | ~zero_T
        kept = encoder(_kept(batch.with_mask(some_T), keep_T), features)
        torch.testing.assert_close(kept.tokens_TD, some.tokens_TD[keep_T])


@pytest.mark.parametrize(("decoder", "decode_visible"), [("D2", None), ("D1", None), ("C", None), ("C", False)])
def test_visible_states_with_latents(decoder: str, decode_visible: bool | None) -> None:
    encoder, batch, features = _encoder(decoder, decode_visible=decode_visible), _batch(1), _features()
    read = encoder.encode(batch, features, None)
    states = encoder(batch, features).tokens_TD[read.read.where_M]
    through_latents = (states - read.states_MD).abs().sum(1) > 1e-9
    assert through_latents[0]  # CLS always asks
    assert through_latents[1:].all() == (decoder == "C" and decode_visible is None)
    assert through_latents[1:].any() == (decoder == "C" and decode_visible is None)
    # Hidden names do too, or nothing would tell them by what the cell is.
    ids_T = batch.feature_ids_T.clone()
    ids_T[read.read.where_M[2]] = MASK_ID
    hidden = replace(batch, feature_ids_T=ids_T)
    asked = encoder(hidden, features).tokens_TD[read.read.where_M[2]]
    assert not torch.allclose(asked, encoder.encode(hidden, features, None).states_MD[2])


@pytest.mark.parametrize("decoder", sorted(FORMS))
def test_nothing_hidden_and_nothing_but_cls(decoder: str) -> None:
    encoder, batch, features = _encoder(decoder), _batch(), _features()
    assert torch.isfinite(encoder(replace(batch, masked_T=None), features).tokens_TD).all()
    bare = _kept(batch, batch.feature_ids_T == CLS_ID)
    assert torch.isfinite(encoder(bare, features).cells_BD).all()


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("decoder", ["published", "A", "D1", "C"])
def test_cells_are_pooled_over_what_the_encoder_read_or_over_latents(decoder: str, pooling: str) -> None:
    encoder, batch, features = _encoder(decoder, pooling=pooling), _batch(), _features()
    encoded = encoder.encode(batch, features, None)
    if isinstance(encoder.decoder, LatentDecoder):
        rows_PD, cu_lens, _ = encoder.decoder.summary(encoded)
    else:
        rows_PD, cu_lens = encoded.states_MD, encoded.read.cu_lens
    pooled = [part.amax(0) if pooling == "max" else part.mean(0) for part in rows_PD.split(cu_lens.diff().tolist())]
    torch.testing.assert_close(encoder(batch, features).cells_BD, torch.stack(pooled))


# ---- read-outs -------------------------------------------------------------------------------------------------------


def _bias() -> AttentionBias:
    generator = torch.Generator().manual_seed(4)
    query_VR, key_VR = torch.randn(2, NUM_SPECIAL + GENES, 2, generator=generator).double()
    return AttentionBias(query_VR, key_VR)


@pytest.mark.parametrize("decoder", sorted(FORMS))
def test_readouts_say_who_reads_whom(decoder: str) -> None:
    encoder, batch, features = _encoder(decoder), _batch(2), _features()
    bias = None if decoder == "C" else _bias()
    seen_T = (batch.feature_ids_T == CLS_ID) | ((batch.values_T != 0) & ~batch.hidden_T)
    depth = len(encoder.trunk.blocks)
    for cell, share_LL in enumerate(encoder.attention(batch, features, bias)):
        at = batch.cell_of_token_T == cell
        seen_L, hidden_L = seen_T[at], batch.hidden_T[at]
        if decoder != "published":
            assert (share_LL[:, ~seen_L] == 0).all()  # nobody reads a zero or a hidden token
            assert (share_LL[~seen_L & ~hidden_L] == 0).all()  # and visible zeros read nobody
        read_L = seen_L | hidden_L if decoder != "published" else torch.ones_like(seen_L)
        torch.testing.assert_close(share_LL[read_L].sum(1), torch.ones(int(read_L.sum())))
    # The encoder's blocks come first, the decoder's layers after them.
    if depth:
        for cell, share_LL in enumerate(encoder.attention(batch, features, bias, layers=range(depth))):
            sums_L = share_LL.sum(1)
            torch.testing.assert_close(sums_L, seen_T[batch.cell_of_token_T == cell].float())
    for cell, share_LL in enumerate(encoder.attention(batch, features, bias, layers=[-1])):
        assert (share_LL[batch.hidden_T[batch.cell_of_token_T == cell]].sum(1) > 0.99).all()


def test_readout_by_way_of_latents_is_the_product_of_both_ways() -> None:
    encoder, batch, features = _encoder("C", decoder_layers=1), _batch(1), _features()
    decoder = encoder.decoder
    assert isinstance(decoder, LatentDecoder)
    encoded = encoder.encode(batch, features, None)
    (share_LL,) = encoder.attention(batch, features)

    def weights(block: Any, asks: Tensor, answers: Tensor) -> Tensor:
        q, k, _ = block.heads(asks, answers)
        return torch.stack([(q[:, h] @ k[:, h].T * block.block.scale).softmax(1) for h in range(2)]).mean(0)

    taken_NM = weights(decoder.read, decoder.latents.rows_ND, encoded.states_MD)
    asked = decoder.asked(encoded)
    answer_QN = weights(decoder.blocks.blocks[0], decoder.queries(encoded, asked), decoder.summary(encoded)[0])
    expected = torch.zeros_like(share_LL)
    expected[asked.where_M[:, None], encoded.read.where_M] = (answer_QN @ taken_NM).float().detach()
    torch.testing.assert_close(share_LL, expected)


def test_readout_of_form_a_is_the_mean_over_layers_that_a_token_reads_in() -> None:
    encoder, batch, features, bias = _encoder("A"), _batch(1), _features(), _bias()
    assert isinstance(encoder.decoder, CrossDecoder)
    every, *single = (
        next(encoder.attention(batch, features, bias, layers=layers)) for layers in (None, [0], [1], [2], [3])
    )
    torch.testing.assert_close(every, (single[0] + single[1] + single[2] + single[3]) / 2)
    # Bias where genes read genes: both in the encoder and in the decoder.
    for layer in (0, 3):
        assert not torch.allclose(next(encoder.attention(batch, features, layers=[layer])), single[layer])


def test_bias_of_a_hidden_gene_enters_the_decoder_of_form_a() -> None:
    """Its query row is used nowhere else: the encoder never reads it."""
    encoder, batch, features, bias = _encoder("A"), _batch(1), _features(), _bias()
    hidden = int(torch.nonzero(batch.hidden_T)[0])
    query_VR = bias.query_VR.clone()
    query_VR[batch.feature_ids_T[hidden]] += 3.0
    plain, other = (encoder(batch, features, each).tokens_TD for each in (bias, AttentionBias(query_VR, bias.key_VR)))
    moved_T = (plain - other).abs().sum(1) > 1e-9
    assert torch.nonzero(moved_T).squeeze(1).tolist() == [hidden]
    # In the read-outs too.
    one, two = (
        next(encoder.attention(batch, features, each, layers=[len(encoder.trunk.blocks)]))
        for each in (bias, AttentionBias(query_VR, bias.key_VR))
    )
    assert torch.nonzero(((one - two).abs() > 1e-6).any(1)).squeeze(1).tolist() == [hidden]


# ---- options and work ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"decoder": "A", "num_latents": 4}, "num_latents: got 4, which decoder A"),
        ({"decoder": "A", "decoder_width": 4}, "decoder_width"),
        ({"decoder": "C", "num_features": 4}, "num_features"),
        ({"decode_visible": True}, "decode_visible"),
        ({"decoder": "C", "num_layers": 1}, "num_layers: got 1; give 0 with decoder C, or choose D1"),
        ({"decoder": "D1", "num_layers": 0}, "num_layers"),
        ({"decoder": "D1", "num_latents": 0}, "num_latents"),
        ({"value_bins": 1}, "value_bins"),
        ({"dropout": 1.0}, "dropout"),
        ({"num_heads": 0}, "num_heads"),
        ({"ffn_multiplier": 0.0}, "ffn_multiplier"),
        ({"decoder": "B"}, "decoder"),
        ({"values": "log"}, "values"),
        ({"values": "up", "offsets": True}, "offsets: got True, which is of values: auto"),
        ({"values": "equal", "slope": 0.1}, "slope: got 0.1, which is of values: auto"),
        ({"slope": -1.0}, "slope"),
        ({"norm": "both"}, "norm"),
    ],
)
def test_settings_that_do_nothing_or_cannot_be_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        CELL_ENCODERS.config("xtrimogene", options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xtrimogene", {"norm": "post", "activation": "relu", "offsets": True, "slope": 0.1}),
        ("scfoundation", {"norm": "post", "activation": "relu", "offsets": True, "slope": 0.1}),
        ("scgpt", {"post_norm": True, "activation": "relu"}),
    ],
)
def test_blocks_are_those_of_the_released_code_on_demand(name: str, options: dict[str, Any]) -> None:
    sizes = {"width": 16, "num_bins": 5, "num_modalities": 3, "num_genes": 9}
    plain, released = (CELL_ENCODERS.build(name, one, **sizes) for one in ({}, options))
    for encoder, post, activation in ((plain, False, F.gelu), (released, True, F.relu)):
        assert {block.post_norm for block in encoder.trunk.blocks} == {post}
        assert {block.activation for block in encoder.trunk.blocks} == {activation}
    if "slope" in options:
        embeddings = [released.values, *([released.depth] if name == "scfoundation" else [])]
        assert all(one.slope == 0.1 and one.first.bias is not None for one in embeddings)


def test_sizes_of_each_form() -> None:
    def form(**options: Any) -> tuple[int, ...]:
        sizes = CELL_ENCODERS.config("xtrimogene", options).form
        return sizes.num_layers, sizes.decoder_layers, sizes.num_latents, sizes.latent_layers

    assert form() == (6, 3, 0, 0)
    assert form(num_layers=12) == (12, 6, 0, 0)
    assert form(decoder="A") == (6, 2, 0, 0)
    assert form(decoder="D2") == (2, 1, 128, 4)
    assert form(decoder="D1") == (1, 1, 256, 5)
    assert form(decoder="C") == (0, 1, 128, 6)
    assert form(decoder="C", num_latents=7, latent_layers=0, decoder_layers=2) == (0, 2, 7, 0)


def test_wrong_number_of_heads_is_refused() -> None:
    with pytest.raises(UserError, match="num_heads: 5 does not divide width 12"):
        _encoder("A", num_heads=5)


@pytest.mark.parametrize("decoder", ["A", "published"])
def test_prepared_bins_come_from_training_cells_alone(decoder: str) -> None:
    from tests.cases.toy_cells import toy_cells

    cells = toy_cells()
    encoder = _encoder(decoder, values="equal", value_bins=4)
    encoder.prepare(Statistics(cells, np.arange(6)))
    values = np.sort(cells.normalised()[:6].data)
    expected = [values[int(np.ceil(len(values) * share)) - 1] for share in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(encoder.values.edges_K.numpy(), expected, rtol=1e-6)  # type: ignore[union-attr, operator]


def test_order_of_work_at_the_size_of_a_transcriptome() -> None:
    """Matrix products forward: A costs less than the published form, and latents less than A."""
    num_genes, num_visible, num_hidden = 4000, 1348, 578
    ids_T = torch.cat([torch.tensor([CLS_ID]), NUM_SPECIAL + torch.arange(num_genes)])
    values_T = (torch.arange(num_genes + 1) <= num_visible + num_hidden).float()
    values_T[0] = 0
    hidden_T = torch.zeros(num_genes + 1, dtype=torch.bool)
    hidden_T[num_visible + 1 : num_visible + 1 + 2 * num_hidden] = True
    zeros_T = torch.zeros_like(ids_T)
    cu_lens = torch.tensor([0, len(ids_T)]).int()
    batch = PackedTokens(ids_T, values_T, zeros_T, zeros_T, cu_lens, len(ids_T), torch.zeros(1).long(), hidden_T)
    features = torch.randn(NUM_SPECIAL + num_genes, 64, generator=torch.Generator().manual_seed(0))
    work = {}
    for decoder in FORMS:
        with torch.random.fork_rng(devices=[]):
            encoder = CELL_ENCODERS.build(
                "xtrimogene", {"decoder": decoder}, width=64, num_bins=5, num_modalities=3, num_genes=num_genes
            ).eval()
        # The plain kernel, whose products torch can count.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            encoder(batch, features)
        work[decoder] = counter.get_total_flops()
    assert work["C"] < work["D1"] < work["D2"] < work["A"] < work["published"]
    # Form A by formula: 6 blocks over M tokens, then 2 layers of Q queries; 2 a multiply-add.
    m, q, d = num_visible + 1, 2 * num_hidden, 64
    blocks = 6 * (12 * m * d * d + 2 * m * m * d)
    layers = 2 * (q * 2 * d * d + m * 2 * d * d + 2 * q * m * d + q * 8 * d * d)
    values = m * (100 + 100 * 100 + 100 * d)
    assert work["A"] == pytest.approx(2 * (blocks + layers + values), rel=1e-3)
