"""The one table: headers, rows and what stands around them, as plain records that four renderers draw."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from grn_cotrain.present import numbers

__all__ = ["Cell", "Column", "Row", "Table", "figure", "table", "whole"]

Tone = Literal["", "dim", "differs", "model"]
_NUMERIC = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( ?%|x| \[.*\])?", re.IGNORECASE)
_LONG = 26  # characters


@dataclass(frozen=True)
class Column:
    """Header of a column; ``title`` explains it in words."""

    heading: str
    numeric: bool = True
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text
        Text that is shown. Markdown escapes it, unless it is a :class:`~grn_cotrain.present.markdown.Markdown`.
    value
        Value for sorting; None comes last.
    tone
        Emphasis.
    bounds
        Interval behind the text.
    star
        Reason for a star behind the text; no star where it is empty.
    code
        Whether the text is a name or hash that is set in a fixed width.
    """

    text: str
    value: float | str | None = None
    tone: Tone = ""
    bounds: str = ""
    star: str = ""
    code: bool = False

    @property
    def line(self) -> str:
        """Text and interval, without the star."""
        return f"{self.text} {self.bounds}" if self.bounds else self.text


@dataclass(frozen=True)
class Row:
    """Cells, the first of which names the row."""

    cells: Sequence[Cell]
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    columns, rows
        Headers and rows, of equal length.
    name
        Stem of its id on a page.
    caption
        Title above the table.
    note
        Explanation below the table.
    sorted_by
        Column by which ``rows`` come sorted, and the direction, which assistive software reports.
    filter
        Label of a filter box on a page; none if empty.
    sortable
        Whether headers sort on a page.
    compact
        Whether it has so many columns that a page sets numbers closer and intervals below their values.
    fold
        Characters after which plain text folds the first cell of a row; 0: never.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[Column]
    rows: Sequence[Row]
    name: str = "table"
    caption: str = ""
    note: str = ""
    sorted_by: tuple[int, Literal["ascending", "descending"]] | None = None
    filter: str = ""
    sortable: bool = True
    compact: bool = False
    fold: int = 0

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row.cells) != len(self.columns)]
        if wrong:
            raise ValueError(f"table '{self.name}': a row has {len(wrong[0].cells)} cells, not {len(self.columns)}")

    @property
    def header(self) -> tuple[str, ...]:
        """Headings of the columns."""
        return tuple(column.heading for column in self.columns)

    def width(self, column: int) -> Literal["short", "long"]:
        """Whether a column of words may be kept on one line, or needs room to wrap."""
        longest = max((len(row.cells[column].text) for row in self.rows), default=0)
        return "long" if longest > _LONG else "short"

    def marked(self, column: int) -> bool:
        """Whether some cell of a column carries a star, so that others keep room for one."""
        return any(row.cells[column].star for row in self.rows)


def table(
    header: Sequence[str | Column],
    rows: Sequence[Row | Sequence[Any]],
    *,
    numeric: Collection[int] | None = None,
    **options: Any,
) -> Table:
    """Make a table from texts and cells.

    Parameters
    ----------
    header
        Headings; a :class:`Column` is taken as it is.
    rows
        Rows of one length, of texts and cells; a text becomes a cell.
    numeric
        Columns of numbers, set flush right; default: those whose texts are all numbers.
    options
        Fields of :class:`Table`.
    """
    made = tuple(row if isinstance(row, Row) else Row(tuple(map(_cell, row))) for row in rows)
    columns = tuple(
        one
        if isinstance(one, Column)
        else Column(one, numeric=_is_numeric(made, index) if numeric is None else index in numeric)
        for index, one in enumerate(header)
    )
    return Table(columns, made, **options)


def _cell(given: str | Cell) -> Cell:
    return given if isinstance(given, Cell) else Cell(given)


def _is_numeric(rows: Sequence[Row], index: int) -> bool:
    cells = [row.cells[index] for row in rows if index < len(row.cells)]
    texts = [cell.text for cell in cells if cell.text not in ("", numbers.MISSING)]
    return bool(texts) and all(_NUMERIC.fullmatch(text) for text in texts)


def figure(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    digits: int = 3,
    *,
    sign: bool = False,
    star: str = "",
) -> Cell:
    """Make the cell of a number and, where there is one, its interval; ``star`` is the reason for a star."""
    if value is None or not numbers.is_known(value):
        return Cell(numbers.MISSING)
    interval = numbers.bounds(low, high, digits, sign=sign)
    return Cell(numbers.number(value, digits, sign=sign), float(value), bounds=interval, star=star)


def whole(value: int | None) -> Cell:
    """Make the cell of a whole number."""
    return Cell(numbers.count(value), None if value is None else float(value))
