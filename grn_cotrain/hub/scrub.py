"""Paths of one machine have no place on a hub: they reveal names of people and servers, and help nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["Scrubber"]

# An absolute path inside a longer text: a slash that no word, dot, colon or slash precedes, and two parts or more.
_IN_TEXT = re.compile(
    r"(?<![\w./\\:-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\":;,|<>()\[\]{}]+[/\\])+[^\s/\\'\":;,|<>()\[\]{}]*"
)
_WHOLE = re.compile(r"(?:~?/|\\\\|[A-Za-z]:[/\\]|file://|~$|~[\w.-]+/)")


class Scrubber:
    """Replaces absolute paths by their last part, and remembers which.

    Attributes
    ----------
    replaced
        Path -> what it became, in order of appearance.
    """

    def __init__(self) -> None:
        self.replaced: dict[str, str] = {}

    def value(self, value: Any) -> Any:
        """A copy of JSON values without absolute paths; paths that climb (``../..``) count as such."""
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return self._string(value) if isinstance(value, str) else value

    def text(self, text: str, known: Iterable[str] = ()) -> str:
        """Prose or HTML without the paths that were replaced before, ``known`` ones and the home folder.

        No pattern is searched here: in HTML too much looks like a path.
        """
        also = {path: _last_part(path) for path in (*known, str(Path.home())) if len(path) > 1}
        for path, last in sorted({**also, **self.replaced}.items(), key=lambda item: -len(item[0])):
            if path in text:
                text = text.replace(path, last)
                self.replaced[path] = last
        return text

    def _string(self, text: str) -> str:
        climbs = ".." in re.split(r"[/\\]", text) and "\n" not in text
        if (_WHOLE.match(text) and "\n" not in text and not _sentence(text)) or climbs:
            return self._replace(text)
        return _IN_TEXT.sub(lambda match: self._replace(match.group()), text)

    def _replace(self, path: str) -> str:
        self.replaced[path] = _last_part(path)
        return self.replaced[path]


def _sentence(text: str) -> bool:
    """Whether a text that begins like a path continues in words."""
    return ": " in text or "; " in text or ", " in text


def _last_part(path: str) -> str:
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..", "~")]
    return parts[-1] if parts else "path"
