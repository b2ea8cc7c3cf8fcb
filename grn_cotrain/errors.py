"""The one exception that users see: a single line naming the argument, the value and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["MissingExtraError", "UserError", "did_you_mean"]


class UserError(ValueError):
    """Bad input. The command line prints its text after ``error:`` and exits with 2, without a traceback.

    Write it as *argument, value received, fix*: ``--layer 'cuonts': no such layer; choose from counts, raw``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed; the text names the command that installs it."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest choice, or an empty string."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
