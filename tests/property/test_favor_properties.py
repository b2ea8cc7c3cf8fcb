"""FAVOR+ over any lengths and sizes: segments do not see each other, and what is read is a mean of what is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from grn_cotrain.nn import favor
from grn_cotrain.nn.favor import draw_projection, favor_attention, favor_weights


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[int], tuple[Tensor, ...]]:
    """Lengths of query and key segments, then queries, keys, values and a projection in float64."""
    len_k = draw(st.lists(st.integers(0, 7), max_size=5))
    len_q = [draw(st.integers(0, 6)) if length else 0 for length in len_k]
    heads, width, value_width = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    size = draw(st.sampled_from([0.1, 1.0, 50.0]))
    arrays = (
        size * generator.standard_normal((sum(len_q), heads, width)),
        size * generator.standard_normal((sum(len_k), heads, width)),
        generator.standard_normal((sum(len_k), heads, value_width)),
    )
    projection_MK = draw_projection(draw(st.integers(1, 12)), width, generator)
    return len_q, len_k, (*(torch.from_numpy(array) for array in arrays), projection_MK.double())


@pytest.fixture(params=[1, 60, 2**18], ids=["one token a tile", "some", "all"])
def tiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that are computed together."""
    monkeypatch.setattr(favor, "_TILE_CPU", request.param)


def _cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


@pytest.mark.usefixtures("tiled")
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases())
def test_packed_equals_one_at_a_time_and_the_weights(case: tuple[list[int], list[int], tuple[Tensor, ...]]) -> None:
    len_q, len_k, (q, k, v, projection_MK) = case
    together = favor_attention(q, k, v, _cu(len_q), _cu(len_k), projection_MK)
    assert together.shape == (sum(len_q), *v.shape[1:])
    parts = zip(together.split(len_q), q.split(len_q), k.split(len_k), v.split(len_k), strict=True)
    for out, one_q, one_k, one_v in parts:
        if not len(one_q):
            continue
        alone = favor_attention(one_q, one_k, one_v, _cu([len(one_q)]), _cu([len(one_k)]), projection_MK)
        torch.testing.assert_close(out, alone)
        weights_HLS = favor_weights(one_q, one_k, projection_MK)
        assert (weights_HLS >= 0).all()
        torch.testing.assert_close(weights_HLS.sum(-1), torch.ones_like(weights_HLS[..., 0]))
        torch.testing.assert_close((weights_HLS @ one_v.transpose(0, 1)).transpose(0, 1), out)
        # No output lies outside of the values it is a mean of, however large the logits.
        assert (out <= one_v.amax(0) + 1e-9).all()
        assert (out >= one_v.amin(0) - 1e-9).all()


@settings(deadline=None, max_examples=30)
@given(cases())
def test_order_of_keys_does_not_matter(case: tuple[list[int], list[int], tuple[Tensor, ...]]) -> None:
    len_q, len_k, (q, k, v, projection_MK) = case
    order = torch.cat(
        [start + torch.arange(n).flip(0) for n, start in zip(len_k, _cu(len_k).tolist(), strict=False)]
        or [torch.zeros(0).long()]
    )
    plain = favor_attention(q, k, v, _cu(len_q), _cu(len_k), projection_MK)
    turned = favor_attention(q, k[order], v[order], _cu(len_q), _cu(len_k), projection_MK)
    torch.testing.assert_close(turned, plain)
