"""Options of a job: one dataclass holds them for the command line, for Python's keyword arguments and for the docs.

A field made by :func:`option` carries its help text. :func:`keywords` lets a function that takes such an object be
called with keyword arguments; ``grn_cotrain.cli`` makes flags of the same fields. So the three cannot differ.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from grn_cotrain.config import LARGEST_SEED
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["Option", "Options", "keywords", "option", "options_of", "pair", "seed_option", "with_options"]

R = TypeVar("R")
O = TypeVar("O", bound="Options")  # noqa: E741
_UNSET: Any = dataclasses.MISSING


@dataclass(frozen=True)
class Option:
    """Facts about an option in addition to its name, type and default.

    Attributes
    ----------
    help
        One sentence that begins with a noun or an imperative.
    metavar
        Name of the value in ``--help``.
    parse
        Text of the command line -> value, where the type alone does not determine it. It raises UserError with the
        reason and the fix alone; option and text are put before it.
    low, high
        Bounds, both included.
    flag
        Spelling on the command line, where it is not the field's own name.
    """

    help: str
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    low: float | None = None
    high: float | None = None
    flag: str | None = None


def option(
    default: Any = _UNSET,
    help: str = "",
    *,
    factory: Callable[[], Any] = _UNSET,
    **more: Any,
) -> Any:
    """Return a dataclass field with its :class:`Option`; ``more`` are the other attributes of one."""
    return field(default=default, default_factory=factory, metadata={"option": Option(help, **more)})


def seed_option() -> Any:
    """Return the field of a seed, which is the same everywhere."""
    return option(0, "Random seed.", low=0, high=LARGEST_SEED)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the options of a job: checks bounds and choices when it is made.

    Raises
    ------
    UserError
        A value out of its bounds, or not among the choices of its type.
    """

    def __post_init__(self) -> None:
        for name, (known, hint) in options_of(type(self)).items():
            value, flag = getattr(self, name), f"--{name.replace('_', '-')}"
            choices = _choices(hint)
            if isinstance(value, str) and choices and value not in choices and str not in _parts(hint):
                number = "a number or " if {int, float} & set(_parts(hint)) else ""
                wanted = f"give {number}" if number else "choose from "
                raise UserError(f"{flag} '{value}': {wanted}{', '.join(choices)}{did_you_mean(value, choices)}")
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                low, high = known.low, known.high
                if (low is not None and not value >= low) or (high is not None and not value <= high):
                    wanted = f"{low:g} or more" if high is None else f"{low:g} to {_plain(high)}"
                    raise UserError(f"{flag} '{value}': give {wanted}")


def pair(text: str) -> tuple[str, str]:
    """``COLUMN=VALUE`` in two."""
    column, equals, value = text.partition("=")
    if not equals or not column or not value:
        raise UserError("give COLUMN=VALUE, for example cell_type=B")
    return column, value


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _parts(hint: Any) -> tuple[Any, ...]:
    """Members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _choices(hint: Any) -> list[str]:
    """Texts that literal types allow."""
    literals = [part for part in _parts(hint) if get_origin(part) is Literal]
    return [value for part in literals for value in get_args(part) if isinstance(value, str)]


def options_of(kind: Any) -> dict[str, tuple[Option, Any]]:
    """Name -> option and type of each field of a dataclass that :func:`option` made, in order."""
    hints = get_type_hints(kind)
    return {item.name: (item.metadata["option"], hints[item.name]) for item in _fields(kind)}


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    """Fields that are options: what a class adds comes before what it inherits."""
    known = {item.name: item for item in dataclasses.fields(kind) if "option" in item.metadata}
    order = dict.fromkeys(name for cls in kind.__mro__ for name in inspect.get_annotations(cls) if name in known)
    return [known[name] for name in order]


def with_options(function: Callable[..., Any]) -> dict[str, type]:
    """Name -> dataclass of each parameter of a function that is an options object."""
    hints = {name: hint for name, hint in get_type_hints(function, include_extras=True).items() if name != "return"}
    found = {}
    for name, hint in hints.items():
        kinds = [part for part in _parts(hint) if isinstance(part, type) and dataclasses.is_dataclass(part)]
        if kinds and options_of(kinds[0]):
            found[name] = kinds[0]
    return found


def _parameters(kind: type) -> Iterator[inspect.Parameter]:
    for item in _fields(kind):
        default: Any = inspect.Parameter.empty
        if item.default is not dataclasses.MISSING:
            default = item.default
        elif item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        yield inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=item.type)


def keywords(kind: type[O], *, name: str = "options") -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let callers give the fields of ``kind`` as keyword arguments in the place of the parameter ``name``.

    An object of ``kind`` is taken as well, and fields given with it replace its own. The signature and the docstring
    (at its line ``{name}``, under *Parameters*) show the fields.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        known = options_of(kind)
        signature = inspect.signature(function)
        place = list(signature.parameters).index(name)

        @wraps(function)
        def called(*args: Any, **given: Any) -> R:
            if len(args) > place:
                if not isinstance(args[place], kind):
                    raise TypeError(f"{function.__name__}() takes {next(iter(known))} and the like by keyword alone")
            else:
                own = {key: given.pop(key) for key in list(given) if key in known}
                given[name] = _filled(kind, given.get(name), own, function.__name__)
            return function(*args, **given)

        rest = [item for item in signature.parameters.values() if item.name != name]
        before = [item for item in rest if item.kind is not item.KEYWORD_ONLY]
        after = [item for item in rest if item.kind is item.KEYWORD_ONLY]
        shown = signature.replace(parameters=[*before, *_parameters(kind), *after])
        called.__signature__ = shown  # type: ignore[attr-defined]
        if function.__doc__:
            rows = "".join(f"    {key}\n        {one.help}\n" for key, (one, _) in known.items())
            called.__doc__ = function.__doc__.replace(f"    {{{name}}}\n", rows)
        return called

    return decorate


def _filled(kind: type[O], given: O | None, own: dict[str, Any], function: str) -> O:
    if given is not None:
        return dataclasses.replace(given, **own) if own else given
    lacking = [item.name for item in _parameters(kind) if item.default is item.empty and item.name not in own]
    if lacking:
        raise TypeError(f"{function}() lacks the keyword argument '{lacking[0]}'")
    return kind(**own)
