"""Tables and sections on a console: rich tables on a terminal, aligned plain lines elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from grn_cotrain.present.sections import Section
    from grn_cotrain.present.table import Table

__all__ = ["plain_lines", "print_lines", "print_sections", "print_table"]

_GAP = "  "
_WRAPS = 32  # characters that a column of words keeps at least on a terminal


def print_lines(console: Console, *lines: str, style: str | None = None) -> None:
    """Print lines as they are: unwrapped, brackets and numbers untouched."""
    for line in lines:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table, console: Console) -> None:
    """Print a table, its caption and its note."""
    if not console.is_terminal:
        print_lines(console, *plain_lines(table))
        return
    for part in _rich_tables(table, console.width):
        console.print(part)
    if table.note:
        print_lines(console, table.note, style="dim")


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Print sections: title, paragraphs, tables."""
    for section in sections:
        print_lines(console, section.title, style="bold")
        print_lines(console, *section.paragraphs)
        for table in section.tables:
            print_table(table, console)
        print_lines(console, "")


def plain_lines(table: Table) -> list[str]:
    """Return the table as aligned lines: numbers flush right, a folded first cell on lines of its own."""
    rows = [list(table.header), *_texts(table)]
    widths = _widths(rows)
    lines = [table.caption] if table.caption else []
    for row in rows:
        first, *others = row[0].split("\n")
        cells = [
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip([first, *row[1:]], widths, table.columns, strict=True)
        ]
        lines += [_GAP.join(cells).rstrip(), *others]
    return [*lines, table.note] if table.note else lines


def _texts(table: Table, fold: int = 0) -> list[list[str]]:
    """Texts of all cells; a column with stars keeps room for one behind every cell."""
    marked = [table.marked(index) for index in range(len(table.columns))]
    fold = fold or table.fold
    rows = []
    for row in table.rows:
        texts = [
            cell.line + (("*" if cell.star else " ") if room else "")
            for cell, room in zip(row.cells, marked, strict=True)
        ]
        if table.fold and len(texts[0]) > fold:
            texts[0] = textwrap.fill(
                texts[0], fold, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
        rows.append(texts)
    return rows


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Width of each column; a cell may have several lines."""
    return [max(len(line) for row in rows for line in row[i].split("\n")) for i in range(len(rows[0]))]


def _rich_tables(table: Table, width: int) -> Iterator[RichTable]:
    """Yield tables for a terminal of ``width`` characters that cut nothing.

    One table where there is room; else intervals move below their values and names fold; else the columns continue in
    further tables. Words wrap, so a column of words asks for little room.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    header = list(table.header)
    wraps = [not column.numeric and index > 0 for index, column in enumerate(table.columns)]

    def panels(texts: Sequence[Sequence[str]]) -> list[list[int]]:
        needed = [min(n, _WRAPS) if wrap else n for n, wrap in zip(_widths([header, *texts]), wraps, strict=True)]
        return _panels(needed, width)

    layouts = [_texts(table), _stacked(table, _texts(table)), _stacked(table, _texts(table, fold=1))]
    rows = min(layouts, key=lambda texts: len(panels(texts)))
    chosen = panels(rows)
    for number, panel in enumerate(chosen):
        title = table.caption if number == 0 else f"{table.caption.split(':')[0]} (continued)"
        drawn = RichTable(
            title=Text(title) if title else None,
            title_justify="left",
            title_style="bold",
            header_style="bold",
            pad_edge=False,
        )
        for index in (0, *panel):
            justify: Literal["left", "right"] = "right" if table.columns[index].numeric else "left"
            drawn.add_column(header[index], justify=justify, overflow="fold")
        for row, texts in zip(table.rows, rows, strict=True):
            shown = (Text(texts[i], style="bold green" if row.cells[i].star else "") for i in (0, *panel))
            drawn.add_row(*shown, style="bold" if row.tone == "model" else "")
        yield drawn


def _stacked(table: Table, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the texts with intervals below their values."""
    return [
        [
            text.replace(f" {cell.bounds}", f" \n{cell.bounds}") if cell.bounds else text
            for cell, text in zip(row.cells, texts, strict=True)
        ]
        for row, texts in zip(table.rows, rows, strict=True)
    ]


def _panels(widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns after the first, in groups that fit next to it; a column that is too wide has a group of its own."""
    panels: list[list[int]] = [[]]
    used = widths[0] + 4
    for index in range(1, len(widths)):
        if panels[-1] and used + widths[index] + 3 > width:
            panels.append([])
            used = widths[0] + 4
        panels[-1].append(index)
        used += widths[index] + 3
    return panels
