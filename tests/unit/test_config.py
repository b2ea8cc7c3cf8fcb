"""Strict recipes: full paths, nearest names, overrides, environment names, hashes."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from grn_cotrain.config import (
    ComponentSpec,
    apply_overrides,
    canonical_hash,
    expand_environment,
    load_yaml,
    parse,
    to_dict,
)
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe
from tests.worlds import tiny_recipe


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise UserError(f"rate: got {self.rate}; give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Outer:
    number: int
    part: ComponentSpec = field(default_factory=lambda: ComponentSpec("plain"))
    inner: Inner = field(default_factory=Inner)
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    limit: float | None = None
    weights: dict[str, float] = field(default_factory=dict)


def test_a_complete_mapping() -> None:
    given = {
        "number": 3,
        "part": {"name": "sage", "layers": 2},
        "inner": {"rate": 1, "names": ["x", "y"]},
        "kind": "b",
        "flag": True,
        "limit": "1e-3",
        "weights": {"m": 2},
    }
    found = parse(Outer, given)
    assert found == Outer(
        number=3,
        part=ComponentSpec("sage", {"layers": 2}),
        inner=Inner(rate=1.0, names=("x", "y")),
        kind="b",
        flag=True,
        limit=0.001,
        weights={"m": 2.0},
    )
    assert parse(Outer, to_dict(found)) == found
    assert parse(Outer, {"number": 3, "part": "sage"}).part == ComponentSpec("sage")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "missing key 'number'"),
        ({"number": 1, "nummber": 2}, "unknown key 'nummber' (did you mean 'number'?); known keys: flag, inner"),
        ({"number": 1, "inner": {"rte": 2}}, "unknown key 'inner.rte' (did you mean 'rate'?)"),
        ({"number": True}, "number: got True; it takes int"),
        ({"number": 1.0}, "number: got 1.0; it takes int"),
        ({"number": None}, "number: got None; it takes int"),
        ({"number": 1, "flag": 1}, "flag: got 1; it takes bool"),
        ({"number": 1, "flag": "yes"}, "flag: got 'yes'; it takes bool"),
        ({"number": 1, "limit": "much"}, "limit: got 'much'; it takes float"),
        ({"number": 1, "limit": float("nan")}, "limit: got nan; it takes float"),
        ({"number": 1, "limit": "inf"}, "limit: got 'inf'; it takes float"),
        ({"number": 1, "limit": True}, "limit: got True; it takes float"),
        ({"number": 1, "kind": "c"}, "kind: got 'c'; choose from a, b"),
        ({"number": 1, "inner": {"names": "x"}}, "inner.names: got 'x'; it takes a list"),
        ({"number": 1, "inner": {"names": ["x", 2]}}, "inner.names[1]: got 2; it takes str"),
        ({"number": 1, "inner": {"rate": -1}}, "inner: rate: got -1.0; give 0 or more"),
        ({"number": 1, "inner": 3}, "inner: got 3; it takes a mapping"),
        ({"number": 1, "part": {"layers": 2}}, "part: got {'layers': 2}; give a component's name"),
        ({"number": 1, "weights": {"m": "x"}}, "weights.m: got 'x'; it takes float"),
        ({"number": 1, 7: 2}, "unknown key '7'"),
        ([], "got []; it takes a mapping"),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Outer, given)
    assert message in str(caught.value)


def test_overrides() -> None:
    given = {"a": {"b": 1}, "part": "sage", "day": datetime.date(2020, 1, 1)}
    changed = apply_overrides(given, ["a.b=2", "a.c.d=[1, x]", "part.layers=3", "e=null", "f=a=b"])
    assert changed == {
        "a": {"b": 2, "c": {"d": [1, "x"]}},
        "part": {"name": "sage", "layers": 3},
        "day": datetime.date(2020, 1, 1),
        "e": None,
        "f": "a=b",
    }
    assert given == {"a": {"b": 1}, "part": "sage", "day": datetime.date(2020, 1, 1)}, "the caller's is left alone"
    for override, message in (
        ("a.b", "not of the form a.b=c"),
        ("=1", "not of the form a.b=c"),
        ("a.b.c=1", "'b' is no mapping"),
        ("a=[1", "is not a YAML value"),
    ):
        with pytest.raises(UserError) as caught:
            apply_overrides(given, [override])
        assert message in str(caught.value)
        assert override in str(caught.value)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PLACE", "here")
    assert expand_environment({"a": ["${SOME_PLACE}/x", 1], "b": "$SOME_PLACE"}) == {
        "a": ["here/x", 1],
        "b": "$SOME_PLACE",
    }
    monkeypatch.setenv("SOME_PLACE", "")
    with pytest.raises(UserError, match=r"environment variable SOME_PLACE is not set.*export SOME_PLACE="):
        expand_environment("${SOME_PLACE}")


def test_hash_depends_on_content_alone() -> None:
    recipe = tiny_recipe(Path("prep"))
    plain = to_dict(recipe)
    backwards = json.loads(json.dumps(dict(reversed(plain.items()))))
    assert canonical_hash(backwards) == canonical_hash(recipe) == canonical_hash(parse(Recipe, plain))
    assert canonical_hash(recipe.with_seed(1)) != canonical_hash(recipe)


def test_yaml_files(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path / "bytes.yaml")
    (tmp_path / "code.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_yaml(tmp_path / "code.yaml")
