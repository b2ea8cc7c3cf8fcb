"""Text tables of users: TSV or CSV, gzipped or not, with or without a header, read as text."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from grn_cotrain.data.io.file_kinds import HEAD_BYTES, kind_of_head
from grn_cotrain.data.io.packed import DAMAGE, open_unpacked
from grn_cotrain.errors import UserError
from grn_cotrain.strict import waits
from grn_cotrain.text_tables import unguarded

__all__ = [
    "RawTable",
    "decode",
    "parse_table",
    "read_bytes",
    "read_raw",
    "read_table",
    "read_text",
    "split_selector",
]

_MARKS = ("\t", ",", ";", "|")
_SAMPLE = 300  # lines that decide about the delimiter
_SAMPLE_SIZE = 500_000  # characters; three lines are looked at in any case
_COMMENT = re.compile(r"^(?:#|%|//|sep=.\r?$).*(?:\n|\Z)", re.MULTILINE)
_TEXT_KINDS = ("JSON text", "an HTML or XML page")  # readers of edges know such files


@dataclass
class RawTable:
    """A table as stored in the file: ``frame`` holds text, its columns are numbered, no line is a header yet.

    ``notes`` list the lines that were skipped; ``ragged`` gives the numbers of cells of the lines where these differ.
    """

    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    ragged: tuple[int, ...] = ()


def read_bytes(path: str | Path, *, what: str = "file") -> bytes:
    """Content of a file, unpacked where it is compressed (by content, not by name), within limits.

    Raises
    ------
    UserError
        Missing, a folder, a pipe, unreadable, cut short, or a file that unpacks to hundreds of times its size.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{what} '{path}': is a folder; give a file")
    if waits(path):
        raise UserError(f"{what} '{path}': is a pipe or a device; give a file")
    try:
        with open_unpacked(path) as stream:
            return stream.read()
    except FileNotFoundError:
        raise UserError(f"{what} '{path}': no such file; give an existing one") from None
    except DAMAGE:
        raise UserError(
            f"{what} '{path}': the compressed data are cut short or damaged; fetch the file again"
        ) from None
    except OSError as error:
        raise UserError(f"{what} '{path}': cannot be read ({error.strerror or error}); give a readable file") from None


def read_text(path: str | Path, *, what: str = "file") -> str:
    """Read UTF-8 text, gunzipped where it is gzipped (by content, not by name); one-line errors.

    Raises
    ------
    UserError
        Missing, a folder, empty, cut short, an archive, or bytes that are not UTF-8 text.
    """
    return decode(read_bytes(path, what=what), path, what=what)


def decode(raw: bytes, path: str | Path, *, what: str) -> str:
    """Bytes as text, or a :class:`UserError` that names their kind."""
    kind = kind_of_head(raw[:HEAD_BYTES])
    if kind is not None and kind.name not in _TEXT_KINDS:
        packed = kind.reader in ("zip", "tar") or "unpack" in kind.step
        step = "unpack it, and give the table inside" if packed else "write the table as TSV or CSV"
        raise UserError(f"{what} '{path}': is {kind.name}, not a text table; {step}")
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        raise UserError(f"{what} '{path}': not UTF-8 text; save it as UTF-8, as a TSV or CSV table") from None
    if "\0" in text:
        raise UserError(
            f"{what} '{path}': holds NUL bytes, so it is binary, or UTF-16 without its mark; save it as UTF-8 text"
        )
    if not text.strip():
        raise UserError(f"{what} '{path}': is empty; give a file with content")
    return text


def read_table(
    path: str | Path,
    *,
    what: str = "table",
    header: bool = True,
    corner: bool = False,
    notes: list[str] | None = None,
) -> pd.DataFrame:
    """Read a delimited table with every cell as text (a gene may be called ``NAN``); blank lines are skipped.

    The delimiter is the one of tab, comma, semicolon and bar that cuts most of the first lines into the same number of
    cells; else white space. Comments (lines that begin with ``#``, ``%`` or ``//``) and lines above the table that are
    narrower than it are skipped.

    Parameters
    ----------
    header
        Whether the first line names the columns.
    corner
        The first column names the rows, and the first line may lack a cell above it, as R writes tables.
    notes
        A list that takes a line about what was skipped.
    """
    raw = read_raw(path, what=what, corner=corner)
    if notes is not None:
        notes += raw.notes
    if not header:
        return raw.frame
    head = [str(value).strip() for value in raw.frame.iloc[0]]
    table = raw.frame.iloc[1:].reset_index(drop=True).set_axis(head, axis=1)
    if table.empty:
        raise UserError(f"{what} '{path}': holds no rows; give a table with content")
    return table


def read_raw(path: str | Path, *, what: str = "table", corner: bool = False) -> RawTable:
    """Read a delimited table and leave its first line where it is; see :func:`read_table`."""
    return parse_table(read_text(path, what=what), path, what=what, corner=corner)


def parse_table(text: str, path: str | Path, *, what: str = "table", corner: bool = False) -> RawTable:
    """Cut text into cells; see :func:`read_table`."""
    lines = list(_first_lines(text))
    delimiter, width = _delimiter([line for line in lines if not _COMMENT.match(line)] or lines)
    text, notes = _without_preface(text, lines, delimiter, width)
    rows = [_cells(line, delimiter) for line in _first_lines(text)]
    widths = tuple(sorted({len(row) for row in rows}))
    short = len(rows[0]) == width - 1 if rows else False
    trailing = all(row[-1].strip() == "" for row in rows[1:] if len(row) == width)  # a mark at the end of each row
    if short and not trailing and (corner or width > 2):  # R writes no cell above the names of rows
        text = (delimiter or '"" ') + text.lstrip("\r\n")
    if delimiter and (missing := width - len(_cells(next(_first_lines(text), ""), delimiter))) > 0:
        line, end, rest = text.lstrip("\r\n").partition("\n")
        text = line.rstrip("\r") + delimiter * missing + end + rest
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=delimiter or r"\s+",
            header=None,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
            quoting=csv.QUOTE_MINIMAL,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(
            f"{what} '{path}': not a table ({str(error).strip()}); give a TSV or CSV with one width throughout"
        ) from None
    if table.empty:
        raise UserError(f"{what} '{path}': holds no rows; give a table with content")
    table.columns = pd.RangeIndex(table.shape[1])
    table = table.fillna("")
    if "'" in text:  # names that our own writers guarded
        table = table.map(unguarded)
    return RawTable(table, notes, widths if len(widths) > 1 else ())


def _first_lines(text: str) -> Iterator[str]:
    """The first lines that are not blank, without making a list of all lines."""
    start, found = 0, 0
    while start < len(text) and found < _SAMPLE and (start < _SAMPLE_SIZE or found < 3):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end].rstrip("\r")
        if line.strip():
            found += 1
            yield line
        start = end + 1


def _cells(line: str, delimiter: str) -> list[str]:
    if not delimiter:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _delimiter(lines: list[str]) -> tuple[str, int]:
    """The mark that cuts most lines into one number of cells, at least two, and that number; an empty mark: spaces."""
    choices = []
    for place, mark in enumerate(_MARKS):
        widths = Counter(len(_cells(line, mark)) for line in lines)
        width, count = max(((n, c) for n, c in widths.items() if n > 1), key=lambda item: item[1], default=(1, 0))
        if 2 * count >= len(lines):
            # A tab is hardly ever inside a cell. The others may be, so the mark that makes more cells is preferred.
            choices.append((mark == "\t", count, width, -place, mark))
    if choices:
        _, _, width, _, mark = max(choices)
        return mark, width
    widths = Counter(len(line.split()) for line in lines)
    return "", widths.most_common(1)[0][0]


def _without_preface(text: str, lines: list[str], delimiter: str, width: int) -> tuple[str, list[str]]:
    """Take comments and narrower lines off the top; ``#source<TAB>target`` right above the rows is a header."""
    kept, above = None, 0
    for line in lines:
        comment = _COMMENT.match(line)
        cells = _cells(line, delimiter)
        if comment and len(cells) == width > 1 and all(len(cell.lstrip("#%/ ").split()) == 1 for cell in cells):
            kept = line.lstrip("#%/ ")
        if not comment and (len(cells) >= width or (width > 2 and len(cells) == width - 1)):
            break
        above += 1
    if above == len(lines):
        return text, []
    body = _after(text, above)
    body, comments = (_COMMENT.subn("", body)) if re.search(r"^(?:#|%|//)", body, re.MULTILINE) else (body, 0)
    skipped = above - (kept is not None) + comments
    notes = [f"{skipped:,} lines of comments or above the table were skipped"] if skipped else []
    return (body if kept is None else f"{kept}\n{body}"), notes


def _after(text: str, lines: int) -> str:
    """Text without its first lines; blank ones do not count."""
    start = 0
    while lines:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        lines -= bool(text[start:end].strip())
        start = end
    return text[start:]


def split_selector(path: str | Path) -> tuple[Path, str | None]:
    """``edges.tsv.gz:string/hESC/TFs+500`` -> the file, and what to take from it (None if nothing is named)."""
    text = str(path)
    if not Path(text).exists() and ":" in text:
        file, _, selector = text.rpartition(":")
        if selector and len(file) > 1:  # a single letter before the colon is a drive, not a file
            return Path(file), selector
    return Path(text), None
