"""Where a text table begins: prefaces, delimiter and header are read off many lines, never off the first alone."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.column_words import are_numbers, are_running, corner_says_genes
from grn_cotrain.data.io.packed import DAMAGE, open_unpacked
from grn_cotrain.errors import UserError

__all__ = ["TextLayout", "find_layout", "open_text"]

_COMMENTS = ("#", "%")
_DELIMITERS = ("\t", ",", ";", "|")
_SAMPLE_LINES = 40
_SAMPLE_CHARACTERS = 8 * 2**20
_LONGEST_LINE = 2**26
_LEAST_SHARE = 0.6  # share of the sampled lines that must have the table's width
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class TextLayout:
    """How a table is written.

    Attributes
    ----------
    delimiter
        Between cells; ``\\s+`` for white space.
    width
        Cells of a row.
    skipped
        Lines before the first row of numbers, the header included.
    header
        Names of all columns, the corner first (empty where R has left it out).
    sample
        The first rows.
    notes
        Lines about what was skipped.
    """

    delimiter: str
    width: int
    skipped: int
    header: list[str]
    sample: list[list[str]]
    notes: list[str] = field(default_factory=list)


def open_text(path: Path) -> TextIO:
    """Open text, unpacked where it is packed: UTF-8, or UTF-16 where a byte order mark requires it."""
    with open_unpacked(path) as handle:
        encoding = "utf-16" if handle.read(2) in _UTF16 else "utf-8-sig"
    return io.TextIOWrapper(open_unpacked(path), encoding=encoding)


def find_layout(path: Path, what: str) -> TextLayout:
    """Read the first lines of a table and decide how it is written.

    Raises
    ------
    UserError
        Not UTF-8 text, empty, no table, a header whose width is not that of the rows, or no header at all.
    """
    lines = _first_lines(path, what)
    comments = _num_comments(lines)
    body = [(i, line) for i, line in enumerate(lines) if line.strip() and i >= comments]
    if not body:
        raise UserError(f"{what}: holds no rows; give a table with content")
    delimiter, width = _delimiter([line for _, line in body])
    cells = {i: _split(line, delimiter) for i, line in body}
    # A header may lack the corner, as R writes tables.
    at = next((i for i in cells if len(cells[i]) in (width, width - 1)), body[0][0])
    if comments and _is_header_in_comment(lines, comments, delimiter, width, cells[at]):
        at = comments - 1
        cells[at] = _split(lines[at].lstrip("#% "), delimiter)
    rows = [cells[i] for i in cells if i > at]
    if not rows or width < 2:
        raise UserError(f"{what}: a single row or column; give a table of cells x genes, or genes x cells")
    header = [cell.strip() for cell in cells[at]]
    if len(header) == width - 1:
        trailing = all(len(row) == width and not row[-1].strip() for row in rows)
        header = [*header, ""] if trailing else ["", *header]
    layout = TextLayout(delimiter, width, at + 1, header, rows)
    _refuse_numbers_for_names(layout, [i for i in cells if i < at], cells, what)
    skipped = [line.strip() for line in lines[:at] if line.strip()]
    if skipped:
        shown = skipped[0] if len(skipped[0]) <= 60 else skipped[0][:57] + "..."
        layout.notes.append(f"{len(skipped):,} lines before the table were skipped: {shown}")
    return layout


def _first_lines(path: Path, what: str) -> list[str]:
    lines: list[str] = []
    size = 0
    try:
        with open_text(path) as handle:
            while len(lines) < _SAMPLE_LINES and (size < _SAMPLE_CHARACTERS or len(lines) < 3):
                line = handle.readline(_LONGEST_LINE)
                if len(line) == _LONGEST_LINE:
                    raise UserError(
                        f"{what}: line {len(lines) + 1} is longer than {_LONGEST_LINE:,} characters; no table"
                    )
                if not line:
                    break
                size += len(line)
                lines.append(line.rstrip("\r\n"))
    except UnicodeError:
        raise UserError(
            f"{what}: not UTF-8 text, and of an unknown kind; give a TSV or CSV table, an h5ad, or a folder with mtx"
        ) from None
    except DAMAGE:
        raise UserError(f"{what}: its compressed data are cut short or damaged; fetch it again") from None
    if "\0" in "".join(line[:1000] for line in lines[:5]):
        raise UserError(f"{what}: holds binary data of no kind that is known here; give one that is named in the help")
    if not any(line.strip() for line in lines):
        raise UserError(f"{what}: is empty; give a file with content")
    return lines


def _num_comments(lines: Sequence[str]) -> int:
    """Lines at the top that are comments or blank."""
    return next(
        (i for i, line in enumerate(lines) if line.strip() and not line.lstrip('" ').startswith(_COMMENTS)), len(lines)
    )


def _split(line: str, delimiter: str) -> list[str]:
    """Cells of a line; quotes may hold the delimiter."""
    if delimiter == r"\s+":
        line, delimiter = " ".join(line.split()), " "
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:  # a quoted cell of more than 131,072 characters: not a name and not a number
        return line.split(delimiter)


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter under which most lines, the header among them, have one width of at least two; then the widest."""
    found: list[tuple[float, int, str]] = []
    for delimiter in (*_DELIMITERS, r"\s+"):
        if delimiter == r"\s+" and found:
            break
        widths = [len(_split(line, delimiter)) for line in lines]
        width, count = max(Counter(widths[1:] or widths).items(), key=lambda item: (item[1], item[0]))
        if width >= 2 and count >= _LEAST_SHARE * len(widths[1:] or widths):
            found.append((sum(own in (width, width - 1) for own in widths), width, delimiter))
    if not found:
        return r"\s+", max(Counter(len(_split(line, r"\s+")) for line in lines).items(), key=lambda item: item[1])[0]
    _, width, delimiter = max(found)
    return delimiter, width


def _is_header_in_comment(
    lines: Sequence[str], comments: int, delimiter: str, width: int, next_row: Sequence[str]
) -> bool:
    """Whether the last comment line is the header (``#gene<TAB>cell_1...``) and the line after it a row of numbers."""
    last = lines[comments - 1].lstrip("#% ")
    return bool(last) and len(_split(last, delimiter)) in (width, width - 1) and _mostly_numbers(next_row[1:])


def _mostly_numbers(cells: Sequence[str]) -> bool:
    return sum(are_numbers([cell]) for cell in cells) > 0.5 * len(cells)


def _refuse_numbers_for_names(layout: TextLayout, before: list[int], cells: dict[int, list[str]], what: str) -> None:
    """The first line of a table without a header would be lost as names."""
    names = [name for name in layout.header[1:] if name]
    if not are_numbers(names) or are_running(names):
        return
    if layout.header[0] == "" or corner_says_genes(layout.header[0]) is not None:
        if len(set(names)) == len(names):
            return
    elif before:
        line = before[-1]
        raise UserError(
            f"{what}: line {line + 1} has {len(cells[line])} columns and the lines below it {layout.width}; "
            "give the header as many cells as the rows have"
        )
    raise UserError(
        f"{what}: its first line holds numbers ({name_some(names, 3)}) where names of columns belong, so the "
        "header line is missing; add one, or write 'gene' or 'cell' into its first cell if the numbers are names"
    )
