"""Arms of a comparison: every combination of the values that ``--vary KEY=VALUE,VALUE`` gives to keys of a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.config import LARGEST_SEED, canonical_hash
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe, load_recipe
from grn_cotrain.strict import parse_yaml

__all__ = ["Arm", "check_arms", "make_arms", "parse_seeds", "recipe_of", "short_names"]

_OPENING, _CLOSING = "[{(", "]})"
MOST_ARMS = 200
"""A grid with more arms is a slip of the keyboard."""


@dataclass(frozen=True)
class Arm:
    """One combination of values.

    Attributes
    ----------
    name
        Short name for tables, such as ``cell_encoder=scgpt, messages=rewired``.
    settings
        Key of the recipe -> value as the user wrote it.
    """

    name: str
    settings: Mapping[str, str]

    @property
    def overrides(self) -> list[str]:
        """The settings as ``--set`` takes them."""
        return [f"{key}={value}" for key, value in self.settings.items()]


def make_arms(vary: Sequence[str]) -> list[Arm]:
    """Make the full grid of ``KEY=VALUE,VALUE,...``; the last key varies fastest.

    Raises
    ------
    UserError
        No key, a key without values, a key or a value that is given twice, a value that is not YAML, more than
        :data:`MOST_ARMS` arms.
    """
    if not vary:
        raise UserError(
            "--vary: not given; name a key and its values, for example model.cell_encoder=transformer,scgpt"
        )
    values: dict[str, list[str]] = {}
    for text in vary:
        key, value = _parse(text)
        if key in values:
            raise UserError(f"--vary '{text}': '{key}' is given twice; list all its values in one --vary")
        values[key] = value
    names = short_names(list(values))
    combinations = list(itertools.islice(itertools.product(*values.values()), MOST_ARMS + 1))
    if len(combinations) > MOST_ARMS:
        raise UserError(f"--vary: makes more than {MOST_ARMS} arms; give fewer values")
    return [
        Arm(
            ", ".join(f"{names[key]}={value}" for key, value in zip(values, combination, strict=True)),
            dict(zip(values, combination, strict=True)),
        )
        for combination in combinations
    ]


def _parse(text: str) -> tuple[str, list[str]]:
    key, equals, listed = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"--vary '{text}': not of the form KEY=VALUE,VALUE; write for example train.max_steps=100,300")
    if key == "seed":
        raise UserError(f"--vary '{text}': seeds are not an arm; give them with --seeds")
    values = [value.strip() for value in _split(listed)]
    if not all(values):
        raise UserError(f"--vary '{text}': has an empty value; write each value between commas (null for none)")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise UserError(f"--vary '{text}': '{twice[0]}' is given twice; give each value once")
    for value in values:
        try:
            parse_yaml(value)
        except ValueError as error:
            raise UserError(f"--vary '{text[:200]}': '{value[:80]}' is not a YAML value ({str(error)[:120]})") from None
    return key, values


def _split(text: str) -> Iterator[str]:
    """Split at commas that are outside of brackets and quotes."""
    start, depth, quote = 0, 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest ends of dotted keys that distinguish the keys; an end that is only ``name`` is skipped."""
    parts = {key: [part for part in key.split(".") if part != "name"] or key.split(".") for key in keys}
    names = {}
    for key in keys:
        for length in range(1, len(parts[key]) + 1):
            name = ".".join(parts[key][-length:])
            if all(other == key or parts[other][-length:] != parts[key][-length:] for other in keys):
                break
        names[key] = name
    return names if len(set(names.values())) == len(keys) else {key: key for key in keys}


def recipe_of(recipe: str | Path, arm: Arm, *, overrides: Sequence[str] = (), seed: int | None = None) -> Recipe:
    """Resolve the recipe of an arm.

    Raises
    ------
    UserError
        A key that is unknown or a value that it does not take; the message begins with the arm.
    """
    seeds = [] if seed is None else [f"seed={seed}"]
    try:
        return load_recipe(recipe, [*overrides, *arm.overrides, *seeds])
    except UserError as error:
        raise UserError(f"--vary {', '.join(arm.overrides)}: {error}") from None


def check_arms(recipe: str | Path, arms: Sequence[Arm], *, overrides: Sequence[str] = ()) -> list[Recipe]:
    """Resolve all arms, with their components, before anything runs; returns one recipe for each arm.

    Raises
    ------
    UserError
        A key, value, component or option that is unknown; two arms that are the same recipe.
    """
    load_recipe(recipe, overrides)
    recipes: list[Recipe] = []
    seen: dict[str, Arm] = {}
    for arm in arms:
        resolved = recipe_of(recipe, arm, overrides=overrides)
        try:
            _check_components(resolved)
        except UserError as error:
            raise UserError(f"--vary {', '.join(arm.overrides)}: {error}") from None
        other = seen.setdefault(canonical_hash(resolved, length=64), arm)
        if other is not arm:
            raise UserError(f"--vary: '{other.name}' and '{arm.name}' are the same recipe; leave one of them out")
        recipes.append(resolved)
    return recipes


def _check_components(recipe: Recipe) -> None:
    """Parse the options of every component, which a recipe alone leaves to the building of the model."""
    from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
    from grn_cotrain.nn.couplings import COUPLINGS
    from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
    from grn_cotrain.nn.link_decoders import LINK_DECODERS
    from grn_cotrain.objectives import OBJECTIVES

    kinds = {"graph_encoder": GRAPH_ENCODERS, "coupling": COUPLINGS, "link_decoder": LINK_DECODERS}
    for kind, registry in kinds.items():
        chosen = getattr(recipe.model, kind)
        registry.config(chosen.name, chosen.options, path=f"model.{kind}")  # type: ignore[attr-defined]
    for encoder in recipe.model.encoder_specs.values():
        CELL_ENCODERS.config(encoder.component.name, encoder.component.options, path=encoder.path)
    for name, options in recipe.objectives.items():
        OBJECTIVES.config(name, options, path=f"objectives.{name}")


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of ``0,1,2``.

    Raises
    ------
    UserError
        Anything but whole numbers that a seed may be, each once.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds '{text}': not whole numbers separated by commas; write for example 0,1,2") from None
    wrong = [seed for seed in seeds if not 0 <= seed <= LARGEST_SEED]
    if wrong:
        raise UserError(f"--seeds '{text}': {wrong[0]} cannot be a seed; give 0 to {LARGEST_SEED}")
    if len(set(seeds)) != len(seeds):
        raise UserError(f"--seeds '{text}': a seed is given twice; give each seed once")
    return seeds
