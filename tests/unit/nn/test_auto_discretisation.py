"""Auto-discretisation against its equations in plain Python, and the binnings it was compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.value_sketch import SketchedValues, ValueSketch
from grn_cotrain.nn.auto_discretisation import (
    AutoDiscretisation,
    EqualBins,
    RoundBins,
    UpBins,
    ValueEmbedding,
    build_value_embedding,
)


def _auto(num_bins: int = 7, width: int = 3, alpha: float = 0.6, **options: Any) -> AutoDiscretisation:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoDiscretisation(width, num_bins, alpha, **options).double()


def _by_hand(module: AutoDiscretisation, value: float) -> tuple[list[float], list[float]]:
    """Section 3.3 of the paper, one number at a time: the bins' weights and the embedding."""
    w1 = [row[0] for row in module.first.weight.tolist()]
    w2, table, alpha = module.second.weight.tolist(), module.table.weight.tolist(), module.alpha
    bins = range(len(w1))
    b1, b2 = ([0.0] * len(w1) if m.bias is None else m.bias.tolist() for m in (module.first, module.second))
    v1 = [value * w1[j] + b1[j] for j in bins]
    v2 = [x if x > 0 else module.slope * x for x in v1]
    v3 = [sum(w2[i][j] * v2[j] for j in bins) + b2[i] + alpha * v2[i] for i in bins]
    exponentials = [math.exp(x - max(v3)) for x in v3]
    v4 = [x / sum(exponentials) for x in exponentials]
    return v4, [sum(table[j][d] * v4[j] for j in bins) for d in range(len(table[0]))]


@pytest.mark.parametrize("options", [{}, {"offsets": True, "slope": 0.1}])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_it_equals_the_equations(alpha: float, options: dict[str, Any]) -> None:
    """The paper's, and those of the code that scFoundation released."""
    module = _auto(alpha=alpha, **options)
    assert module.slope == options.get("slope", 0.01)
    assert (module.first.bias is not None) is options.get("offsets", False)
    values = [0.02, 0.7, 1.99, 2.01, 6.3, -1.5]  # log-scale values of other origin may be negative
    weights, rows = module.weights(torch.tensor(values).double()), module(torch.tensor(values).double())
    for index, value in enumerate(torch.tensor(values).double().tolist()):
        shares, embedding = _by_hand(module, value)
        torch.testing.assert_close(weights[index], torch.tensor(shares).double())
        torch.testing.assert_close(rows[index], torch.tensor(embedding).double())


def test_published_sizes_and_no_offsets() -> None:
    module = AutoDiscretisation(4)
    sizes = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
    assert sizes == {
        "zero_row_D": (4,),
        "mask_D": (4,),
        "first.weight": (100, 1),
        "second.weight": (100, 100),
        "table.weight": (100, 4),
    }


def _distance(module: AutoDiscretisation, one: Tensor, other: Tensor) -> Tensor:
    """Total variation between two mixtures of bins: 0 the same, 1 disjoint."""
    return 0.5 * (module.weights(one) - module.weights(other)).abs().sum(-1)


def test_near_values_have_near_weights_and_far_ones_have_not() -> None:
    module = _auto(num_bins=100)
    grid = torch.linspace(0.1, 8.0, 80).double()
    near = _distance(module, grid, grid + 1e-3)
    assert near.max() < 2e-3
    # No jump anywhere, unlike any binning: halving the step halves the largest change.
    halved = _distance(module, grid, grid + 5e-4)
    torch.testing.assert_close(halved, near / 2, rtol=2e-3, atol=0)
    low, high = torch.tensor([0.5]).double(), torch.tensor([6.0]).double()
    assert (_distance(module, low, high) > 0.3).all()
    # The further, the more different.
    apart = _distance(module, low, torch.tensor([1.0, 2.0, 4.0, 8.0]).double())
    assert (apart.diff() > 0).all()


def test_round_bins_take_small_values_for_zeros() -> None:
    module = RoundBins(2, 6)
    values = torch.tensor([0.3, 0.51, 1.99, 2.01, 4.4, 99.0, -3.0])
    assert module.bins(values).tolist() == [0, 1, 2, 2, 4, 5, 0]
    assert torch.equal(module(values)[0], module.zero_D)
    assert not torch.equal(module(values)[1], module.zero_D)
    assert "zero_row_D" not in dict(module.named_parameters())


def test_up_bins_keep_zero_apart() -> None:
    module = UpBins(2, 6)
    values = torch.tensor([1e-6, 1.0, 1.01, 2.0, 5.5, 99.0, -3.0])
    assert module.bins(values).tolist() == [0, 0, 1, 1, 5, 5, 0]
    assert not torch.equal(module(values)[0], module.zero_D)


def sketched(values_N: np.ndarray) -> SketchedValues:
    sketch = ValueSketch(1)
    sketch.add(np.zeros(len(values_N), dtype=int), values_N)
    return sketch.result()


def test_equal_bins_are_equally_full_on_training_values() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=1000).astype(np.float32)
    module = EqualBins(2, 8)
    assert module.bins(torch.from_numpy(values)).unique().tolist() == [0]
    module.prepare(sketched(values))
    assert torch.bincount(module.bins(torch.from_numpy(values)), minlength=8).tolist() == [125] * 8
    ranks = np.argsort(np.argsort(values))
    np.testing.assert_array_equal(module.bins(torch.from_numpy(values)).numpy(), ranks * 8 // 1000)
    assert module.bins(torch.tensor([-9.0, 99.0])).tolist() == [0, 7]


def test_equal_bins_put_ties_into_one_bin_and_travel_with_the_weights() -> None:
    module = EqualBins(2, 4)
    module.prepare(sketched(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0])))
    assert len(module.bins(torch.tensor([1.0, 1.0])).unique()) == 1
    other = EqualBins(2, 4)
    other.load_state_dict(module.state_dict())
    values = torch.tensor([0.5, 1.0, 1.5, 2.5, 3.5])
    assert torch.equal(other.bins(values), module.bins(values))
    module.prepare(sketched(np.array([])))  # no cell with a value: the edges stay
    assert torch.equal(other.edges_K, module.edges_K)


@pytest.mark.parametrize("kind", ["auto", "round", "up", "equal"])
def test_every_kind_is_built_by_name_and_learns(kind: str) -> None:
    module: ValueEmbedding = build_value_embedding(kind, 5, 9)  # type: ignore[arg-type]
    rows = module(torch.tensor([0.4, 1.6, 3.0]))
    assert rows.shape == (3, 5)
    assert module.zero_D.shape == module.mask_D.shape == (5,)
    (rows.sum() + module.zero_D.sum() + module.mask_D.sum()).backward()
    assert all(weight.grad is not None for weight in module.parameters())
