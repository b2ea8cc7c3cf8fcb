"""Strict mappings -> dataclasses, ``--set a.b=c`` overrides, environment names, canonical hashes. No torch here."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import math
import os
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.strict import MAX_YAML_BYTES, parse_yaml, read_limited, shown

__all__ = [
    "LARGEST_SEED",
    "ComponentSpec",
    "apply_overrides",
    "canonical_hash",
    "expand_environment",
    "load_yaml",
    "parse",
    "require",
    "require_number",
    "require_seed",
    "to_dict",
]

C = TypeVar("C")

LARGEST_SEED = 2**32 - 1
"""The largest seed that scikit-learn and numba accept; all other generators accept more."""

_ENVIRONMENT_HINTS = {
    "GRN_COTRAIN_DATA": (
        "set it to the folder of real data sets (export GRN_COTRAIN_DATA=/path/to/data), or run `make demo`,"
        " which needs none"
    ),
}


_EXPANDED = "GRN_COTRAIN_"

# Sizes that a stranger's recipe or config.json may ask for, by the last word of the key: nothing is allocated, and no
# loop runs, before they are checked. They are far above the sizes of any model here.
_LARGEST = {
    "layers": 512,
    "heads": 1 << 12,
    "width": 1 << 15,
    "hidden": 1 << 16,
    "rank": 1 << 16,
    "ranks": 1 << 22,
    "bins": 1 << 16,
    "features": 1 << 16,
    "latents": 1 << 16,
    "bases": 1 << 12,
    "buckets": 1 << 20,
    "tokens": 1 << 24,
    "batch": 1 << 27,
    "accumulate": 1 << 16,
    "bootstrap": 1 << 20,
}
_LARGEST_WHOLE = (1 << 63) - 1


@dataclasses.dataclass(frozen=True)
class ComponentSpec:
    """A registered component and its options, as a recipe writes it: ``{name: sage, num_layers: 2}`` or ``sage``."""

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def load_yaml(path: str | Path, *, what: str = "recipe") -> dict[str, Any]:
    """Read one YAML mapping strictly; every failure is a one-line :class:`UserError` that names the file.

    The limits are those of :func:`grn_cotrain.strict.parse_yaml`: size, depth, aliases, digits, repeated keys.
    """
    try:
        text = read_limited(path, MAX_YAML_BYTES)
    except FileNotFoundError:
        raise UserError(f"{what} '{path}': no such file; give the path of a YAML {what}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{what} '{path}': cannot be read ({error}); give a UTF-8 YAML file") from None
    try:
        loaded = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{what} '{path}': not valid YAML ({error}); mend it at that place") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{what} '{path}': holds {type(loaded).__name__}; it must hold a mapping of keys to values")
    return loaded


def expand_environment(value: Any, paths: Collection[str] | None = None, *, key: str = "") -> Any:
    """Replace ``${GRN_COTRAIN_...}`` in paths. No other variable is read: it could hold a secret that a run publishes.

    Parameters
    ----------
    value
        Text, or lists and mappings of it.
    paths
        Full keys whose values are paths, with ``[]`` for any place of a list (``prep.counts[]``). Default: every text
        is one.
    key
        Full key of ``value``, for messages.

    Raises
    ------
    UserError
        A name that does not begin with ``GRN_COTRAIN_``, a name outside a path, a variable that is not set.
    """
    if isinstance(value, dict):
        return {
            name: expand_environment(item, paths, key=f"{key}.{name}" if key else str(name))
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [expand_environment(item, paths, key=f"{key}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    place = f"{key}: '{value}'" if key else f"'{value}'"

    def substitute(match: re.Match[str]) -> str:
        name = match.group(1)
        if not name.startswith(_EXPANDED):
            raise UserError(
                f"{place}: names the environment variable {name}; only names that begin with {_EXPANDED} are expanded,"
                " and only in paths: write the value itself"
            )
        if paths is not None and re.sub(r"\[\d+\]", "[]", key) not in paths:
            raise UserError(
                f"{place}: names the environment variable {name}, but {key} is not a path, and variables are expanded"
                " in paths alone: write the value itself"
            )
        if not os.environ.get(name):
            hint = _ENVIRONMENT_HINTS.get(name, f"set it: export {name}=...")
            raise UserError(f"environment variable {name} is not set, but {place} needs it; {hint}")
        return os.environ[name]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", substitute, value)


def apply_overrides(mapping: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of ``mapping`` with each ``a.b=c`` (value read as YAML) put in place."""
    result = copy.deepcopy(dict(mapping))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise UserError(f"--set '{override}': not of the form a.b=c; write for example --set train.max_steps=100")
        try:
            value = parse_yaml(text)
        except ValueError as error:
            raise UserError(
                f"--set '{override[:200]}': '{text[:80]}' is not a YAML value ({str(error)[:120]}); quote it"
            ) from None
        node = result
        *parents, leaf = key.strip().split(".")
        for parent in parents:
            child = node.get(parent)
            if isinstance(child, str):  # `graph_encoder: sage` opened up by `graph_encoder.num_layers=2`
                child = {"name": child}
            if child is None:
                child = {}
            if not isinstance(child, dict):
                raise UserError(f"--set '{override}': '{parent}' is not a mapping, so it has no key below it")
            node[parent] = child
            node = child
        node[leaf] = value
    return result


def parse(cls: type[C], mapping: Any, *, path: str = "") -> C:
    """Build dataclass ``cls`` from ``mapping``, refusing unknown keys and wrong types by their full path."""
    if not isinstance(mapping, Mapping):
        raise UserError(f"{path or cls.__name__}: got {shown(mapping)}; it takes a mapping of keys")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            full = f"{path}.{key}" if path else str(key)
            known = ", ".join(sorted(fields)) or "none"
            raise UserError(f"unknown key '{full}'{did_you_mean(str(key), fields)}; known keys: {known}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        full = f"{path}.{name}" if path else name
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], full)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"missing key '{full}'; add it")
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{path}: {error}" if path else str(error)) from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        members = [member for member in arguments if member is not type(None)]
        problem: UserError | None = None
        for member in members:
            try:
                return _convert(member, value, path)
            except UserError as error:
                problem = problem or error
        assert problem is not None
        raise problem
    if origin is Literal:
        if isinstance(value, bool) and value not in arguments and str(value).lower() in arguments:
            return str(value).lower()  # YAML reads the word true as a truth value
        if (
            isinstance(value, (str, int, float))
            and value in arguments
            and not (isinstance(value, bool) and True not in arguments and False not in arguments)
        ):
            return value
        choices = ", ".join(str(choice) for choice in arguments)
        raise UserError(
            f"{path}: got {shown(value)}; choose from {choices}{did_you_mean(str(value), map(str, arguments))}"
        )
    if hint is ComponentSpec:
        if isinstance(value, ComponentSpec):
            return value
        if isinstance(value, str):
            return ComponentSpec(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return ComponentSpec(value["name"], {key: item for key, item in value.items() if key != "name"})
        raise UserError(f"{path}: got {shown(value)}; give a component's name, or a mapping with the key 'name'")
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, path=path)  # type: ignore[arg-type]
    if origin in (tuple, list):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{path}: got {shown(value)}; it takes a list")
        member = arguments[0] if arguments else Any
        return origin(_convert(member, item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{path}: got {shown(value)}; it takes a mapping")
        return {str(key): _convert(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):  # YAML reads 1e-3 as text
            number = float(value)
            if math.isfinite(number):  # JSON, and so the canonical hash, knows no other
                return number
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        word = re.split(r"[._]", path)[-1]
        largest = _LARGEST.get(word, _LARGEST_WHOLE)
        if word == "seed":
            return value  # require_seed checks it
        if abs(value) > largest:
            raise UserError(f"{path}: got {shown(value)}; give at most {largest:,}")
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise UserError(f"{path}: got {shown(value)}; it takes {getattr(hint, '__name__', hint)}")


def to_dict(value: Any) -> Any:
    """Dataclasses, tuples and component specs -> plain JSON values, in declaration order.

    A field whose metadata hold ``omit_default`` is left out while it has its default, so that a recipe that does not
    use it has the hash that it always had.
    """
    if isinstance(value, ComponentSpec):
        return {"name": value.name, **to_dict(value.options)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = {
            field.name: getattr(value, field.name) for field in dataclasses.fields(value) if not _omitted(field, value)
        }
        return {name: to_dict(item) for name, item in kept.items()}
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_dict(item) for item in value]
    return value


def _omitted(field: dataclasses.Field[Any], value: Any) -> bool:
    if not field.init:
        return True
    return bool(field.metadata.get("omit_default")) and getattr(value, field.name) == field.default


def require(condition: bool, message: str) -> None:
    """Refuse a setting with one line that names it, its value and the fix."""
    if not condition:
        raise UserError(message)


def require_number(config: Any, name: str, what: str, holds: Callable[[Any], bool]) -> None:
    """Refuse ``config.name`` unless it is None or ``holds``; ``what`` states what to give."""
    value = getattr(config, name)
    require(value is None or holds(value), f"{name}: got {value}; give {what}")


def require_seed(seed: int) -> None:
    """Refuse a seed that NumPy, PyTorch or scikit-learn would not take."""
    require(0 <= seed <= LARGEST_SEED, f"seed: got {seed}; give 0 to {LARGEST_SEED}")


def canonical_hash(value: Any, *, length: int = 16) -> str:
    """SHA-256 (first ``length`` hex digits) of the value's canonical JSON: independent of key order."""
    text = json.dumps(to_dict(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
