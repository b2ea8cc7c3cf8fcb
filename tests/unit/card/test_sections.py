"""Neutral sections as Markdown and on a console; differences of recipes; plain values."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from grn_cotrain.card.plain import plain
from grn_cotrain.card.sections import Section, Table, number, render, to_markdown
from grn_cotrain.evaluate.bootstrap import Interval
from grn_cotrain.recipe_diff import recipe_differences

SECTION = Section(
    "key",
    "Title",
    ("A paragraph [not markup].",),
    (Table(("name", "value"), (("a|b", "1.5"), ("c", "-")), "Caption", (1,), "A note"),),
)


def test_markdown() -> None:
    text = to_markdown("Page", [SECTION])
    assert text.startswith(
        "# Page\n\n## Title\n\nA paragraph [not markup].\n\n**Caption**\n\n| name | value |\n| --- | ---: |"
    )
    assert "| a\\|b | 1.5 |" in text
    assert "*A note*" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_console(terminal: bool) -> None:
    out = io.StringIO()
    render([SECTION], Console(file=out, force_terminal=terminal, width=80))
    for words in ("Title", "A paragraph [not markup].", "Caption", "a|b", "1.5", "A note"):
        assert words in out.getvalue()
    if not terminal:
        assert "name  value\na|b     1.5\nc         -\n" in out.getvalue()


def test_a_table_has_one_width() -> None:
    with pytest.raises(ValueError, match="width"):
        Table(("a",), (("1", "2"),))


def test_numbers() -> None:
    assert number(-0.0001) == "0.000"
    assert [number(0.12345), number(None), number(float("nan")), number(0.5, 1, sign=True)] == [
        "0.123",
        "-",
        "-",
        "+0.5",
    ]


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
