"""Arms: the full grid of values, each arm changes the keys it names and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from grn_cotrain.compare.vary import make_arms, recipe_of, short_names
from grn_cotrain.config import to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import load_recipe
from grn_cotrain.recipe_diff import differing_keys, recipe_differences

RECIPE = Path(__file__).resolve().parents[3] / "experiments" / "configs" / "demo_sim.yaml"


def test_the_grid_is_full_and_the_last_key_varies_fastest() -> None:
    arms = make_arms(["model.cell_encoder=transformer,scgpt", "graph.messages=true,rewired"])
    assert [arm.name for arm in arms] == [
        "cell_encoder=transformer, messages=true",
        "cell_encoder=transformer, messages=rewired",
        "cell_encoder=scgpt, messages=true",
        "cell_encoder=scgpt, messages=rewired",
    ]


def test_an_arm_changes_what_it_names_alone() -> None:
    base = to_dict(load_recipe(RECIPE))
    changed = recipe_of(RECIPE, make_arms(["graph.messages=rewired", "train.max_steps=7"])[0])
    assert {key for key, _, _ in recipe_differences(base, to_dict(changed))} == {"graph.messages", "train.max_steps"}
    assert recipe_of(RECIPE, make_arms(["graph.messages=true"])[0], seed=5).seed == 5


@pytest.mark.parametrize("key", ["graph.messages", "data.expression"])
def test_the_word_true_is_a_choice_like_others(key: str) -> None:
    """YAML reads the word as a truth value; a key that takes words takes this one."""
    section, _, name = key.partition(".")
    recipe = load_recipe(RECIPE, [f"{key}=true"])
    assert getattr(getattr(recipe, section), name) == "true"
    with pytest.raises(UserError, match="choose from true"):
        load_recipe(RECIPE, [f"{key}=false"])


def test_values_are_yaml_and_commas_inside_brackets_do_not_split() -> None:
    arms = make_arms(["model.cell_encoder={name: scgpt, num_layers: 2},transformer", "data.test_cells=0.1,2.0e-1"])
    assert len(arms) == 4
    first, last = (recipe_of(RECIPE, arm) for arm in (arms[0], arms[-1]))
    assert (first.model.cell_encoder.name, first.model.cell_encoder.options) == ("scgpt", {"num_layers": 2})
    assert last.data.test_cells == 0.2
    (table,) = make_arms(["model.table.inductive=[expression, tf_family]"])
    assert recipe_of(RECIPE, table).model.table.inductive == ("expression", "tf_family")


def test_short_names_tell_keys_apart() -> None:
    assert short_names(["train.schedule.name", "train.max_steps"]) == {
        "train.schedule.name": "schedule",
        "train.max_steps": "max_steps",
    }
    assert short_names(["model.cell_encoder.num_layers", "model.graph_encoder.num_layers"]) == {
        "model.cell_encoder.num_layers": "cell_encoder.num_layers",
        "model.graph_encoder.num_layers": "graph_encoder.num_layers",
    }


@pytest.mark.parametrize(
    ("vary", "match"),
    [
        ([], "vary: not given"),
        (["train.max_steps"], "not of the form KEY=VALUE"),
        (["=3"], "not of the form KEY=VALUE"),
        (["seed=0,1"], "give them with seeds"),
        (["train.max_steps=5,,7"], "has an empty value"),
        (["train.max_steps="], "has an empty value"),
        (["train.max_steps=5,5"], "'5' is given twice"),
        (["train.max_steps=5", "train.max_steps=7"], "list all its values in one vary"),
        (["model.table.inductive=[a"], "is not a YAML value"),
        ([f"train.{key}={','.join(map(str, range(1, 20)))}" for key in ("max_steps", "accumulate")], "more than 200"),
    ],
)
def test_wrong_variations(vary: list[str], match: str) -> None:
    with pytest.raises(UserError, match=match):
        make_arms(vary)


def test_what_differs_between_runs_is_named() -> None:
    recipes = [to_dict(load_recipe(RECIPE, [override])) for override in ("seed=0", "seed=1", "graph.messages=none")]
    assert differing_keys(recipes) == {"seed": [0, 1, 0], "graph.messages": ["true", "true", "none"]}
    assert differing_keys(recipes[:1]) == {}
