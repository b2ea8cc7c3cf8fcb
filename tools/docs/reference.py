"""Pages and tables made from the code itself: recipe keys, components, controls, commands, figures of record.

Tables are in the pages between markers, so that people can read them anywhere: ``python -m tools.docs tables --write``
updates them, and a test keeps them equal to the code. The build makes whole pages (recipes, commands, Python API).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from grn_cotrain.cli.listing import registries
from grn_cotrain.config import ComponentSpec
from grn_cotrain.recipe import Recipe
from tools.docs.tables import TABLES, markdown
from tools.docs.text import Docstring, parse_docstring, to_markdown

__all__ = [
    "GENERATORS",
    "KIND_PAGES",
    "apps",
    "cli_page",
    "commands",
    "component_section",
    "expand",
    "key_rows",
    "key_table",
    "recipe_keys",
    "recipe_page",
]

ROOT = Path(__file__).resolve().parents[2]

#: Kind of component -> page that holds its mathematics and options.
KIND_PAGES = {
    "graph_encoder": "maths/graph-encoders.md",
    "backend": "maths/graph-encoders.md",
    "coupling": "maths/couplings.md",
    "cell_encoder": "maths/cells.md",
    "link_decoder": "maths/links.md",
    "link_loss": "maths/links.md",
    "objective": "maths/objectives.md",
    "inductive": "maths/genes.md",
    "control": "maths/controls.md",
    "head": "maths/cells.md",
    "edge_format": "exports.md",
}
#: Recipe keys that take a component -> its kind.
_COMPONENT_KEYS = {
    "model.graph_encoder": "graph_encoder",
    "model.coupling": "coupling",
    "model.cell_encoder": "cell_encoder",
    "model.link_decoder": "link_decoder",
    "objectives": "objective",
    "model.table.inductive": "inductive",
    "graph.backend": "backend",
    "evaluate.controls": "control",
}


# ---- keys of dataclasses ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class KeyRow:
    """One key: full path, type, default and description as Markdown; an empty description is a defect."""

    path: str
    type: str
    default: str
    description: str


def key_rows(cls: type, *, prefix: str = "", owner: type | None = None) -> list[KeyRow]:
    """Keys of a dataclass; descriptions from ``Attributes`` of the dataclass and its bases, or from ``owner``.

    A component documents its options in its ``Config``, or in its own docstring under ``Config`` or ``Parameters``.
    """
    described: dict[str, str] = {}
    for documented, names in ((owner, ("Parameters", "Config")), (cls, ("Attributes",))):
        for base in reversed(documented.__mro__ if documented is not None else ()):
            sections = parse_docstring(base).entries
            for name in names:
                described |= {key: text for key, text in sections.get(name, {}).items() if text}
    hints = typing.get_type_hints(cls)
    rows = []
    for field in dataclasses.fields(cls):
        default = "*required*"
        if field.default is not dataclasses.MISSING:
            default = _value(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = _value(field.default_factory())
        path = f"{prefix}{field.name}"
        rows.append(KeyRow(path, _type(hints[field.name]), default, described.get(field.name, "")))
    return rows


def recipe_keys() -> dict[str, list[KeyRow]]:
    """Every block of a recipe (its path, empty for the top) -> its keys."""
    blocks: dict[str, list[KeyRow]] = {}

    def visit(cls: type, path: str) -> None:
        blocks[path] = key_rows(cls, prefix=f"{path}." if path else "")
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            for inner in _dataclasses_in(hints[field.name]):
                visit(inner, f"{path}.{field.name}" if path else field.name)

    visit(Recipe, "")
    return blocks


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(hint) and hint is not ComponentSpec:
        yield hint  # type: ignore[misc]
    for argument in get_args(hint):
        yield from _dataclasses_in(argument)


def _type(hint: Any) -> str:
    """A type as one writes it in YAML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " / ".join(f"`{choice}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if argument is type(None) else _type(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if hint is ComponentSpec:
        return "component"
    if dataclasses.is_dataclass(hint):
        return "block"
    return {str: "text", int: "whole number", float: "number", bool: "true / false"}.get(hint, str(hint))


def _value(value: Any) -> str:
    """A default as one writes it in YAML."""
    if isinstance(value, ComponentSpec):
        return f"`{value.name}`"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(str(item) for item in value) + "]`"
    if isinstance(value, dict):
        return f"`{{{', '.join(f'{key}: {item}' for key, item in value.items())}}}`"
    return f"`{value}`"


def key_table(rows: list[KeyRow]) -> str:
    """Keys as a Markdown table."""
    cells = ((f"`{row.path}`", row.type, row.default, row.description) for row in rows)
    return markdown(("key", "takes", "default", "meaning"), cells)


def recipe_page() -> str:
    """The page that explains a recipe key by key."""
    intro = (
        "# Recipes, key by key\n\n"
        "A recipe is a YAML file with these keys. Unknown keys and wrong types are refused by their full path; "
        "`grn-cotrain check RECIPE.yaml` parses one, loads its data, runs one step and reports what it will cost. "
        "`--set a.b=c` changes one key. `${NAME}` in a value is the environment variable of that name. "
        "Paths are relative to the working directory.\n\n"
        "A *component* is a name, or a mapping of `name` and options: `sage`, or `{name: sage, num_layers: 3}`.\n"
    )
    parts = [intro]
    for path, rows in recipe_keys().items():
        cls = _block_class(path)
        title = f"`{path}`" if path else "Top level"
        parts.append(f"\n## {title}\n\n{parse_docstring(cls).text}\n\n{key_table(rows)}\n")
        for row in rows:
            if row.path in _COMPONENT_KEYS:
                kind = _COMPONENT_KEYS[row.path]
                names = ", ".join(
                    f"[`{name}`](../{KIND_PAGES[kind]}#{kind}-{name})" for name in registries()[kind].names()
                )
                parts.append(f"\nComponents for `{row.path}`: {names}.\n")
    return "".join(parts)


def _block_class(path: str) -> type:
    cls: type = Recipe
    for name in path.split(".") if path else ():
        cls = next(_dataclasses_in(typing.get_type_hints(cls)[name]))
    return cls


# ---- components ------------------------------------------------------------------------------------------------------


def component_section(kind: str, name: str, *, level: int = 3) -> str:
    """One component: what it does with its equation, paper, options and file.

    A link replaces what an earlier component of the kind shares with it (the docstring of their base, or all options).
    """
    component = next(c for c in registries()[kind].components() if c.name == name)
    cls = component.cls
    same_base, same_keys = _shared_before(kind, name)
    doc = parse_docstring(cls) if same_base else _own_docstring(cls)
    base = _documented_base(cls)
    if same_base and base is not None:
        link = f"The equation and its terms are those of [`{same_base}`](#{kind}-{same_base})."
        doc = dataclasses.replace(doc, text=doc.text.replace(f"See `{base.__name__}`.", link))
    source = Path(inspect.getfile(cls)).resolve().relative_to(ROOT)
    parts = [f'<a id="{kind}-{name}"></a>\n\n{"#" * level} `{name}`\n', doc.text]
    if "Notes" in doc.sections:
        parts.append(to_markdown(doc.sections["Notes"]))
    rows = component_keys(kind, name)
    if same_keys:
        parts.append(f"Options: those of [`{same_keys}`](#{kind}-{same_keys}).")
    elif rows:
        parts.append(key_table(rows))
    paper = "" if component.paper in ("-", "none", "") else f"{component.paper}. "
    parts.append(f"*{paper}Code: `{source}`.*".replace("..", "."))
    return "\n\n".join(parts) + "\n"


def component_keys(kind: str, name: str) -> list[KeyRow]:
    """Options of a component."""
    cls = registries()[kind].get(name)
    config = getattr(cls, "Config", None)
    return key_rows(config, owner=cls) if dataclasses.is_dataclass(config) else []


def _documented_base(cls: type) -> type | None:
    """The base class that the docstring points to (``See :class:`Base`.``)."""
    text = parse_docstring(cls).text
    return next((base for base in cls.__mro__[1:] if f"See `{base.__name__}`." in text and base.__doc__), None)


def _own_docstring(cls: type) -> Docstring:
    """The class's docstring, with its base's in place of a pointer to it."""
    doc, base = parse_docstring(cls), _documented_base(cls)
    if base is None:
        return doc
    text = doc.text.replace(f"See `{base.__name__}`.", parse_docstring(base).text)
    return dataclasses.replace(doc, text=text)


def _shared_before(kind: str, name: str) -> tuple[str | None, str | None]:
    """The first component listed before this one with the same documented base, and with the same options."""
    registry = registries()[kind]
    names = list(registry.names())
    before = names[: names.index(name)]
    base, rows = _documented_base(registry.get(name)), component_keys(kind, name)
    same_base = next((other for other in before if base and _documented_base(registry.get(other)) is base), None)
    same_keys = next((other for other in before if rows and component_keys(kind, other) == rows), None)
    return same_base, same_keys


def components(kind: str) -> str:
    """All components of a kind, one section each."""
    return "\n".join(component_section(kind, name) for name in registries()[kind].names())


def component_table() -> str:
    """Kinds and names, with links to their sections."""
    rows = []
    for kind, registry in registries().items():
        names = ", ".join(f"[`{name}`](../{KIND_PAGES[kind]}#{kind}-{name})" for name in registry.names())
        rows.append((f"`{kind}`", names))
    return markdown(("kind", "components"), rows)


def docstring(target: str) -> str:
    """Text of a class's or function's docstring above its sections: ``module:name``."""
    module, _, name = target.partition(":")
    documented: Any = importlib.import_module(module)
    for part in name.split("."):
        documented = getattr(documented, part)
    return parse_docstring(documented).text


# ---- commands --------------------------------------------------------------------------------------------------------


def apps() -> dict[str, Any]:
    """Program -> its typer app."""
    import data_prep.cli
    import experiments.__main__
    import grn_cotrain.cli

    return {
        "grn-prep": data_prep.cli.app,
        "grn-cotrain": grn_cotrain.cli.app,
        "python -m experiments": experiments.__main__.app,
    }


def commands(program: str) -> dict[str, Any]:
    """Full command line -> click command, groups opened up."""
    import typer

    found: dict[str, Any] = {}

    def visit(command: Any, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                visit(inner, f"{path} {name}")
        else:
            found[path] = command

    visit(typer.main.get_command(apps()[program]), program)
    return found


def cli_page() -> str:
    """The page of commands: every argument and option of every program."""
    parts = [
        "# Command line\n\n"
        "Every command reports wrong input in one line and exits with code 2. "
        "`--help` on any command prints the same text.\n"
    ]
    for program in apps():
        parts.append(f"\n## {program}\n")
        for path, command in commands(program).items():
            parts.append(f"\n### {path}\n\n{_help(command.help)}\n\n```text\n{_usage(path, command)}\n```\n")
            rows = [_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
            if rows:
                parts.append(f"\n{markdown(('', 'default', 'meaning'), rows)}\n")
    return "".join(parts)


def _help(text: str | None) -> str:
    return " ".join((text or "").replace("\f", " ").split())


def _usage(path: str, command: Any) -> str:
    words = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            metavar = _metavar(parameter)
            words.append(metavar if parameter.required or metavar.startswith("[") else f"[{metavar}]")
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {_metavar(parameter)}")
    if any(p.param_type_name == "option" and not p.required for p in command.params):
        words.append("[OPTIONS]")
    return " ".join(words)


def _metavar(parameter: Any) -> str:
    metavar = parameter.metavar or parameter.name.upper()
    return metavar + (" ..." if parameter.nargs == -1 and "..." not in metavar else "")


def _parameter(parameter: Any) -> tuple[str, str, str]:
    default = parameter.default() if callable(parameter.default) else parameter.default
    shown = (
        ""
        if default is None or default is False or repr(default) == "Sentinel.UNSET" or default == ()
        else str(default)
    )
    if parameter.param_type_name == "argument":
        name = f"`{_metavar(parameter)}`"
    else:
        flag = "" if parameter.is_flag else f" {_metavar(parameter)}"
        name = f"`{', '.join([*parameter.opts, *parameter.secondary_opts])}{flag}`"
    shown = "*required*" if parameter.required else (f"`{shown}`" if shown else "")
    return name, shown, _help(getattr(parameter, "help", ""))


# ---- directives in pages ---------------------------------------------------------------------------------------------


def include(path: str) -> str:
    """A text file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8").strip()


#: Name in a page's ``<!-- generate: NAME ARGUMENTS -->`` -> function of its arguments.
GENERATORS: dict[str, Callable[..., str]] = {
    "components": components,
    "component": component_section,
    "component-table": component_table,
    "docstring": docstring,
    "include": include,
    **TABLES,
}
_OPEN = re.compile(r"^<!-- generate: (?P<words>.+?) -->$", re.MULTILINE)
_CLOSE = "<!-- /generate -->"


def expand(text: str) -> str:
    """Write what ``<!-- generate: NAME ARGUMENTS -->`` asks for between it and ``<!-- /generate -->``.

    Both markers stand alone on their lines.

    Raises
    ------
    ValueError
        No such generator, or a marker is not closed.
    """
    first, *parts = re.split(r"^(?=<!-- generate: )", text, flags=re.MULTILINE)
    return first + "".join(map(_region, parts))


def _region(text: str) -> str:
    opening = _OPEN.match(text)
    if opening is None:
        return text
    name, *arguments = opening["words"].split()
    if name not in GENERATORS:
        raise ValueError(f"'{opening[0]}': no generator '{name}'; choose from {', '.join(GENERATORS)}")
    if _CLOSE not in text:
        raise ValueError(f"'{opening[0]}': is not closed; write {_CLOSE} on a line of its own below it")
    _, _, after = text.partition(_CLOSE)
    content = re.sub(r"\n{3,}", "\n\n", GENERATORS[name](*arguments)).strip()
    return f"{opening[0]}\n\n{content}\n\n{_CLOSE}{after}"
