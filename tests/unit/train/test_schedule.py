"""Schedules and loss weights."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from grn_cotrain.errors import UserError
from grn_cotrain.recipe import ScheduleConfig, WeightingConfig
from grn_cotrain.train.optimizer import learning_rate_factor
from grn_cotrain.train.schedule import Schedule
from grn_cotrain.train.weighting import UncertaintyWeighting, build_weighting

BOTH, CELLS, LINKS = frozenset("ml"), frozenset("m"), frozenset("l")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("joint", [BOTH] * 6),
        ("loop", [BOTH] * 6),
        ("alternating", [CELLS, LINKS] * 3),
        ("mlm_only", [CELLS] * 6),
        ("link_only", [LINKS] * 6),
        ("pretrain_then_link", [CELLS] * 3 + [LINKS] * 3),
        ("frozen_graph", [BOTH] * 6),
        ("frozen_cells", [BOTH] * 6),
    ],
)
def test_active_objectives(name: str, expected: list[frozenset[str]]) -> None:
    schedule = Schedule(ScheduleConfig(name=name), 6, ("m",), ("l",))
    assert [schedule.active(step) for step in range(6)] == expected


def test_pretrain_share_and_alternation_are_read() -> None:
    schedule = Schedule(ScheduleConfig(name="pretrain_then_link", pretrain_share=0.25), 8, ("m",), ("l",))
    assert [schedule.active(s) == CELLS for s in range(8)] == [True] * 2 + [False] * 6
    assert not schedule.may_stop(1)
    assert schedule.may_stop(2)
    slow = Schedule(ScheduleConfig(name="alternating", alternate_every=2), 8, ("m",), ("l",))
    assert [slow.active(s) == CELLS for s in range(6)] == [True, True, False, False, True, True]


def test_frozen_parts() -> None:
    parts = {n: Schedule(ScheduleConfig(name=n), 2, ("m",), ("l",)).frozen_parts for n in ("frozen_graph", "joint")}
    assert parts == {"frozen_graph": ("graph_encoder",), "joint": ()}
    assert Schedule(ScheduleConfig(name="frozen_cells"), 2, ("m",), ("l",)).frozen_parts == ("cell_encoder",)


def test_weights() -> None:
    fixed = build_weighting(WeightingConfig(weights={"l": 2.0}), ("m", "l"))
    assert fixed.current(["m", "l"], 5) == {"m": 1.0, "l": 2.0}
    scheduled = build_weighting(WeightingConfig(name="scheduled", start={"l": 0.0}, weights={"l": 2.0}, steps=4), "ml")
    assert [scheduled.weight("l", s) for s in (0, 1, 4, 9)] == [0.0, 0.5, 2.0, 2.0]
    with pytest.raises(UserError, match=r"link_predicton.*did you mean 'link_prediction'"):
        build_weighting(WeightingConfig(weights={"link_predicton": 1.0}), ("masked_value", "link_prediction"))


def test_uncertainty_weighting_finds_its_optimum() -> None:
    """d/ds (exp(-s) L + s) / 2 = 0 at exp(s) = L: the weighted loss settles at (1 + log L) / 2."""
    weighting = UncertaintyWeighting(("m",))
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        weighting.combine("m", torch.tensor(4.0), 0).backward()
        optimizer.step()
    assert weighting.log_variance["m"].item() == pytest.approx(math.log(4.0), abs=1e-3)
    assert weighting.combine("m", torch.tensor(4.0), 0).item() == pytest.approx((1 + math.log(4.0)) / 2, abs=1e-3)


def test_learning_rate_does_not_depend_on_the_size_of_the_data() -> None:
    factors = [learning_rate_factor(s, warmup_steps=4, max_steps=20) for s in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[20] == pytest.approx(0.05)
    assert all(a >= b for a, b in pairwise(factors[4:]))
