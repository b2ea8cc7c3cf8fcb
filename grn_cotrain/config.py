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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml

from grn_cotrain.errors import UserError, did_you_mean

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
"""Of all that draw, scikit-learn and numba take the least."""

_ENVIRONMENT_HINTS = {
    "GRN_COTRAIN_DATA": (
        "set it to the folder of real data sets (export GRN_COTRAIN_DATA=/path/to/data), or run `make demo`,"
        " which needs none"
    ),
}


@dataclasses.dataclass(frozen=True)
class ComponentSpec:
    """A registered component and its options, as a recipe writes it: ``{name: sage, num_layers: 2}`` or ``sage``."""

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read one YAML mapping; every failure is a one-line :class:`UserError` that names the file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"recipe '{path}': no such file; give the path of a YAML recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"recipe '{path}': cannot be read ({error}); give a UTF-8 YAML file") from None
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"recipe '{path}': not valid YAML ({error}); mend it at that place") from None
    if not isinstance(loaded, dict):
        raise UserError(f"recipe '{path}': holds {type(loaded).__name__}; it must hold a mapping of keys to values")
    return loaded


def expand_environment(value: Any) -> Any:
    """Replace ``${NAME}`` in every string; an unset name is an error that says how to set it."""
    if isinstance(value, dict):
        return {key: expand_environment(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_environment(item) for item in value]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        name = match.group(1)
        if not os.environ.get(name):
            hint = _ENVIRONMENT_HINTS.get(name, f"set it: export {name}=...")
            raise UserError(f"environment variable {name} is not set, but '{value}' needs it; {hint}")
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
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"--set '{override}': '{text}' is not a YAML value; quote it") from None
        node = result
        *parents, leaf = key.strip().split(".")
        for parent in parents:
            child = node.get(parent)
            if isinstance(child, str):  # `graph_encoder: sage` opened up by `graph_encoder.num_layers=2`
                child = {"name": child}
            if child is None:
                child = {}
            if not isinstance(child, dict):
                raise UserError(f"--set '{override}': '{parent}' is no mapping, so it has no key below it")
            node[parent] = child
            node = child
        node[leaf] = value
    return result


def parse(cls: type[C], mapping: Any, *, path: str = "") -> C:
    """Build dataclass ``cls`` from ``mapping``, refusing unknown keys and wrong types by their full path."""
    if not isinstance(mapping, Mapping):
        raise UserError(f"{path or cls.__name__}: got {mapping!r}; it takes a mapping of keys")
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
            raise UserError(f"missing key '{full}'; add it to the recipe")
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
        if value in arguments and not (isinstance(value, bool) and True not in arguments and False not in arguments):
            return value
        choices = ", ".join(str(choice) for choice in arguments)
        raise UserError(f"{path}: got {value!r}; choose from {choices}{did_you_mean(str(value), map(str, arguments))}")
    if hint is ComponentSpec:
        if isinstance(value, ComponentSpec):
            return value
        if isinstance(value, str):
            return ComponentSpec(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return ComponentSpec(value["name"], {key: item for key, item in value.items() if key != "name"})
        raise UserError(f"{path}: got {value!r}; give a component's name, or a mapping with the key 'name'")
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, path=path)  # type: ignore[arg-type]
    if origin in (tuple, list):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{path}: got {value!r}; it takes a list")
        member = arguments[0] if arguments else Any
        return origin(_convert(member, item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{path}: got {value!r}; it takes a mapping")
        return {str(key): _convert(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # YAML reads 1e-3 as text
            number = float(value)
            if math.isfinite(number):  # JSON, and so the canonical hash, knows no other
                return number
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise UserError(f"{path}: got {value!r}; it takes {getattr(hint, '__name__', hint)}")


def to_dict(value: Any) -> Any:
    """Dataclasses, tuples and component specs -> plain JSON values, in declaration order."""
    if isinstance(value, ComponentSpec):
        return {"name": value.name, **to_dict(value.options)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_dict(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_dict(item) for item in value]
    return value


def require(condition: bool, message: str) -> None:
    """Refuse a setting with one line that names it, its value and the fix."""
    if not condition:
        raise UserError(message)


def require_number(config: Any, name: str, what: str, holds: Callable[[Any], bool]) -> None:
    """Refuse ``config.name`` unless it is None or ``holds``; ``what`` says what to give."""
    value = getattr(config, name)
    require(value is None or holds(value), f"{name}: got {value}; give {what}")


def require_seed(seed: int) -> None:
    """Refuse a seed that NumPy, PyTorch or scikit-learn would not take."""
    require(0 <= seed <= LARGEST_SEED, f"seed: got {seed}; give 0 to {LARGEST_SEED}")


def canonical_hash(value: Any, *, length: int = 16) -> str:
    """SHA-256 (first ``length`` hex digits) of the value's canonical JSON: independent of key order."""
    text = json.dumps(to_dict(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
