"""Generative attention and scGPT's encoder against a dense masked reference; conditions; prompts.

Dimension letters: B cells, T packed tokens, L tokens of a cell, H heads, K head width, D width, R rank of a bias.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, AttentionBias, CellEncoder
from grn_cotrain.nn.condition_embedding import ConditionEmbedding
from grn_cotrain.nn.generative_attention import KnownKeys, generative_attention
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

WIDTH, NUM_BINS = 16, 5
COVARIATES = {"batch": 2, "donor": 3}


def batch_of(rows: list[int], share: float = 0.4, seed: int = 0) -> PackedTokens:
    tokenizer = Tokenizer(toy_cells(), TokenConfig(num_bins=NUM_BINS, zeros_per_cell=3))
    batch = tokenizer.batch(np.asarray(rows)).pack()
    draw_T = torch.rand(batch.num_tokens, generator=torch.Generator().manual_seed(seed))
    return batch.with_mask((draw_T < share) & (batch.feature_ids_T >= 3))


def scgpt(covariates: dict[str, int] | None = None, **options) -> CellEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(
            "scgpt",
            {"num_heads": 2, **options},
            width=WIDTH,
            num_bins=NUM_BINS,
            num_modalities=3,
            num_genes=toy_cells().num_features,
            covariates=covariates or {},
        )
    return encoder.eval()


def features() -> Tensor:
    return torch.randn(toy_cells().vocab.size, WIDTH, generator=torch.Generator().manual_seed(1))


def dense(q_THK: Tensor, k_THK: Tensor, v_THK: Tensor, cu_lens: Tensor, known_T: Tensor, scale: float) -> Tensor:
    """Softmax under an explicit mask, cell by cell and head by head."""
    parts = []
    for start, end in pairwise(cu_lens.tolist()):
        allowed_LL = known_T[start:end][None, :] | torch.eye(end - start, dtype=torch.bool)
        heads = []
        for head in range(q_THK.shape[1]):
            q_LK, k_LK, v_LK = (x[start:end, head] for x in (q_THK, k_THK, v_THK))
            weight_LL = torch.exp(scale * q_LK @ k_LK.T) * allowed_LL
            heads.append(weight_LL / weight_LL.sum(1, keepdim=True) @ v_LK)
        parts.append(torch.stack(heads, dim=1))
    return torch.cat(parts)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.integers(0, 11), min_size=1, max_size=4),
    share=st.sampled_from([0.05, 0.4, 1.0]),
    seed=st.integers(0, 99),
)
def test_generative_attention_is_softmax_under_its_mask_with_gradients(
    rows: list[int], share: float, seed: int
) -> None:
    batch = batch_of(rows, share, seed)
    keys = KnownKeys.of(batch)
    if keys is None:
        assert not batch.hidden_T.any()
        return
    generator = torch.Generator().manual_seed(seed)
    shape = (batch.num_tokens, 2, 5)
    heads = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]
    weights = torch.randn(shape, generator=generator, dtype=torch.float64)
    found = generative_attention(*heads, batch.cu_lens, batch.max_len, keys, scale=0.7)
    expected = dense(*heads, batch.cu_lens, ~batch.hidden_T, 0.7)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for got, want in zip(
        torch.autograd.grad((found * weights).sum(), heads),
        torch.autograd.grad((expected * weights).sum(), heads),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-8)


def test_generative_attention_in_half_precision_is_close() -> None:
    batch = batch_of([0, 1, 2])
    keys = KnownKeys.of(batch)
    assert keys is not None
    heads = torch.randn(3, batch.num_tokens, 2, 8, generator=torch.Generator().manual_seed(0))
    found = generative_attention(*heads.bfloat16(), batch.cu_lens, batch.max_len, keys, scale=0.3)
    expected = dense(*heads, batch.cu_lens, ~batch.hidden_T, 0.3)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.03)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), keep=st.floats(0.1, 0.9), values=st.sampled_from(["ordinal", "bins", "continuous"]))
def test_states_do_not_depend_on_what_else_is_asked(seed: int, keep: float, values: str) -> None:
    """Drop some of the unknown genes: known states stay, and so do those of the unknown genes that are left."""
    encoder, batch = scgpt(values=values), batch_of([3, 5], 0.5, seed)
    draw_T = torch.rand(batch.num_tokens, generator=torch.Generator().manual_seed(seed + 1))
    left_T = ~batch.hidden_T | (draw_T < keep)
    lens_B = torch.bincount(batch.cell_of_token_T[left_T], minlength=batch.num_cells)
    fewer = replace(
        batch,
        feature_ids_T=batch.feature_ids_T[left_T],
        values_T=batch.values_T[left_T],
        bins_T=batch.bins_T[left_T],
        modality_T=batch.modality_T[left_T],
        masked_T=batch.hidden_T[left_T],
        cu_lens=torch.nn.functional.pad(lens_B.cumsum(0), (1, 0)).int(),
        max_len=int(lens_B.max()),
    )
    generator = torch.Generator().manual_seed(2)
    factors = torch.randn(2, toy_cells().vocab.size, 3, generator=generator)
    for bias in (None, AttentionBias(*factors)):
        every, some = encoder(batch, features(), bias), encoder(fewer, features(), bias)
        torch.testing.assert_close(some.tokens_TD, every.tokens_TD[left_T], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(some.cells_BD, every.cells_BD, rtol=1e-4, atol=1e-5)


def test_known_states_have_no_gradient_from_unknown_genes_but_full_attention_has() -> None:
    batch = batch_of([1, 2])
    unknown = torch.unique(batch.feature_ids_T[batch.hidden_T & (batch.cell_of_token_T == 0)])
    for mask, reads in (("generative", False), ("full", True)):
        rows = features().requires_grad_()
        states = scgpt(attention_mask=mask)(batch, rows)
        of_cell_T = ~batch.hidden_T & (batch.cell_of_token_T == 0)
        (gradient,) = torch.autograd.grad(states.tokens_TD[of_cell_T].square().sum(), rows)
        assert bool((gradient[unknown] != 0).any()) is reads


def test_nothing_hidden_is_plain_full_attention() -> None:
    batch = replace(batch_of([0, 4]), masked_T=None)
    torch.testing.assert_close(
        scgpt()(batch, features()).tokens_TD, scgpt(attention_mask="full")(batch, features()).tokens_TD
    )
    nothing = batch.with_mask(torch.zeros(batch.num_tokens, dtype=torch.bool))
    torch.testing.assert_close(scgpt()(nothing, features()).tokens_TD, scgpt()(batch, features()).tokens_TD)


def test_attention_is_that_of_the_forward_pass_and_honours_the_mask() -> None:
    encoder, batch = scgpt(num_layers=1, num_heads=1), batch_of([0, 1])
    inputs_TD = encoder.inputs(batch, features())
    block = encoder.trunk.blocks[0]
    _, _, v_THK = block.heads(inputs_TD)
    after_TD = encoder.trunk.final_norm(
        block.after_attention(
            inputs_TD,
            torch.cat(
                [
                    (weights_LL @ v_THK[start:end, 0])[:, None]
                    for weights_LL, (start, end) in zip(
                        encoder.attention(batch, features()), pairwise(batch.cu_lens.tolist()), strict=True
                    )
                ]
            ),
        )
    )
    torch.testing.assert_close(after_TD, encoder(batch, features()).tokens_TD, rtol=1e-4, atol=1e-5)
    for weights_LL, (start, end) in zip(
        scgpt().attention(batch, features()), pairwise(batch.cu_lens.tolist()), strict=True
    ):
        hidden_L = batch.hidden_T[start:end]
        assert (weights_LL[hidden_L][:, hidden_L].diag() > 0).all()
        off_LL = weights_LL - torch.diag(weights_LL.diag())
        assert (off_LL[:, hidden_L] == 0).all()
        assert (weights_LL[:, ~hidden_L] > 0).all()


def test_a_prompt_stands_in_the_place_of_cls() -> None:
    encoder, batch = scgpt(), batch_of([0, 1], 1.0)
    assert encoder.reads_prompt
    prompt_BD = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3)).requires_grad_()
    prompted = replace(batch, prompt_BD=prompt_BD)
    rows = features().requires_grad_()
    states = encoder(prompted, rows)
    states.tokens_TD[batch.hidden_T].square().sum().backward()
    assert prompt_BD.grad is not None
    assert (prompt_BD.grad.abs().sum(1) > 0).all()
    assert rows.grad is not None
    assert (rows.grad[2] == 0).all()  # CLS has no row of its own now
    swapped = encoder(replace(batch, prompt_BD=prompt_BD.flip(0)), rows)
    assert not torch.allclose(swapped.tokens_TD, states.tokens_TD)


def rows_of(module: ConditionEmbedding, codes: list[list[int]] | None) -> Tensor:
    batch = batch_of([0, 1])
    if codes is not None:
        batch = replace(batch, covariates_BK=torch.tensor(codes))
    return module(batch)


def test_conditions_sum_the_rows_of_their_categories() -> None:
    module = ConditionEmbedding(COVARIATES, 4, dropout=0.5).eval()
    assert module.rows.weight.shape == (3 + 4, 4)
    weight = module.rows.weight
    torch.testing.assert_close(
        rows_of(module, [[1, 0], [-1, 2]]), torch.stack([weight[1] + weight[3], weight[2] + weight[5]])
    )
    unknown = weight[2] + weight[6]
    torch.testing.assert_close(rows_of(module, [[-1, -1], [-1, -1]]), unknown.expand(2, -1))
    torch.testing.assert_close(rows_of(module, None), unknown.expand(2, -1))


def test_conditions_are_dropped_to_unknown_in_training_alone() -> None:
    module = ConditionEmbedding({"batch": 2}, 4, dropout=0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        seen = torch.cat([rows_of(module, [[0], [1]]) for _ in range(200)]).view(200, 2, 4)
    weight = module.rows.weight
    for cell in range(2):
        unknown_N = (seen[:, cell] == weight[2]).all(1)
        assert 0.35 < float(unknown_N.float().mean()) < 0.65
        assert (seen[~unknown_N, cell] == weight[cell]).all()
    assert torch.equal(rows_of(module.eval(), [[0], [1]]), weight[:2])


@pytest.mark.parametrize("where", ["input", "output"])
def test_conditions_reach_genes_and_by_the_output_leave_the_cell_alone(where: str) -> None:
    encoder, batch = scgpt(COVARIATES, conditions=where), batch_of([0, 1])
    plain = encoder(replace(batch, covariates_BK=torch.tensor([[0, 0], [0, 0]])), features())
    other = encoder(replace(batch, covariates_BK=torch.tensor([[1, 0], [0, 0]])), features())
    changed_T = (plain.tokens_TD - other.tokens_TD).abs().sum(1) > 1e-6
    is_gene_T = batch.feature_ids_T != 2
    first_T = batch.cell_of_token_T == 0
    assert not changed_T[~first_T].any()
    assert changed_T[first_T & is_gene_T].all()
    assert bool((plain.cells_BD[0] - other.cells_BD[0]).abs().sum() > 1e-6) is (where == "input")
    missing = encoder(batch, features())
    unknown = encoder(replace(batch, covariates_BK=torch.tensor([[-1, -1], [-1, -1]])), features())
    assert torch.equal(missing.tokens_TD, unknown.tokens_TD)


def test_hidden_value_and_conditions_are_read_in_training() -> None:
    encoder = scgpt(COVARIATES, covariate_dropout=0.0).train()
    batch = replace(batch_of([0, 1]), covariates_BK=torch.tensor([[0, 1], [1, -1]]))
    encoder(batch, features()).tokens_TD.square().sum().backward()
    gradient = encoder.conditions.rows.weight.grad
    assert ((gradient.abs().sum(1) > 0) == torch.tensor([True, True, False, False, True, False, True])).all()
    assert encoder.hidden_value_D.grad.abs().sum() > 0


def test_bad_share_is_refused() -> None:
    with pytest.raises(UserError, match=r"covariate_dropout: got 1\.0"):
        scgpt(covariate_dropout=1.0)
