"""Differences of recipes; plain values."""

from __future__ import annotations

import json

import numpy as np

from grn_cotrain.card.plain import plain
from grn_cotrain.evaluate.bootstrap import Interval
from grn_cotrain.present import table
from grn_cotrain.present.sections import Section
from grn_cotrain.recipe_diff import recipe_differences

SECTION = Section(
    "key",
    "Title",
    ("A paragraph [not markup].",),
    (table(("name", "value"), [("a|b", "1.5"), ("c", "-")], caption="Caption"),),
)


def test_recipe_differences_are_paths() -> None:
    a = {"name": "x", "train": {"steps": 1, "schedule": {"name": "joint"}}, "list": [1, 2], "only": 1}
    b = {"name": "x", "train": {"steps": 2, "schedule": {"name": "link_only"}}, "list": [1, 3], "new": {"deep": 4}}
    assert recipe_differences(a, b) == [
        ("train.steps", 1, 2),
        ("train.schedule.name", "joint", "link_only"),
        ("list", [1, 2], [1, 3]),
        ("only", 1, None),
        ("new", None, {"deep": 4}),
    ]
    assert recipe_differences(a, a) == []


def test_plain_values_are_json() -> None:
    value = {"a": Interval(1.0, float("nan"), np.float32(2)), "b": (np.int64(3), np.array([1.5, np.inf])), "c": SECTION}
    found = plain(value)
    json.dumps(found, allow_nan=False)
    assert found["a"] == {"value": 1.0, "low": None, "high": 2.0}
    assert found["b"] == [3, [1.5, None]]
    assert found["c"]["tables"][0]["caption"] == "Caption"
