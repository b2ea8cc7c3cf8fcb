"""Packed cross-attention against its equation in float64, query by query."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from grn_cotrain.nn.cross_attention import CrossAttentionBlock, CrossAttentionStack, Latents

WIDTH, HEADS = 8, 2


def _cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def _inputs(len_q: list[int], len_k: list[int]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    queries, context = (torch.randn(sum(n), WIDTH, generator=generator).double() for n in (len_q, len_k))
    bias = tuple(torch.randn(sum(n), 3, generator=generator).double() for n in (len_q, len_k))
    return queries, context, bias  # type: ignore[return-value]


def _stack(num_layers: int = 2) -> CrossAttentionStack:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return CrossAttentionStack(WIDTH, num_layers, HEADS, 16).double().eval()


def _norm(norm: torch.nn.Module, x: Tensor) -> Tensor:
    centred = x - x.mean()
    scaled = centred / (centred.square().mean() + 1e-5).sqrt()
    assert isinstance(norm, torch.nn.LayerNorm)
    return scaled * norm.weight + norm.bias


def _one_query(block: CrossAttentionBlock, x: Tensor, context: Tensor, logits: Tensor | None) -> tuple[Tensor, Tensor]:
    """The block's equation for one query: its new state, and the mean over heads of its weights."""
    weight, offset = block.block.qkv.weight, block.block.qkv.bias
    part = WIDTH // HEADS
    normed = torch.stack([_norm(block.context_norm, row) for row in context])
    q = weight[:WIDTH] @ _norm(block.block.attention_norm, x) + offset[:WIDTH]
    k = normed @ weight[WIDTH : 2 * WIDTH].T + offset[WIDTH : 2 * WIDTH]
    v = normed @ weight[2 * WIDTH :].T + offset[2 * WIDTH :]
    reads, shares = [], []
    for head in range(HEADS):
        at = slice(head * part, (head + 1) * part)
        scores = k[:, at] @ q[at] / part**0.5 + (0 if logits is None else logits)
        share = scores.exp() / scores.exp().sum()
        shares.append(share)
        reads.append(share @ v[:, at])
    after = x + block.block.attention_out(torch.cat(reads))
    up = block.block.ffn_up(_norm(block.block.ffn_norm, after))
    gelu = up * 0.5 * (1 + torch.erf(up / 2**0.5))
    return after + block.block.ffn_down(gelu), torch.stack(shares).mean(0)


@pytest.mark.parametrize("biased", [False, True])
def test_it_equals_the_equation_query_by_query(biased: bool) -> None:
    len_q, len_k = [3, 0, 2], [4, 1, 5]
    queries, context, bias = _inputs(len_q, len_k)
    stack = _stack()
    cu_q, cu_k = _cu(len_q), _cu(len_k)
    found = stack(queries, context, cu_q, cu_k, 3, 5, bias if biased else None)
    readouts = list(stack.attention(queries, context, cu_q, cu_k, bias if biased else None, layers=frozenset({0, 1})))
    assert [tuple(share.shape) for share in readouts] == list(zip(len_q, len_k, strict=True))
    for cell in range(3):
        keys = slice(int(cu_k[cell]), int(cu_k[cell + 1]))
        for place, row in enumerate(range(int(cu_q[cell]), int(cu_q[cell + 1]))):
            state, weights = queries[row], []
            for block in stack.blocks:
                assert isinstance(block, CrossAttentionBlock)
                logits = bias[1][keys] @ bias[0][row] if biased else None
                state, share = _one_query(block, state, context[keys], logits)
                weights.append(share)
            torch.testing.assert_close(found[row], _norm(stack.final_norm, state))
            expected = torch.stack(weights).mean(0).float()
            torch.testing.assert_close(readouts[cell][place], expected, rtol=1e-5, atol=1e-6)


def test_queries_do_not_see_each_other() -> None:
    len_q, len_k = [4, 3], [5, 2]
    queries, context, _ = _inputs(len_q, len_k)
    stack = _stack()
    every = stack(queries, context, _cu(len_q), _cu(len_k), 4, 5)
    some = stack(queries[[1, 3, 6]], context, _cu([2, 1]), _cu(len_k), 2, 5)
    torch.testing.assert_close(some, every[[1, 3, 6]], rtol=1e-12, atol=1e-12)


def test_no_query_is_no_work_and_no_error() -> None:
    _, context, _ = _inputs([0, 0], [5, 2])
    out = _stack()(context[:0], context, _cu([0, 0]), _cu([5, 2]), 0, 5)
    assert out.shape == (0, WIDTH)


def test_one_layer_alone_can_be_read_out() -> None:
    queries, context, _ = _inputs([3], [4])
    stack = _stack()
    first, last, both = (
        next(stack.attention(queries, context, _cu([3]), _cu([4]), layers=frozenset(layers)))
        for layers in ({0}, {1}, {0, 1})
    )
    assert not torch.allclose(first, last)
    torch.testing.assert_close(both, (first + last) / 2)


def test_latents_are_packed_segments_that_share_their_rows() -> None:
    latents = Latents(3, WIDTH)
    rows, cu_lens = latents(4)
    assert cu_lens.tolist() == [0, 3, 6, 9, 12]
    assert cu_lens.dtype == torch.int32
    assert torch.equal(rows[3:6], latents.rows_ND)
    rows.sum().backward()
    assert latents.rows_ND.grad is not None
    assert (latents.rows_ND.grad == 4).all()
