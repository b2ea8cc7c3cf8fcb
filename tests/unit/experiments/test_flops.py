"""Counted FLOPs equal those worked out by hand for a tiny transformer, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from experiments.flops import count_flops, step_flops, transformer_flops
from grn_cotrain.config import parse
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.nn.packed_transformer import PackedTransformer
from grn_cotrain.recipe_model import ModelConfig
from tests.cases.toy_cells import toy_cells

LENGTHS = (5, 3)
WIDTH, FFN = 8, 16


def by_hand() -> int:
    """One block over cells of 5 and 3 tokens, product by product: 2 x rows x inner x columns each."""
    total = 0
    for rows in LENGTHS:
        total += 2 * rows * WIDTH * 3 * WIDTH  # queries, keys, values
        total += 2 * rows * WIDTH * rows  # scores, all heads together
        total += 2 * rows * rows * WIDTH  # reading values
        total += 2 * rows * WIDTH * WIDTH  # output map
        total += 2 * rows * WIDTH * FFN + 2 * rows * FFN * WIDTH
    return total


def test_formula_is_the_sum_of_its_products() -> None:
    assert transformer_flops(LENGTHS, width=WIDTH, ffn_width=FFN, num_layers=3, backward=False) == 3 * by_hand()


@pytest.mark.parametrize("backward", [False, True])
def test_counter_sees_what_the_formula_says(backward: bool) -> None:
    torch.manual_seed(0)
    trunk = PackedTransformer(WIDTH, 2, 2, FFN)
    tokens_TD = torch.randn(sum(LENGTHS), WIDTH, requires_grad=True)
    cu_lens = torch.tensor([0, *LENGTHS]).cumsum(0).int()

    def run() -> None:
        out = trunk(tokens_TD, cu_lens, max(LENGTHS))
        if backward:
            out.sum().backward()

    count = count_flops(run)
    assert count.total == transformer_flops(LENGTHS, width=WIDTH, ffn_width=FFN, num_layers=2, backward=backward)
    assert count.without_recomputation == (3 if backward else 1) * 2 * by_hand(), "backward is twice forward"
    assert not count.not_counted
    assert sum(count.by_operator.values()) == count.total


def test_operators_without_a_formula_are_named() -> None:
    weights = torch.randn(6, 4)
    count = count_flops(lambda: F.embedding_bag(torch.tensor([[0, 1]]), weights, mode="sum"))
    assert count.total == 0
    assert any("embedding_bag" in name for name in count.not_counted)


def test_step_of_a_model_counts_the_encoder_and_the_head() -> None:
    cells = toy_cells()
    width, layers = 16, 2
    config = parse(
        ModelConfig,
        {
            "width": width,
            "table": {"init": "random", "inductive": []},
            "graph_encoder": "identity",
            "link_decoder": "bilinear",
            "cell_encoder": {"name": "transformer", "num_layers": layers},
        },
    )
    none_2E = np.zeros((2, 0), dtype=np.int64)
    inputs = ModelInputs(cells.vocab, None, {}, None, none_2E, none_2E[0])
    model = CoTrainNetwork(config, {"masked_value": {}}, inputs, backend="csr")
    batch = Tokenizer(cells, config.tokens).batch(np.arange(4)).pack()
    count = step_flops(model, batch, "masked_value")
    lengths = batch.cu_lens.diff().tolist()
    trunk = transformer_flops(lengths, width=width, ffn_width=4 * width, num_layers=layers, backward=True)
    assert trunk < count.total < 1.5 * trunk
    assert all(parameter.grad is None for parameter in model.parameters())
