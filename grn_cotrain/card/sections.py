"""Neutral pages: titles, paragraphs and tables, which become Markdown, a terminal's lines or part of a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grn_cotrain.markdown import escape, escape_block

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Section", "Table", "number", "render", "to_markdown"]


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    header, rows
        Cells as text, one width throughout.
    caption
        One line, or nothing.
    right
        Columns that hold numbers, to be set flush right.
    note
        Below the table: how to read it.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    right: tuple[int, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError("table: rows and header differ in width")


@dataclass(frozen=True)
class Section:
    """A titled part of a page: paragraphs first, then tables. ``key`` is short and stable, for anchors."""

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Fixed digits, or a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "-"
    value = round(value, digits) + 0.0  # no -0.000
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """One Markdown page (pipe tables)."""
    parts = [f"# {escape(title)}"]
    for section in sections:
        parts.append(f"## {escape(section.title)}")
        parts += [escape_block(paragraph) for paragraph in section.paragraphs]
        for table in section.tables:
            if table.caption:
                parts.append(f"**{escape(table.caption)}**")
            marks = ["---:" if i in table.right else "---" for i in range(len(table.header))]
            lines = [table.header, marks, *table.rows]
            parts.append("\n".join(f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines))
            if table.note:
                parts.append(f"*{escape(table.note)}*")
    return "\n\n".join(parts) + "\n"


def render(sections: Sequence[Section], console: Console) -> None:
    """Print sections: rich tables on a terminal, aligned plain lines elsewhere."""

    def line(text: str = "", style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    for section in sections:
        line(section.title, "bold")
        for paragraph in section.paragraphs:
            line(paragraph)
        for table in section.tables:
            if console.is_terminal:
                _rich(table, console)
            else:
                _lines(table, line)
            if table.note:
                line(table.note, "dim")
        line()


def _lines(table: Table, line: Callable[[str], None]) -> None:
    if table.caption:
        line(table.caption)
    widths = [max(len(row[i]) for row in (table.header, *table.rows)) for i in range(len(table.header))]
    for row in (table.header, *table.rows):
        cells = [
            cell.rjust(width) if i in table.right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line("  ".join(cells).rstrip())


def _rich(table: Table, console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    result = RichTable(title=table.caption or None, title_justify="left", header_style="bold", pad_edge=False)
    for index, name in enumerate(table.header):
        result.add_column(name, justify="right" if index in table.right else "left")
    for row in table.rows:
        result.add_row(*(Text(cell) for cell in row))
    console.print(result)
