"""Geneformer's encoder: which rows enter, what the state of a cell is, what is refused; a block against BERT's."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import CLS_ID, NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.cell_encoders.geneformer import GeneformerEncoder
from grn_cotrain.nn.packed_transformer import PackedTransformer, TransformerBlock
from grn_cotrain.objectives.masking import hide_names
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

WIDTH = 8


def build(**options: Any) -> GeneformerEncoder:
    cells = toy_cells()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(
            "geneformer",
            {"num_layers": 2, "num_heads": 2, **options},
            width=WIDTH,
            num_bins=4,
            num_modalities=3,
            num_genes=cells.num_features,
        )
    encoder.prepare(Statistics(cells))
    assert isinstance(encoder, GeneformerEncoder)
    return encoder.eval()


def toy_batch() -> PackedTokens:
    return Tokenizer(toy_cells(), TokenConfig(num_bins=4, zeros_per_cell=3)).batch(np.arange(4)).pack()


def features() -> torch.Tensor:
    return torch.randn(toy_cells().vocab.size, WIDTH, generator=torch.Generator().manual_seed(1))


def test_inputs_are_gene_row_plus_rank_row() -> None:
    encoder, features_VD = build(max_ranks=5), features()
    batch = encoder.prepare_batch(toy_batch())
    masked_T = torch.zeros(batch.num_tokens, dtype=torch.bool)
    masked_T[[3, 4]] = True
    batch = encoder.prepare_batch(toy_batch().with_mask(masked_T))
    inputs_TD = encoder.inputs(batch, features_VD)
    assert batch.ranks_T is not None
    seen = set()
    for t in range(batch.num_tokens):
        gene, rank = int(batch.feature_ids_T[t]), int(batch.ranks_T[t])
        if gene == CLS_ID:
            row_D, kind = torch.zeros(WIDTH), "cls"
        elif masked_T[t]:
            row_D, kind = encoder.ranks.weight[5], "unknown"
        elif batch.values_T[t] == 0:
            row_D, kind = encoder.ranks.weight[6], "zero"
        else:
            row_D, kind = encoder.ranks.weight[min(rank, 5) - 1], "late" if rank > 5 else "ranked"
        seen.add(kind)
        torch.testing.assert_close(inputs_TD[t], encoder.norm(features_VD[gene] + row_D))
    assert seen == {"cls", "unknown", "zero", "late", "ranked"}


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("layer", [-2, -1])
def test_cell_state_is_the_mean_of_gene_states_of_the_layer(norm: str, layer: int) -> None:
    encoder, batch, features_VD = build(norm=norm, cell_layer=layer), toy_batch(), features()
    state_TD = encoder.inputs(batch, features_VD)
    layers = [state_TD]
    for block in encoder.trunk.blocks:
        layers.append(block(layers[-1], batch.cu_lens, batch.max_len))
    wanted_TD = layers[layer] if norm == "post" else encoder.trunk.final_norm(layers[layer])
    states = encoder(batch, features_VD)
    for cell in range(batch.num_cells):
        start, end = batch.cu_lens[cell : cell + 2].tolist()
        rows = [wanted_TD[t] for t in range(start + 1, end) if batch.values_T[t] > 0]
        torch.testing.assert_close(states.cells_BD[cell], torch.stack(rows).mean(0))
    by_cls = build(norm=norm, cell_layer=layer, pooling="cls")(batch, features_VD).cells_BD
    torch.testing.assert_close(by_cls, wanted_TD[batch.cls_positions_B])


def test_a_cell_without_genes_has_the_state_of_cls() -> None:
    batch = Tokenizer(toy_cells(density=0.0), TokenConfig(num_bins=4)).batch(np.arange(2)).pack()
    states = build(cell_layer=-1)(batch, features())
    torch.testing.assert_close(states.cells_BD, states.tokens_TD)


@pytest.mark.parametrize("generator", [None, np.random.default_rng(0)], ids=["evaluation", "training"])
def test_a_cell_over_the_cap_keeps_its_first_ranks(generator: np.random.Generator | None) -> None:
    """A plain loop over linear values: the cut is by value over median, not by value, and the same in training."""
    encoder, cells = build(), toy_cells()
    weights_G = encoder.keep_weights()
    assert weights_G is not None
    cut = Tokenizer(cells, TokenConfig(num_bins=4, max_tokens=5), keep_weight_G=weights_G.numpy())
    batch, whole = (
        cut.batch(np.arange(4), generator).pack(),
        Tokenizer(cells, TokenConfig(num_bins=4)).batch(np.arange(4)).pack(),
    )
    differs = 0
    for cell in range(4):
        kept = batch.feature_ids_T[(batch.cell_of_token_T == cell) & (batch.feature_ids_T >= NUM_SPECIAL)]
        mine = (whole.cell_of_token_T == cell) & (whole.feature_ids_T >= NUM_SPECIAL)
        ids, values = whole.feature_ids_T[mine].numpy(), whole.values_T[mine].numpy().astype(float)
        assert len(ids) > 4, "nothing would be cut"
        ratio = np.expm1(values) / encoder.median_G.numpy()[ids - NUM_SPECIAL]
        expected = {int(ids[i]) for i in sorted(range(len(ids)), key=lambda i: (-ratio[i], ids[i]))[:4]}
        assert set(kept.tolist()) == expected
        highest = {int(ids[i]) for i in sorted(range(len(ids)), key=lambda i: (-values[i], ids[i]))[:4]}
        differs += highest != expected
    assert differs, "the highest values would have been the same cut"


def test_the_cut_of_other_encoders_is_a_choice() -> None:
    assert build(cut="sampled").keep_weights() is None


def test_names_may_not_be_hidden_before_ranks_are_known() -> None:
    encoder, batch = build(), toy_batch()
    hidden_T = (batch.feature_ids_T >= NUM_SPECIAL) & (batch.feature_ids_T % 3 == 0)
    with pytest.raises(ValueError, match="prepare_batch before hide_names"):
        encoder(hide_names(batch, hidden_T), features())
    prepared = encoder.prepare_batch(batch)
    hidden = hide_names(prepared, hidden_T)
    assert hidden.ranks_T is prepared.ranks_T
    difference_TD = encoder.inputs(hidden, features()) - encoder.inputs(prepared, features())
    assert torch.equal(difference_TD.abs().sum(1) > 0, hidden_T)


def test_unseen_genes_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="grn_cotrain"):
        encoder = build()
        assert not caplog.records
        encoder.prepare(Statistics(toy_cells(), np.array([0])))
    assert "have no value in the training cells" in caplog.text
    assert "of 30 features" in caplog.text


def test_bad_options_are_named() -> None:
    for options, name in (
        ({"max_ranks": 0}, "max_ranks"),
        ({"cell_layer": -3}, "cell_layer"),
        ({"num_layers": 1}, "cell_layer"),
        ({"dropout": 1.0}, "dropout"),
        ({"norm": "middle"}, "norm"),
    ):
        with pytest.raises(UserError, match=name):
            CELL_ENCODERS.config("geneformer", options)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_post_norm_block_is_the_encoder_layer_of_torch(activation: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stack = PackedTransformer(WIDTH, 1, 2, 12, post_norm=True, activation=activation)  # type: ignore[arg-type]
        peer = torch.nn.TransformerEncoderLayer(WIDTH, 2, 12, dropout=0.0, activation=activation, batch_first=True)
    ours = stack.blocks[0]
    assert isinstance(ours, TransformerBlock)
    pairs = [
        (peer.self_attn.out_proj, ours.attention_out),
        (peer.linear1, ours.ffn_up),
        (peer.linear2, ours.ffn_down),
        (peer.norm1, ours.attention_norm),
        (peer.norm2, ours.ffn_norm),
    ]
    with torch.no_grad():
        for norm in (ours.attention_norm, ours.ffn_norm):
            norm.weight.normal_(generator=torch.Generator().manual_seed(4))
        peer.self_attn.in_proj_weight.copy_(ours.qkv.weight)
        peer.self_attn.in_proj_bias.copy_(ours.qkv.bias)
        for theirs, mine in pairs:
            theirs.load_state_dict(mine.state_dict())
    tokens_TD = torch.randn(11, WIDTH, generator=torch.Generator().manual_seed(2))
    got_TD = stack(tokens_TD, torch.tensor([0, 4, 11], dtype=torch.int32), 7)
    expected_TD = torch.cat([peer(part[None])[0] for part in tokens_TD.split([4, 7])])
    torch.testing.assert_close(got_TD, expected_TD, rtol=1e-4, atol=1e-5)
    assert not list(stack.final_norm.parameters())
    torch.testing.assert_close(F.layer_norm(got_TD, (WIDTH,)).mean(1), torch.zeros(11), atol=1e-5, rtol=0)
