"""Strict recipes: full paths, nearest names, overrides, environment names, hashes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing
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
from grn_cotrain.recipe import PATHS, Recipe, load_recipe
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
        ("a.b.c=1", "'b' is not a mapping"),
        ("a=[1", "is not a YAML value"),
    ):
        with pytest.raises(UserError) as caught:
            apply_overrides(given, [override])
        assert message in str(caught.value)
        assert override in str(caught.value)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRN_COTRAIN_PLACE", "here")
    assert expand_environment({"a": ["${GRN_COTRAIN_PLACE}/x", 1], "b": "$GRN_COTRAIN_PLACE"}) == {
        "a": ["here/x", 1],
        "b": "$GRN_COTRAIN_PLACE",
    }
    monkeypatch.setenv("GRN_COTRAIN_PLACE", "")
    with pytest.raises(
        UserError, match=r"environment variable GRN_COTRAIN_PLACE is not set.*export GRN_COTRAIN_PLACE="
    ):
        expand_environment("${GRN_COTRAIN_PLACE}")


def _recipe_file(folder: Path, **changes: str) -> Path:
    lines = {"name": "name: x", "data": "data: {prep: '${GRN_COTRAIN_PLACE}/p', split: s}"} | changes
    (folder / "r.yaml").write_text("\n".join(lines.values()) + "\n")
    return folder / "r.yaml"


def test_a_recipe_takes_no_secret_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only GRN_COTRAIN_* and only in paths: the resolved recipe is published with the run."""
    monkeypatch.setenv("GRN_COTRAIN_PLACE", "here")
    monkeypatch.setenv("SOME_TOKEN", "hidden-word")
    recipe = load_recipe(
        _recipe_file(
            tmp_path,
            prep="prep: {counts: ['${GRN_COTRAIN_PLACE}/a.h5ad'], splits: [{kind: transfer, source_prep:"
            " '${GRN_COTRAIN_PLACE}/q'}]}",
        )
    )
    assert recipe.data.prep == "here/p"
    assert recipe.prep is not None
    assert recipe.prep.counts == ("here/a.h5ad",)
    assert recipe.prep.splits[0].source_prep == "here/q"
    for changes, key, variable in (
        ({"name": "name: '${SOME_TOKEN}'"}, "name", "SOME_TOKEN"),
        ({"name": "name: 'run of ${GRN_COTRAIN_PLACE}'"}, "name", "GRN_COTRAIN_PLACE"),
        ({"data": "data: {prep: '${SOME_TOKEN}/p', split: s}"}, "data.prep", "SOME_TOKEN"),
        ({"data": "data: {prep: p, split: '${GRN_COTRAIN_PLACE}'}"}, "data.split", "GRN_COTRAIN_PLACE"),
        ({"prep": "prep: {counts: a, layer: '${HOME}'}"}, "prep.layer", "HOME"),
        ({"train": "train: {loggers: ['${HOME}']}"}, "train.loggers[0]", "HOME"),
    ):
        with pytest.raises(UserError) as caught:
            load_recipe(_recipe_file(tmp_path, **changes))
        assert str(caught.value).startswith(f"{key}: ")
        assert f"environment variable {variable}" in str(caught.value)
        assert "hidden-word" not in str(caught.value)


def test_every_path_of_a_recipe_is_a_key_of_it() -> None:
    for path in PATHS:
        cls: Any = Recipe
        for part in path.replace("[]", "").split("."):
            hint = typing.get_type_hints(cls)[part]
            cls = next((kind for kind in flat(hint) if dataclasses.is_dataclass(kind)), hint)
        assert str in flat(cls), path


def flat(hint: Any) -> list[Any]:
    return [hint, *(kind for inner in typing.get_args(hint) for kind in flat(inner))]


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
    with pytest.raises(UserError, match=r"catalogue '.*none\.yaml': no such file"):
        load_yaml(tmp_path / "none.yaml", what="catalogue")
    with pytest.raises(UserError, match="Is a directory"):
        load_yaml(tmp_path)
    (tmp_path / "long.yaml").write_text("a: " + "x" * (1 << 18))
    with pytest.raises(UserError, match="more than 262,144 bytes"):
        load_yaml(tmp_path / "long.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.width=100000000"], "model.width: got 100000000; give at most 32,768"),
        (["model.tokens.num_bins=100000000"], "model.tokens.num_bins: got 100000000; give at most 65,536"),
        (["model.tokens.max_tokens=100000000"], "give at most 16,777,216"),
        (["train.tokens_per_batch=1000000000000"], "give at most 134,217,728"),
        (["evaluate.bootstrap=100000000"], "give at most 1,048,576"),
        ([f"train.max_steps={'9' * 30}"], "give at most 9,223,372,036,854,775,807"),
        ([f"train.max_steps={'9' * 6000}"], "is not a YAML value (line 1: a number has 6,000 digits"),
        ([f"train.learning_rate={'9' * 100}e999"], "it takes float"),
        ([f"name=[{'x, ' * 500}]"], "..."),
    ],
)
def test_sizes_and_numbers_have_a_limit(tmp_path: Path, changes: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(_recipe_file(tmp_path, data="data: {prep: p, split: s}"), changes)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
