"""Arms: what an arm names is all that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.arms import MODIFIERS, SCHEDULES, parse_arm, parse_arms
from grn_cotrain.config import to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import load_recipe

RECIPE = Path(__file__).resolve().parents[3] / "experiments" / "configs" / "demo_sim.yaml"


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for name, child in value.items() for key, item in flat(child, f"{prefix}.{name}").items()}
    return {prefix[1:]: value}


@pytest.mark.parametrize("arm", [*SCHEDULES, *(f"joint+{modifier}" for modifier in MODIFIERS)])
def test_an_arm_changes_one_setting(arm: str) -> None:
    joint = flat(to_dict(load_recipe(RECIPE, parse_arm("joint").overrides)))
    other = flat(to_dict(load_recipe(RECIPE, parse_arm(arm).overrides)))
    changed = {key for key in joint if joint[key] != other[key]}
    schedule, _, modifier = arm.partition("+")
    expected = {MODIFIERS[modifier].partition("=")[0]} if modifier else set()
    expected |= {"train.schedule.name"} if schedule != "joint" else set()
    assert changed == expected


def test_modifiers_add_up() -> None:
    recipe = load_recipe(RECIPE, parse_arm("link_only+rewired+permuted_genes+frozen_pca").overrides)
    assert recipe.train.schedule.name == "link_only"
    assert recipe.graph.messages == "rewired"
    assert recipe.data.expression == "permuted_genes"
    assert recipe.model.table.mode == "frozen_pca"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("jiont", "did you mean 'joint'"),
        ("rewired", r"write joint\+rewired"),
        ("joint+rewird", "did you mean 'rewired'"),
        ("joint+rewired+random_graph", "graph.messages a second time"),
        ("joint,joint", "given twice"),
        ("", "unknown schedule"),
    ],
)
def test_wrong_arms(text: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        parse_arms(text)


def test_what_arms_train() -> None:
    assert not parse_arm("link_only").trains_cells
    assert not parse_arm("mlm_only+rewired").trains_links
    assert parse_arm("joint").trains_cells
    assert parse_arm("joint").trains_links
