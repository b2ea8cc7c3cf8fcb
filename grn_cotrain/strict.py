"""Strict JSON and YAML: what a stranger's file may hold, how deep, how long, and how many digits. No torch here.

Every reader of JSON and YAML goes through this module, so that a hostile or damaged file ends in one line. Depth,
digits, repeated keys, NaN and infinity, and aliases that multiply are refused before anything is built from them.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from grn_cotrain.errors import UserError

__all__ = [
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_JSON_BYTES",
    "MAX_YAML_BYTES",
    "MAX_YAML_NODES",
    "check_shape",
    "parse_json",
    "parse_yaml",
    "read_limited",
    "shown",
    "understood",
    "waits",
]

MAX_DEPTH = 64
"""Levels of lists and mappings. Our own files need 6."""
MAX_CONTAINERS = 3_000_000
"""Lists and mappings of a JSON file; Python needs seconds to build more."""
MAX_DIGITS = 100
"""Digits of one whole number. Ours have 20 at most."""
MAX_JSON_BYTES = 1 << 29
"""Size of a JSON file: a vocabulary of five million peaks fits."""
MAX_YAML_BYTES = 1 << 18
"""Size of a YAML file. A recipe has 3 KiB; the parser needs a second for each 150 KiB."""
MAX_YAML_NODES = 100_000
"""Values of a YAML file after every alias is replaced by what it stands for."""


_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_OPEN_ALREADY = re.compile(r"/dev/(fd/\d+|stdin)|/proc/self/fd/\d+")  # `<(command)` of a shell: nothing to wait for


class _RefusedError(ValueError):
    """Description of what is wrong with a text; the caller names the file."""


def shown(value: Any, limit: int = 80) -> str:
    """``repr`` of a value for a message, cut after ``limit`` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of too many digits, a structure that is too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def read_limited(path: str | Path, limit: int) -> str:
    """UTF-8 text of a regular file of at most ``limit`` bytes.

    Raises
    ------
    FileNotFoundError
        No such file.
    OSError, ValueError
        Not a regular file, too large, not UTF-8, a name that no file can have.
    """
    with open(_regular(path), "rb") as handle:
        raw = handle.read(limit + 1)
    if len(raw) > limit:
        raise _RefusedError(f"it has more than {limit:,} bytes")
    return raw.decode("utf-8")


def _regular(path: str | Path) -> str:
    """The path, if it can be opened and read to an end."""
    name = os.fspath(path)
    if stat.S_ISDIR(os.stat(name).st_mode):
        raise IsADirectoryError(21, "Is a directory", name)
    if waits(name):
        raise _RefusedError("it is not a regular file")
    return name


def waits(path: str | Path) -> bool:
    """Whether opening or reading a path may never end: a pipe that nobody writes to, a device."""
    name = os.fspath(path)
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and not _OPEN_ALREADY.fullmatch(name)


# -- JSON --------------------------------------------------------------------------------------------------------------


def parse_json(text: str, where: str) -> Any:
    """Parse JSON strictly.

    Parameters
    ----------
    text
        The text.
    where
        How the message calls it, for example ``run record 'run/run.json'``.

    Raises
    ------
    UserError
        Not JSON, a key that occurs twice, NaN or infinity, a number of over :data:`MAX_DIGITS` digits, more than
        :data:`MAX_DEPTH` levels, or text that is not Unicode.
    """
    try:
        if text.count("[") + text.count("{") > MAX_CONTAINERS:
            raise _RefusedError(f"it holds more than {MAX_CONTAINERS:,} lists and mappings")
        value = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=_whole_number,
            parse_float=_finite_number,
            parse_constant=_no_constant,
        )
        _check_depth(value)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeEncodeError and ours are ValueErrors
        reason = f"it is nested deeper than {MAX_DEPTH} levels" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{where}: cannot be read ({reason}); it is damaged, make it again") from None
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _RefusedError(f"key {shown(twice)} occurs twice")
    return result


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _RefusedError(f"a number has {len(text):,} digits, at most {MAX_DIGITS} are read")
    return int(text)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(f"number {text[:20]} is too large")
    return number


def _no_constant(text: str) -> Any:
    raise _RefusedError(f"{text} is not a number in JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise _RefusedError(f"it is nested deeper than {MAX_DEPTH} levels")


# -- YAML --------------------------------------------------------------------------------------------------------------

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp")}
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that refuses depth and repeated keys while it reads."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > 2 * MAX_DEPTH:  # a mapping's value is a level below its key's
            raise _RefusedError(f"it is nested deeper than {MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusedError(f"line {key.start_mark.line + 1}: a key must be a name, not a list or mapping")
            if (key.tag, key.value) in seen and key.tag != _MERGE:
                raise _RefusedError(f"line {key.start_mark.line + 1}: key '{key.value[:80]}' occurs twice")
            seen.add((key.tag, key.value))
        return node


def parse_yaml(text: str) -> Any:
    """Parse one YAML value strictly; the caller names the file, and refuses infinity where it knows the key.

    Raises
    ------
    ValueError
        In one line, what is wrong: not YAML, a key that occurs twice, aliases that multiply or refer to themselves,
        depth, digits, a tag that makes something else than plain values.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _RefusedError(" ".join(str(error).split())) from None
    except RecursionError:
        raise _RefusedError(f"it is nested deeper than {MAX_DEPTH} levels") from None


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Values and levels of a node once its aliases are replaced; refuses what is too much."""
    if id(node) in known:
        measured = known[id(node)]
        if measured is None:
            raise _RefusedError(f"line {node.start_mark.line + 1}: an alias refers to itself")
        return measured
    known[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node)
        size, depth = 1, 0
    else:
        if node.tag not in _TAGS:
            raise _RefusedError(f"line {node.start_mark.line + 1}: tag '{node.tag}' is not read")
        children = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        parts = [_measure(child, known) for child in children]
        size, depth = 1 + sum(part[0] for part in parts), 1 + max((part[1] for part in parts), default=0)
    if size > MAX_YAML_NODES:
        raise _RefusedError(f"line {node.start_mark.line + 1}: it holds more than {MAX_YAML_NODES:,} values")
    if depth > MAX_DEPTH:
        raise _RefusedError(f"line {node.start_mark.line + 1}: it is nested deeper than {MAX_DEPTH} levels")
    known[id(node)] = size, depth
    return size, depth


def _check_scalar(node: yaml.ScalarNode) -> None:
    place, text = f"line {node.start_mark.line + 1}", str(node.value)
    kind = node.tag.rpartition(":")[2]
    if node.tag not in _TAGS | {_MERGE}:
        raise _RefusedError(f"{place}: tag '{node.tag}' is not read")
    if kind in ("int", "float") and len(text) > MAX_DIGITS:
        raise _RefusedError(f"{place}: a number has {len(text):,} digits, at most {MAX_DIGITS} are read")
    if "\0" in text or _SURROGATE.search(text):
        raise _RefusedError(f"{place}: text holds a character that no file or name can have")


# -- content -----------------------------------------------------------------------------------------------------------


@contextmanager
def understood(where: str, fix: str) -> Iterator[None]:
    """Turn what wrong types and missing keys of a file raise into one line that names the file.

    Put it around the lines that interpret a file's content, and around nothing else.

    Raises
    ------
    UserError
        ``WHERE: cannot be read (...); FIX``, for anything that content can cause; a UserError passes.
    """
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(
            f"{where}: cannot be read (no key {shown(error.args[0] if error.args else '')}); {fix}"
        ) from None
    except (AttributeError, IndexError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{where}: cannot be read ({str(error)[:200] or type(error).__name__}); {fix}") from None


def check_shape(value: Any, shape: Any, where: str, *, key: str = "") -> None:
    """Refuse a loaded value that has not the given shape; names the key.

    Parameters
    ----------
    value
        Content of a file.
    shape
        A type or a tuple of types (a whole number counts as a float, a truth value as none); ``[shape]``: a list of
        such; ``{str: shape}``: a mapping of any names; ``{"key": shape, "other?": shape}``: a mapping that has these
        keys, of which those with a question mark may be missing or null, and may have others; None: anything.
    where
        How the message calls the file.

    Raises
    ------
    UserError
        One line: file, key, the value found and the type that is expected.
    """
    if shape is None:
        return
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(value, "a mapping", where, key)
        if str in shape:
            for name, item in value.items():
                check_shape(item, shape[str], where, key=f"{key}.{name}" if key else str(name))
            return
        for written, inner in shape.items():
            name = written.removesuffix("?")
            full = f"{key}.{name}" if key else name
            if name in value and not (written.endswith("?") and value[name] is None):
                check_shape(value[name], inner, where, key=full)
            elif name not in value and written == name:
                raise UserError(f"{where}: key '{full}' is missing; the file is damaged or of another version")
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(value, "a list", where, key)
        if isinstance(shape[0], type) and all(type(item) is shape[0] for item in value):
            return  # the common case: no key is built for each of a million names
        for i, item in enumerate(value):
            check_shape(item, shape[0], where, key=f"{key}[{i}]")
        return
    kinds = shape if isinstance(shape, tuple) else (shape,)
    if isinstance(value, bool):
        fits = bool in kinds
    else:
        fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
    if not fits:
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise _wrong(value, names, where, key)


def _wrong(value: Any, expected: str, where: str, key: str) -> UserError:
    place = f"{where}: key '{key[:80]}'" if key else where
    return UserError(f"{place} holds {shown(value)}, not {expected}; the file is damaged or of another version")
