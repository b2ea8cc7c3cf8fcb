"""Packed attention against the padded, masked float64 reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from grn_cotrain.nn import precision
from grn_cotrain.nn import ragged_attention as module
from grn_cotrain.nn.precision import fast_fp32
from grn_cotrain.nn.ragged_attention import ragged_attention
from tests.cases.skips import listed
from tests.references import reference_attention


def _cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def _inputs(len_q: list[int], len_k: list[int], widths: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((sum(len_q), widths[0]), (sum(len_k), widths[0]), (sum(len_k), widths[1]))
    return tuple(torch.randn(rows, 2, width, generator=generator).to(dtype) for rows, width in sizes)


CASES = [
    ([3, 1, 7], [3, 1, 7], (8, 8), None),
    ([5, 2], [1, 9], (8, 8), 0.3),
    ([4, 6], [4, 6], (11, 8), 0.5),  # queries and keys widened by an attention bias
    ([4, 6], [4, 6], (4, 8), None),
    ([0, 4, 0], [2, 3, 0], (8, 8), None),
]


@pytest.mark.parametrize(("len_q", "len_k", "widths", "scale"), CASES)
@pytest.mark.parametrize("function", ["ragged_attention", "_explicit"])
def test_values_and_gradients_equal_the_reference(
    len_q: list[int], len_k: list[int], widths: tuple[int, int], scale: float | None, function: str
) -> None:
    cu_q, cu_k = _cu(len_q), _cu(len_k)

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        if function == "ragged_attention":
            return ragged_attention(*tensors, cu_q, cu_k, max(len_q), max(len_k), scale=scale)
        return module._explicit(*tensors, cu_q, cu_k, scale or widths[0] ** -0.5)

    ours = tuple(x.requires_grad_() for x in _inputs(len_q, len_k, widths, torch.float32))
    theirs = tuple(x.requires_grad_() for x in _inputs(len_q, len_k, widths, torch.float64))
    out, expected = run(ours), reference_attention(*theirs, cu_q, cu_k, scale=scale)
    assert out.shape == (sum(len_q), 2, widths[1])
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((out * weights).sum(), ours)
    wanted = torch.autograd.grad((expected * weights).sum(), theirs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_bf16_stays_close_with_and_without_the_instructions(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: has_bf16)
    cu = _cu([5, 9])
    inputs = _inputs([5, 9], [5, 9], (8, 8), torch.bfloat16)
    out = ragged_attention(*inputs, cu, cu, 9, 9)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), reference_attention(*inputs, cu, cu), rtol=0.05, atol=0.05)


def test_nothing_at_all() -> None:
    cu = torch.zeros(1, dtype=torch.int32)
    assert ragged_attention(*(torch.zeros(0, 2, 8) for _ in range(3)), cu, cu, 0, 0).shape == (0, 2, 8)


def test_backward_is_deterministic() -> None:
    cu = _cu([40, 3, 25])
    grads = []
    for _ in range(3):
        inputs = tuple(x.requires_grad_() for x in _inputs([40, 3, 25], [40, 3, 25], (16, 16), torch.float32))
        grads.append(torch.autograd.grad(ragged_attention(*inputs, cu, cu, 40, 40).square().sum(), inputs))
    for other in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads[0], other, strict=True))


def test_fast_fp32_is_exact_or_off_and_always_restored() -> None:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    with fast_fp32(only_where_faster=False) as outcome:
        assert outcome.enabled == (outcome.error < 1e-5)
        assert settings.fp32_precision == ("bf16" if outcome.enabled else before)
        left = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close((left @ left).double(), left.double() @ left.double(), rtol=1e-4, atol=1e-3)
    assert settings.fp32_precision == before


def test_fast_fp32_is_switched_off_where_it_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    monkeypatch.setattr(precision, "_matmul_error", lambda: 1e-3)
    with fast_fp32(only_where_faster=False) as outcome:
        assert not outcome.enabled
        assert settings.fp32_precision == before


@pytest.mark.parametrize("default_is_fast", [False, True])
def test_fast_fp32_is_left_alone_where_the_default_is_faster(
    default_is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_matmul_error", lambda: 1e-7)
    monkeypatch.setattr(precision, "_default_route_is_fast", lambda: default_is_fast)
    with fast_fp32() as outcome:
        assert outcome.enabled == (not default_is_fast)


@listed("cuda", not torch.cuda.is_available())
def test_cuda_kernel_equals_the_reference() -> None:
    cu = _cu([70, 3, 25]).cuda()
    inputs = tuple(x.cuda() for x in _inputs([70, 3, 25], [70, 3, 25], (19, 16), torch.bfloat16))
    out = ragged_attention(*inputs, cu, cu, 70, 70)
    torch.testing.assert_close(out.double(), reference_attention(*inputs, cu, cu), rtol=0.05, atol=0.05)
