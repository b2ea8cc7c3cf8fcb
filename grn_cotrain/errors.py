"""The one exception that users see: a single line naming the argument, the value and the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Self

__all__ = ["MissingExtraError", "UserError", "did_you_mean", "in_python"]

# A command that is quoted whole keeps its flags in every place where the error is read.
_COMMAND = r"`[^`]*`|(?<![\w-])(?:grn-cotrain|grn-prep|torchrun|python -m \w+) [^;`]*"
_FLAG = re.compile(
    rf"(?P<command>{_COMMAND})|(?<![\w-])(?:--(?P<name>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)|(?P<place>CELLS|RUN)(?= '))"
    r"(?: '(?P<quoted>[^']*)'| (?!(?:and|or) )(?P<word>[\w./:+-]*\w)(?=$|[;,)]| --))?"
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_SWITCHES = frozenset({"offline", "overwrite", "refresh", "resume", "zero-shot"})
"""Flags that take no value: in Python, ``overwrite=True``."""


class UserError(ValueError):
    """Bad input. The command line prints its text after ``error:`` and exits with 2, without a traceback.

    Write it as *argument, value received, fix*, with arguments as flags: ``--layer 'cuonts': no such layer; choose
    from counts, raw``. The error knows its arguments by these flags, and who shows it decides how to spell them:
    ``str`` speaks Python (``layer='cuonts'``), :meth:`on_command_line` keeps the flags. An error that is formatted into
    the text of another keeps them too.
    """

    def __init__(self, message: str) -> None:
        self._text = " ".join(message.split())
        super().__init__(in_python(self._text))

    def __format__(self, spec: str) -> str:
        return format(self._text, spec)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Python names of the arguments that the text names, in its order."""
        found = [
            match["name"] or match["place"].lower() for match in _FLAG.finditer(self._text) if not match["command"]
        ]
        return tuple(dict.fromkeys(name.replace("-", "_") for name in found))

    def on_command_line(self) -> str:
        """The text with flags."""
        return self._text

    def spelled(self, spelling: Mapping[str, str]) -> Self:
        """The same error; an argument that its text begins with is spelled as this command spells it."""
        name = re.match(r"(\w+)(?= '|:)", self._text)
        if name is not None and name[1] in spelling:
            self._text = spelling[name[1]] + self._text[name.end() :]
        return self


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed; the text names the command that installs it."""


def in_python(text: str) -> str:
    """Return a message with its flags spelled as keyword arguments; commands that it quotes stay as they are."""
    return _FLAG.sub(_keyword, text)


def _keyword(match: re.Match[str]) -> str:
    if match["command"]:
        return match["command"]
    name = (match["name"] or match["place"].lower()).replace("-", "_")
    value = match["quoted"] if match["word"] is None else match["word"]
    if value is None:
        return f"{name}=True" if match["name"] in _SWITCHES else name
    return f"{name}={value}" if _NUMBER.fullmatch(value) else f"{name}='{value}'"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest choice, or an empty string."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
