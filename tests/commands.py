"""Commands that documents show, checked against the programs: used for the README and for every page of ``docs``."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer

import data_prep.cli
import experiments.__main__
import grn_cotrain.cli

__all__ = ["APPS", "ROOT", "check_command", "page_commands", "readme_commands"]

ROOT = Path(__file__).resolve().parents[1]
APPS = {"grn-prep": data_prep.cli.app, "grn-cotrain": grn_cotrain.cli.app, "experiments": experiments.__main__.app}
_FENCE = re.compile(r"^ *```bash[^\n]*\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
_RECORD = re.compile(r"<!-- generate: record .*?<!-- /generate -->", re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def readme_commands() -> list[list[str]]:
    """Lines of the README that begin with one of our programs, without comments; what is optional is given."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    return _commands(line for line in lines if line[:4] == "    ")


def page_commands(path: Path) -> list[list[str]]:
    """Commands of a page of ``docs``: lines of shell blocks, and inline code that names a command.

    The command of a record is left out: it is that of the record's commit.
    """
    text = _RECORD.sub("", path.read_text(encoding="utf-8"))
    lines = [line for block in _FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [" ".join(code.split()) for code in _INLINE.findall(prose)]
    return _commands(lines)


def _commands(lines: object) -> list[list[str]]:
    commands = []
    for line in lines:  # type: ignore[attr-defined]
        if not line.strip().startswith(("grn-", "python -m experiments")):
            continue
        words = shlex.split(line.strip().replace("[", "").replace("]", ""), comments=True)
        if words[:2] == ["python", "-m"]:
            words = words[2:]
        if words and words[0] in APPS and len(words) > 1:
            commands.append([word for word in words if word != "..."])
    return commands


def check_command(words: list[str]) -> None:
    """Fail where a command or an option does not exist; a command may be named without its arguments."""
    command = typer.main.get_command(APPS[words[0]])
    rest = words[1:]
    context = command.make_context(words[0], list(rest), resilient_parsing=True)
    while hasattr(command, "get_command"):
        if not rest:
            return  # a group, named in prose
        command = command.get_command(context, rest[0])
        assert command is not None, f"no command {rest[0]}"
        rest = rest[1:]
        context = command.make_context(rest[0] if rest else "", list(rest), parent=context, resilient_parsing=True)
    _, left, _ = command.make_parser(context).parse_args(args=list(rest))
    assert not left
