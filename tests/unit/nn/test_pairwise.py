"""Streamed pair losses against the dense reference that autograd differentiates.

Dimension letters: S sources, G genes, D width, P positives.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from grn_cotrain.errors import UserError
from grn_cotrain.nn.pairwise import PairSet, all_pairs_bce, pair_logits

S, G, D = 13, 29, 7


def _leaf(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def _positives(num_rows: int = S, num_columns: int = G, count: int = 40, seed: int = 0) -> PairSet:
    key = torch.randperm(num_rows * num_columns, generator=torch.Generator().manual_seed(seed))[:count]
    return PairSet.build(key // num_columns, key % num_columns, num_rows, num_columns)


def _dense(
    logits_SG: Tensor, positives: PairSet, allowed_SG: Tensor, self_S: Tensor | None
) -> tuple[Tensor, Tensor, int]:
    positive_SG = torch.zeros(logits_SG.shape, dtype=torch.bool)
    positive_SG[positives.row_P, positives.column_P] = True
    negative_SG = allowed_SG & ~positive_SG
    if self_S is not None:
        negative_SG[torch.arange(len(self_S)), self_S] = False
    positive, negative = F.softplus(-logits_SG)[positive_SG].mean(), F.softplus(logits_SG)[negative_SG].mean()
    return positive, negative, int(negative_SG.sum())


@pytest.mark.parametrize("tile", [(512, 4096), (4, 8), (5, 7), (1, 1)])
@pytest.mark.parametrize("mask", ["none", "columns", "pairs"])
@pytest.mark.parametrize("biased", [False, True])
def test_all_pairs_equal_dense(tile: tuple[int, int], mask: str, biased: bool) -> None:
    inputs = [_leaf(S, D, seed=1), _leaf(G, D, seed=2)] + ([_leaf(S, seed=3), _leaf(G, seed=4)] if biased else [])
    a, b, bias_S, bias_G = (*inputs, None, None)[:4]
    generator = torch.Generator().manual_seed(5)
    allowed = {
        "none": None,
        "columns": torch.rand(G, generator=generator) < 0.6,
        "pairs": torch.rand(S, G, generator=generator) < 0.6,
    }[mask]
    self_S = torch.randperm(G, generator=generator)[:S]
    positives = _positives()
    logits_SG = a @ b.T + (bias_S[:, None] + bias_G if bias_S is not None and bias_G is not None else 0)
    allowed_SG = torch.ones(S, G, dtype=torch.bool) if allowed is None else allowed.expand(S, G)
    positive, negative, num_negatives = _dense(logits_SG, positives, allowed_SG, self_S)
    found = all_pairs_bce(a, b, positives, bias_S=bias_S, bias_G=bias_G, allowed=allowed, self_S=self_S, tile=tile)
    assert (found.num_positives, found.num_negatives) == (40, num_negatives)
    torch.testing.assert_close((found.positive, found.negative), (positive, negative))
    # Different upstream gradients per class: both paths must be right on their own.
    expected = torch.autograd.grad(2 * positive + 3 * negative, inputs)
    torch.testing.assert_close(torch.autograd.grad(2 * found.positive + 3 * found.negative, inputs), expected)


@pytest.mark.parametrize("tile", [(512, 4096), (4, 8), (6, 6), (1, 3)])
def test_symmetric_tiles_equal_dense(tile: tuple[int, int]) -> None:
    z = _leaf(G, D, seed=1)
    positives = _positives(G, G, 200)  # many with their reverse, many without
    self_S = torch.arange(G)
    positive, negative, num_negatives = _dense(z @ z.T, positives, torch.ones(G, G, dtype=torch.bool), self_S)
    found = all_pairs_bce(z, z, positives, self_S=self_S, tile=tile)
    assert found.num_negatives == num_negatives
    torch.testing.assert_close((found.positive, found.negative), (positive, negative))
    expected = torch.autograd.grad(positive + negative, z)
    torch.testing.assert_close(torch.autograd.grad(found.positive + found.negative, z), expected)


def test_float32_equals_float64_to_1e_5() -> None:
    a, b = _leaf(200, 32, seed=1, dtype=torch.float32), _leaf(300, 32, seed=2, dtype=torch.float32)
    positives = _positives(200, 300, 2000)
    wide = all_pairs_bce(a.double(), b.double(), positives, tile=(64, 64))
    found = all_pairs_bce(a, b, positives, tile=(64, 64))
    torch.testing.assert_close(found.negative.double(), wide.negative, rtol=1e-5, atol=0)
    expected = torch.autograd.grad(wide.positive + wide.negative, (a, b))
    for ours, theirs in zip(torch.autograd.grad(found.positive + found.negative, (a, b)), expected, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())


def test_gradcheck_of_pair_logits() -> None:
    positives = _positives()
    inputs = (_leaf(S, D, seed=1), _leaf(G, D, seed=2), _leaf(S, seed=3), _leaf(G, seed=4))
    assert torch.autograd.gradcheck(
        lambda a, b, s, g: pair_logits(a, b, positives, bias_S=s, bias_G=g), inputs, check_batched_grad=False
    )


def test_pair_logits_in_float32_equal_gathered_products() -> None:
    a, b = _leaf(S, D, seed=1, dtype=torch.float32), _leaf(G, D, seed=2, dtype=torch.float32)
    positives = _positives()
    torch.testing.assert_close(pair_logits(a, b, positives), (a[positives.row_P] * b[positives.column_P]).sum(1))


def test_extreme_logits_stay_finite() -> None:
    a, b = torch.full((3, 1), 100.0, requires_grad=True), torch.tensor([[100.0], [-100.0]], requires_grad=True)
    found = all_pairs_bce(a, b, PairSet.build(torch.tensor([0]), torch.tensor([1]), 3, 2))
    assert float(found.positive.detach()) == pytest.approx(1e4)
    assert float(found.negative.detach()) == pytest.approx(3e4 / 5)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(found.positive + found.negative, (a, b)))


def test_a_class_without_pairs_has_no_loss() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    a, b = _leaf(S, D, seed=1), _leaf(G, D, seed=2)
    found = all_pairs_bce(a, b, PairSet.build(none, none, S, G), allowed=torch.zeros(G, dtype=torch.bool))
    assert (float(found.positive.detach()), float(found.negative.detach())) == (0, 0)
    assert (found.num_positives, found.num_negatives) == (0, 0)


def test_bad_pairs() -> None:
    with pytest.raises(UserError, match="given twice"):
        PairSet.build(torch.tensor([1, 1]), torch.tensor([2, 2]), S, G)
    with pytest.raises(UserError, match=r"0\.\.28"):
        PairSet.build(torch.tensor([1]), torch.tensor([G]), S, G)
