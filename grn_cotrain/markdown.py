"""Text of strangers inside Markdown pages: names of genes, runs and files show as they are, and do nothing."""

from __future__ import annotations

import re

__all__ = ["code", "escape", "escape_block"]

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# A bracket alone is not a link: it needs "(", "[" or ":" after it, so that our intervals stay readable in the raw text.
_MARKS = re.compile(r"[\\`*|~]|(?<!\w)_|_(?!\w)|!(?=\[)")
_LINK = re.compile(r"\]([(\[:])")
_ADDRESS = re.compile(r"\b(https?|ftp|mailto|javascript|data)(:)|\b(www)(\.)", re.IGNORECASE)
_START = re.compile(r"^\s*(#|-|\+|=|\d+[.)])")
_PLAIN_CODE = re.compile(r"[^`|<>&\\\x00-\x1f\x7f]+")


def escape(text: str) -> str:
    """Text for the middle of a line or a cell of a table: no mark-up, no HTML, no link, no line break."""
    line = " ".join(str(text).split())
    line = re.sub(r"[\x00-\x1f\x7f]", "", line)
    line = "".join(_HTML.get(character, character) for character in line)
    line = _MARKS.sub(lambda match: f"\\{match.group()}", line)
    line = _LINK.sub(r"\\]\\\1", line)
    # A bare address becomes a link in most renderers; a character reference shows the same text and is not a link.
    return _ADDRESS.sub(lambda match: "&#58;".join((match[1], "")) if match[1] else f"{match[3]}&#46;", line)


def escape_block(text: str) -> str:
    """Text for a paragraph of its own: also no heading and no list."""
    return _START.sub(lambda match: match.group()[:-1] + "\\" + match.group()[-1], escape(text))


def code(text: str) -> str:
    """A name between backticks where it can stand there, in a table too; escaped text otherwise."""
    text = str(text)
    return f"`{text}`" if _PLAIN_CODE.fullmatch(text) and text.strip() == text else escape(text)
