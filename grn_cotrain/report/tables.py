"""Tables of the report: a caption, headers that sort (buttons, ``aria-sort``), right-aligned tabular numerals.

Without scripts a table is a table; with them its headers are buttons that the keyboard reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pandas as pd
from markupsafe import Markup

from grn_cotrain.report.blocks import Block

__all__ = ["Cell", "Column", "Row", "Table", "count", "interval", "measured", "number", "records", "signed"]

Tone = Literal["", "dim", "differs", "model", "best"]
_MINUS = "\N{MINUS SIGN}"
_DASH = "\N{EN DASH}"
_LONG = 26  # characters


@dataclass(frozen=True)
class Column:
    """Header of a column; ``title`` explains it in words."""

    heading: str
    numeric: bool = True
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """What is shown, what it is sorted by (None: last), and how it stands out."""

    text: str | Markup
    value: float | str | None = None
    tone: Tone = ""


@dataclass(frozen=True)
class Row:
    """Cells, the first of which names the row."""

    cells: Sequence[Cell]
    tone: Tone = ""


@dataclass(frozen=True)
class Table(Block):
    """A table.

    Attributes
    ----------
    name
        Stem of its id.
    caption
        What it shows, in one sentence.
    columns, rows
        Headers and rows, of equal length.
    sorted_by
        Column by which ``rows`` come sorted, and the direction, to be told to assistive software.
    filter
        Text of the label of a filter box; none where empty.
    sortable
        Whether headers sort.
    compact
        Whether it has so many columns that numbers stand closer and intervals stand below their values.
    """

    kind: ClassVar[str] = "table"
    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    sorted_by: tuple[int, Literal["ascending", "descending"]] | None = None
    filter: str = ""
    sortable: bool = True
    compact: bool = False

    def width(self, column: int) -> Literal["short", "long"]:
        """Whether a column of words may be kept on one line, or needs room to wrap."""
        longest = max((len(Markup(row.cells[column].text).striptags()) for row in self.rows), default=0)
        return "long" if longest > _LONG else "short"

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row.cells) != len(self.columns)]
        if wrong:
            raise ValueError(f"table '{self.name}': a row has {len(wrong[0].cells)} cells, not {len(self.columns)}")


def number(value: float | None, digits: int = 3) -> Cell:
    """Return a cell with ``digits`` decimals; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return Cell(_DASH)
    return Cell(_decimal(value, digits), float(value))


def count(value: int | None) -> Cell:
    """Return a cell with a whole number, thousands apart."""
    return Cell(_DASH) if value is None else Cell(f"{value:,}", float(value))


def measured(
    value: float | None, low: float | None = None, high: float | None = None, digits: int = 3, *, star: str = ""
) -> Cell:
    """Return a cell with a value and, where there is one, its interval behind it; ``star`` says why it has a star."""
    shown = number(value, digits)
    if shown.value is None:
        return shown
    text = Markup("{}").format(shown.text)
    if star:
        text += Markup('<span class="star" title="{}">*</span>').format(star)
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        text += Markup(' <span class="interval">{}</span>').format(interval(low, high, digits))
    return Cell(text, shown.value, tone="best" if star else "")


def interval(low: float, high: float, digits: int = 3, *, plus: bool = False) -> str:
    """Return ``[low, high]``."""
    bounds = (signed(bound, digits) if plus else _decimal(bound, digits) for bound in (low, high))
    return f"[{', '.join(bounds)}]"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    return ("+" if round(value, digits) >= 0 else "") + _decimal(value, digits)


def _decimal(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:  # -0.000
        text = text.lstrip("-")
    return text.replace("-", _MINUS)


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows of a frame by name; their types are the frame's, which type checkers cannot know."""
    yield from frame.itertuples()
