"""Markdown: tables and pages, in which names of genes, runs and files show as they are and do nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grn_cotrain.present.sections import Section
    from grn_cotrain.present.table import Cell, Table

__all__ = ["Markdown", "code", "escape", "escape_block", "page", "to_markdown"]

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# A bracket alone is not a link: it needs "(", "[" or ":" after it, so that our intervals stay readable in the raw text.
_MARKS = re.compile(r"[\\`*|~]|(?<!\w)_|_(?!\w)|!(?=\[)")
_LINK = re.compile(r"\]([(\[:])")
_ADDRESS = re.compile(r"\b(https?|ftp|mailto|javascript|data)(:)|\b(www)(\.)", re.IGNORECASE)
_START = re.compile(r"^\s*(#|-|\+|=|\d+[.)])")
_PIPE = re.compile(r"(?<!\\)\|")
_PLAIN_CODE = re.compile(r"[^`|<>&\\\x00-\x1f\x7f]+")


class Markdown(str):
    """Text that is Markdown already: links and code of our own pages."""

    __slots__ = ()


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


def to_markdown(table: Table) -> str:
    """Draw a pipe table: numbers flush right, the name of a model's row in bold, a star behind the cell it marks."""
    marks = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [[_shown(heading) for heading in table.header], marks]
    for row in table.rows:
        cells = [_cell(cell) for cell in row.cells]
        lines.append([f"**{cells[0]}**" if row.tone == "model" else cells[0], *cells[1:]])
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    above = f"**{escape(table.caption)}**\n\n" if table.caption else ""
    below = f"\n\n*{escape(table.note)}*" if table.note else ""
    return f"{above}{drawn}{below}"


def _cell(cell: Cell) -> str:
    shown = code(cell.text) if cell.code else _shown(cell.text)
    interval = f" {escape(cell.bounds)}" if cell.bounds else ""
    return shown + interval + (r" \*" if cell.star else "")


def _shown(text: str) -> str:
    return _PIPE.sub(r"\|", " ".join(text.split())) if isinstance(text, Markdown) else escape(text)


def page(title: str, sections: Sequence[Section]) -> str:
    """Write a page: headings, paragraphs and tables."""
    parts = [f"# {escape(title)}"]
    for section in sections:
        parts.append(f"## {escape(section.title)}")
        parts += [escape_block(paragraph) for paragraph in section.paragraphs]
        parts += [to_markdown(table) for table in section.tables]
    return "\n\n".join(parts) + "\n"
