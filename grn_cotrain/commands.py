"""Commands made of the options of a job: every field of its dataclass is an option of the command.

A command function takes its positional arguments, its own options, and the dataclasses whole. What it gets are objects
that were checked; an error that names one of their fields is shown with the command's spelling.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from grn_cotrain.config import ComponentSpec
from grn_cotrain.errors import UserError
from grn_cotrain.options import Option, options_of, with_options

__all__ = ["command", "flag_of"]

F = TypeVar("F", bound=Callable[..., Any])
_MISSING = dataclasses.MISSING


def flag_of(name: str) -> str:
    """Spelling of a field on the command line."""
    return f"--{name.replace('_', '-')}"


def command(app: typer.Typer, name: str, *, panel: str | None = None) -> Callable[[F], F]:
    """Register a function as a command of ``app``; its parameters that are options objects become options.

    Parameters
    ----------
    app
        Application or group.
    name
        Name of the command.
    panel
        Panel of ``--help``.
    """

    def decorate(function: F) -> F:
        app.command(name, rich_help_panel=panel)(_expanded(function))
        return function

    return decorate


def _expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with one parameter a field, as typer reads it."""
    kinds = with_options(function)
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    parameters = []
    for item in signature.parameters.values():
        if item.name in kinds:
            parameters += [_parameter(kinds[item.name], name) for name in options_of(kinds[item.name])]
        else:
            parameters.append(item.replace(annotation=hints[item.name], kind=inspect.Parameter.KEYWORD_ONLY))
    own = {item.name for item in signature.parameters.values() if item.name not in kinds}
    names = {name for kind in kinds.values() for name in options_of(kind)}
    # A positional argument keeps its words: "run 'x'" names a run, not an option.
    names |= {name for name in own if not any(isinstance(one, ArgumentInfo) for one in _metadata(hints[name]))}
    spelling = {name: flag_of(name) for name in names}

    @wraps(function)
    def called(**given: Any) -> Any:
        try:
            objects = {name: _built(kind, given) for name, kind in kinds.items()}
            return function(**objects, **{name: given[name] for name in own})
        except UserError as error:
            raise error.spelled(spelling) from None

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {item.name: item.annotation for item in parameters}
    del called.__wrapped__  # typer would read the signature of the function itself
    return called


def _metadata(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _parameter(kind: type, name: str) -> inspect.Parameter:
    option, hint = options_of(kind)[name]
    field = next(item for item in dataclasses.fields(kind) if item.name == name)
    default = field.default_factory() if field.default_factory is not _MISSING else field.default
    annotation: Any = _plain_type(hint, option)
    flags = (flag_of(name),)
    if annotation is bool and default is True:
        flags = (f"{flag_of(name)}/--no-{flag_of(name)[2:]}",)
    info = typer.Option(*flags, metavar=option.metavar, help=option.help)
    if default is _MISSING:
        default = inspect.Parameter.empty
    elif option.parse is not None and default is not None:
        default = default.name if isinstance(default, ComponentSpec) else str(default)
    elif option.parse is not None or default is None:
        annotation = annotation | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, info]
    )


def _plain_type(hint: Any, option: Option) -> Any:
    """The type that the command line converts a text to; what is not plain stays text."""
    if option.parse is not None:
        return str
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = [part for part in parts if part in (bool, int, float, str, Path)]
    literal = any(get_origin(part) is Literal for part in parts)
    if Path in plain:
        return Path
    return str if literal or not plain else plain[0]


def _built(kind: type, given: dict[str, Any]) -> Any:
    values = {}
    for name, (option, _) in options_of(kind).items():
        value = given[name]
        if option.parse is not None and isinstance(value, str):
            try:
                value = option.parse(value)
            except UserError as error:
                raise UserError(f"{flag_of(name)} '{given[name]}': {error}") from None
        values[name] = value
    return kind(**values)
