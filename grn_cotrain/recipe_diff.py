"""In what recipes differ: nested keys as paths, as one would give them to ``--set``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["differing_keys", "recipe_differences"]

_ABSENT = object()


def recipe_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return ``(path, value in a, value in b)`` of every leaf that differs, in order; None if a key is absent.

    Recipes come as plain values (:func:`grn_cotrain.config.to_dict`). Lists are compared as a whole.
    """
    return list(_walk(a, b, ""))


def differing_keys(recipes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Keys in which any of the recipes differs from the first, with the value of every recipe; None if absent."""
    keys = dict.fromkeys(key for other in recipes[1:] for key, _, _ in recipe_differences(recipes[0], other))
    return {key: [_value(recipe, key) for recipe in recipes] for key in keys}


def _value(recipe: Mapping[str, Any], key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _walk(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            yield from _walk(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{path}.{key}" if path else str(key))
    elif a != b:
        yield path, None if a is _ABSENT else a, None if b is _ABSENT else b
