"""FAVOR+ against the softmax kernel and the attention that it estimates."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.errors import UserError
from grn_cotrain.nn import favor
from grn_cotrain.nn import performer as performer_module
from grn_cotrain.nn.favor import (
    MAX_BIAS_RANK,
    FavorAttention,
    default_num_features,
    draw_projection,
    favor_attention,
    favor_weights,
    log_features,
)
from grn_cotrain.nn.packed_transformer import TransformerBlock
from grn_cotrain.nn.performer import PackedPerformer, PerformerBlock
from tests.references import reference_attention


def _cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def _normal(*shape: int, seed: int = 0, size: float = 1.0) -> Tensor:
    return size * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _draw(num_features: int, width: int, seed: int = 0) -> Tensor:
    return draw_projection(num_features, width, np.random.default_rng(seed)).double()


def brute_force(q_LHK: Tensor, k_SHK: Tensor, v_SHW: Tensor, projection_MK: Tensor, scale: float) -> Tensor:
    """One segment, from the equations: features without any stabiliser, pair by pair."""
    out = torch.zeros(len(q_LHK), *v_SHW.shape[1:], dtype=torch.float64)

    def phi(x_K: Tensor) -> Tensor:
        x_K = math.sqrt(scale) * x_K
        return torch.stack([torch.exp(w_K @ x_K - x_K @ x_K / 2) for w_K in projection_MK]) / len(projection_MK) ** 0.5

    for head in range(q_LHK.shape[1]):
        for row in range(len(q_LHK)):
            weight_S = torch.stack([phi(q_LHK[row, head]) @ phi(k_K) for k_K in k_SHK[:, head]])
            out[row, head] = (weight_S / weight_S.sum()) @ v_SHW[:, head]
    return out


class TestProjection:
    def test_rows_of_a_block_are_orthogonal_and_lengths_are_gaussian(self) -> None:
        rows_MK = _draw(20, 8)
        assert rows_MK.shape == (20, 8)
        for block in (rows_MK[:8], rows_MK[8:16], rows_MK[16:]):
            gram = block @ block.T
            torch.testing.assert_close(gram, torch.diag(gram.diagonal()), atol=1e-5, rtol=0)
        squares = _draw(20_000, 8).square().sum(1)  # chi squared of 8 degrees: mean 8, variance 16
        assert float(squares.mean()) == pytest.approx(8, abs=5 * 4 / 20_000**0.5)
        assert float(squares.var()) == pytest.approx(16, rel=0.06)

    def test_each_row_is_gaussian_whatever_its_place_in_the_block(self) -> None:
        """A QR decomposition whose signs are not undone gives rotations of one sort, and fails here."""
        draws_NKK = torch.stack([_draw(3, 3, seed) for seed in range(4000)])
        for row in range(3):
            mean_K = draws_NKK[:, row].mean(0)
            cov_KK = draws_NKK[:, row].T @ draws_NKK[:, row] / 4000
            assert mean_K.abs().max() < 5 / 4000**0.5
            torch.testing.assert_close(cov_KK, torch.eye(3).double(), atol=0.12, rtol=0)

    def test_the_kernel_is_unbiased(self) -> None:
        x_THK, y_THK = _normal(5, 1, 6, seed=1, size=0.4), _normal(5, 1, 6, seed=2, size=0.4)
        estimates = []
        for seed in range(2000):
            projection_MK = _draw(6, 6, seed)
            phi_x, phi_y = log_features(x_THK, projection_MK).exp(), log_features(y_THK, projection_MK).exp()
            estimates.append(phi_x[:, 0] @ phi_y[:, 0].T)
        exact = torch.exp(x_THK[:, 0] @ y_THK[:, 0].T)
        stacked = torch.stack(estimates)
        error = (stacked.mean(0) - exact).abs() / (stacked.std(0) / 2000**0.5)
        assert error.max() < 4.5  # standard errors, the largest of 25

    def test_orthogonal_rows_estimate_better_than_independent_ones(self) -> None:
        x_THK, y_THK = _normal(20, 1, 8, seed=1, size=0.5), _normal(20, 1, 8, seed=2, size=0.5)
        exact = torch.exp(x_THK[:, 0] @ y_THK[:, 0].T)

        def error(projection_MK: Tensor) -> float:
            product = log_features(x_THK, projection_MK).exp()[:, 0] @ log_features(y_THK, projection_MK).exp()[:, 0].T
            return float((product - exact).square().mean())

        ours = np.mean([error(_draw(8, 8, seed)) for seed in range(300)])
        independent = np.mean([error(_normal(8, 8, seed=seed)) for seed in range(300)])
        assert ours < independent


class TestAttention:
    @pytest.mark.parametrize(("len_q", "len_k"), [([3, 1, 5], [3, 1, 5]), ([4, 0, 2], [1, 3, 6])])
    def test_equals_the_equations(self, len_q: list[int], len_k: list[int]) -> None:
        q, k, v = (
            _normal(sum(len_q), 2, 4, seed=1),
            _normal(sum(len_k), 2, 4, seed=2),
            _normal(sum(len_k), 2, 3, seed=3),
        )
        projection_MK = _draw(5, 4)
        found = favor_attention(q, k, v, _cu(len_q), _cu(len_k), projection_MK, scale=0.7)
        parts = [
            brute_force(*part, projection_MK, 0.7)
            for part in zip(q.split(len_q), k.split(len_k), v.split(len_k), strict=True)
        ]
        torch.testing.assert_close(found, torch.cat(parts))

    def test_converges_to_softmax_attention_as_one_over_root_m(self) -> None:
        lengths = [6, 9]
        # Short vectors: the relative error of a kernel's estimate is exp(|x + y|^2 / 2) / sqrt(M).
        q, k, v = (_normal(15, 2, 4, seed=seed, size=0.4) for seed in range(3))
        exact = reference_attention(q, k, v, _cu(lengths), _cu(lengths))

        def error(num_features: int) -> float:
            squares = [
                (favor_attention(q, k, v, _cu(lengths), _cu(lengths), _draw(num_features, 4, seed)) - exact)
                .square()
                .mean()
                for seed in range(20)
            ]
            return float(torch.stack(squares).mean().sqrt())

        errors = np.array([error(num_features) for num_features in (64, 1024, 16384)])
        slopes = np.diff(np.log(errors)) / math.log(16)
        np.testing.assert_allclose(slopes, -0.5, atol=0.1)
        assert errors[-1] < 0.003

    def test_weights_are_what_is_read(self) -> None:
        q, k, v = (_normal(7, 3, 4, seed=seed, size=2) for seed in range(3))
        projection_MK = _draw(9, 4)
        weights_HLS = favor_weights(q, k, projection_MK)
        assert weights_HLS.shape == (3, 7, 7)
        assert (weights_HLS >= 0).all()
        torch.testing.assert_close(weights_HLS.sum(-1), torch.ones(3, 7).double())
        read = (weights_HLS @ v.transpose(0, 1)).transpose(0, 1)
        torch.testing.assert_close(favor_attention(q, k, v, _cu([7]), _cu([7]), projection_MK), read)

    def test_a_bias_is_a_kernel_of_joined_vectors(self) -> None:
        q, k, v = (_normal(8, 1, 3, seed=seed, size=0.4) for seed in range(3))
        b, c = _normal(8, 1, 2, seed=4, size=0.6), _normal(8, 1, 2, seed=5, size=0.6)
        logits = q[:, 0] @ k[:, 0].T + b[:, 0] @ c[:, 0].T
        exact = (logits.softmax(-1) @ v[:, 0])[:, None]
        estimate = torch.stack(
            [
                favor_attention(
                    torch.cat([q, b], -1), torch.cat([k, c], -1), v, _cu([8]), _cu([8]), _draw(40_000, 5, seed), scale=1
                )
                for seed in range(4)
            ]
        ).mean(0)
        torch.testing.assert_close(estimate, exact, atol=0.02, rtol=0)
        plain = favor_attention(q, k, v, _cu([8]), _cu([8]), _draw(40_000, 3), scale=1)
        assert (plain - exact).abs().max() > 0.08

    @pytest.mark.parametrize("size", [30.0, 1e3, 1e6])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_large_logits_give_finite_outputs_and_gradients(self, size: float, dtype: torch.dtype) -> None:
        """Where a query's features are those in which no key stands out, a shared maximum of keys gives 0 / 0."""
        inputs = [_normal(12, 2, 8, seed=seed, size=size).to(dtype).requires_grad_() for seed in range(2)]
        inputs.append(_normal(12, 2, 8, seed=2).to(dtype).requires_grad_())
        projection_MK = _draw(16, 8).float()
        out = favor_attention(*inputs, _cu([5, 7]), _cu([5, 7]), projection_MK)
        assert out.dtype == dtype
        assert torch.isfinite(out).all()
        assert out.abs().max() <= inputs[2].abs().max() * 1.01  # a mean of values
        out.square().sum().backward()
        for one in inputs:
            assert one.grad is not None
            assert torch.isfinite(one.grad).all()
        sums = favor_weights(inputs[0][:5], inputs[1][:5], projection_MK).sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))

    @pytest.mark.parametrize("tile", [1, 25, 2**18])
    def test_gradients_are_those_of_the_equations(self, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tiles of one token, of two, and of all."""
        monkeypatch.setattr(favor, "_TILE_CPU", tile)
        projection_MK = _draw(5, 3)
        inputs = [_normal(7, 2, 3, seed=seed).requires_grad_() for seed in range(3)]
        weights = _normal(7, 2, 3, seed=9)
        ours = favor_attention(*inputs, _cu([4, 0, 3]), _cu([4, 0, 3]), projection_MK, scale=0.5)
        parts = zip(*(one.split([4, 3]) for one in inputs), strict=True)
        theirs = torch.cat([brute_force(*part, projection_MK, 0.5) for part in parts])
        torch.testing.assert_close(ours, theirs)
        found = torch.autograd.grad((ours * weights).sum(), inputs)
        expected = torch.autograd.grad((theirs * weights).sum(), inputs)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)

    def test_numerical_gradients_of_unequal_segments(self) -> None:
        """Keys that nobody reads, and values of another width."""
        inputs = [_normal(rows, 2, width, seed=rows).requires_grad_() for rows, width in ((3, 3), (6, 3), (6, 2))]

        def read(*tensors: Tensor) -> Tensor:
            return favor_attention(*tensors, _cu([2, 0, 1]), _cu([3, 2, 1]), _draw(4, 3))

        assert torch.autograd.gradcheck(read, inputs)

    def test_nothing_at_all(self) -> None:
        empty = torch.zeros(0, 2, 4)
        assert favor_attention(empty, empty, empty, _cu([]), _cu([]), _draw(5, 4).float()).shape == (0, 2, 4)


class TestModule:
    CU = _cu([4, 6])

    def call(self, module: FavorAttention, seed: int = 0) -> Tensor:
        q, k, v = (_normal(10, 2, module.width, seed=seed + i).float() for i in range(3))
        out: Tensor = module(q, k, v, self.CU, self.CU)
        return out

    def build(self, seed: int = 0, **options: int | None) -> FavorAttention:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return FavorAttention(4, 8, **options)  # type: ignore[arg-type]

    def test_default_number_of_features_is_the_published_one(self) -> None:
        assert default_num_features(64) == 266
        assert FavorAttention(64).projection_MK.shape == (266, 64)
        assert default_num_features(1) == 1

    def test_redrawn_every_so_many_training_calls_and_never_at_evaluation(self) -> None:
        module = self.build(redraw_every=3).train()
        seen = []
        for _ in range(7):
            self.call(module)
            seen.append(module.projection_MK)
        changed = [not torch.equal(one, other) for one, other in pairwise(seen)]
        assert changed == [False, False, True, False, False, True]
        bias_MR = module.bias_projection_MR
        module.eval()
        outputs = [self.call(module) for _ in range(5)]
        assert all(torch.equal(outputs[0], other) for other in outputs)
        assert torch.equal(module.projection_MK, seen[-1])
        assert torch.equal(module.bias_projection_MR, bias_MR)
        assert int(module.num_calls) == 7

    def test_never_redrawn_where_not_asked_for(self) -> None:
        module = self.build(redraw_every=None).train()
        before = module.projection_MK
        for _ in range(5):
            self.call(module)
        assert module.projection_MK is before

    def test_a_resumed_module_draws_what_the_unbroken_one_draws(self) -> None:
        unbroken, resumed = self.build(redraw_every=3).train(), self.build(seed=5, redraw_every=3).train()
        for _ in range(5):
            self.call(unbroken)
        assert not torch.equal(self.call(resumed), self.call(self.build(redraw_every=3)))
        resumed.load_state_dict(unbroken.state_dict())
        for _ in range(6):
            assert torch.equal(self.call(resumed), self.call(unbroken))

    def test_the_seed_is_an_initial_weight(self) -> None:
        assert torch.equal(self.build(1).projection_MK, self.build(1).projection_MK)
        assert not torch.equal(self.build(1).projection_MK, self.build(2).projection_MK)

    def test_a_draw_between_forward_and_backward_leaves_the_gradient_alone(self) -> None:
        def gradient(calls_between: int) -> Tensor:
            module = self.build(redraw_every=1).train()
            q = _normal(10, 2, 4).float().requires_grad_()
            out = module(q, q, q, self.CU, self.CU)
            for _ in range(calls_between):
                self.call(module)
            return torch.autograd.grad(out.square().sum(), q)[0]

        assert torch.equal(gradient(0), gradient(2))

    def test_wrong_settings_and_a_bias_too_wide(self) -> None:
        with pytest.raises(UserError, match="num_features: got 0"):
            FavorAttention(4, 0)
        with pytest.raises(UserError, match="redraw_every: got 0"):
            FavorAttention(4, redraw_every=0)
        wide = torch.zeros(2, 1, 4 + MAX_BIAS_RANK + 1)
        with pytest.raises(UserError, match=f"{MAX_BIAS_RANK + 1} columns"):
            FavorAttention(4).weights(wide, wide)


class TestPerformer:
    """Blocks with many features are the blocks of full attention."""

    def test_block_approaches_full_attention_with_and_without_bias(self) -> None:
        torch.manual_seed(0)
        performer = PerformerBlock(12, 2, 16, 0.0, head_width=3, num_features=30_000).eval().double()
        full = TransformerBlock(12, 2, 16, 0.0, head_width=3).eval().double()
        full.load_state_dict({k: v for k, v in performer.state_dict().items() if not k.startswith("favor.")})
        tokens, cu = _normal(11, 12), _cu([4, 7])
        for bias in (None, (_normal(11, 2, seed=1, size=0.6), _normal(11, 2, seed=2, size=0.6))):
            torch.testing.assert_close(performer(tokens, cu, 7, bias), full(tokens, cu, 7, bias), atol=0.03, rtol=0)
        # The bias must matter more than the tolerance, or the comparison says nothing about it.
        assert (full(tokens, cu, 7, bias) - full(tokens, cu, 7)).abs().max() > 0.1

    @pytest.mark.parametrize("rows", [2, 1024])
    def test_read_out_is_the_forward_pass(self, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(performer_module, "_ROWS", rows)
        torch.manual_seed(0)
        trunk = PackedPerformer(12, 2, 3, 16, num_features=5, redraw_every=1).double()
        tokens, cu, bias = _normal(9, 12), _cu([5, 4]), (_normal(9, 2, seed=1), _normal(9, 2, seed=2))
        block = trunk.blocks[0]
        assert isinstance(block, PerformerBlock)
        for part in (slice(0, 5), slice(5, 9)):
            q, k, v = block.heads(tokens[part], (bias[0][part], bias[1][part]))
            read, mean_LL = block.read_and_weights(q, k, v)
            before = block.favor.projection_MK
            torch.testing.assert_close(read, block.favor.read(q, k, v, _cu([len(q)]), _cu([len(q)]), scale=block.scale))
            assert block.favor.projection_MK is before
            torch.testing.assert_close(mean_LL.double(), block.favor.weights(q, k, scale=block.scale).mean(0))
        both, first, last = (list(trunk.attention(tokens, cu, bias, layers=layers)) for layers in (None, [0], [-1]))
        for mean_LL, first_LL, last_LL in zip(both, first, last, strict=True):
            torch.testing.assert_close(mean_LL, (first_LL + last_LL) / 2)
        # Second layer: its inputs are what the first block gives, so the read-out follows the forward pass.
        q, k, _ = trunk.blocks[1].heads(trunk.eval().blocks[0](tokens, cu, 5, bias), bias)  # type: ignore[operator]
        expected = trunk.blocks[1].favor.weights(q[5:], k[5:], scale=block.scale).mean(0)  # type: ignore[union-attr,operator]
        torch.testing.assert_close(last[1].double(), expected)
