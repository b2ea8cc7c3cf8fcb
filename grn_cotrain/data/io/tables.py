"""Text tables of users: TSV or CSV, gzipped or not, with or without a header, read as text."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path

import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.strict import gunzip, waits
from grn_cotrain.text_tables import unguarded

__all__ = ["read_names", "read_table", "read_text", "split_selector"]


def read_text(path: str | Path, *, what: str = "file") -> str:
    """Read UTF-8 text, gunzipped where it is gzipped (by content, not by name); one-line errors.

    Raises
    ------
    UserError
        Missing, a folder, empty, cut short, or no UTF-8 text.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{what} '{path}': is a folder; give a file")
    try:
        if waits(path):
            raise UserError(f"{what} '{path}': is a pipe or a device; give a file")
        raw = path.read_bytes()
        text = (gunzip(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{what} '{path}': no such file; give an existing one") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{what} '{path}': the gzip data are cut short or damaged; fetch the file anew") from None
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError(f"{what} '{path}': is no UTF-8 text; give a TSV or CSV table") from None
    except ValueError as error:
        raise UserError(f"{what} '{path}': {error}; unpack it by hand if you trust it") from None
    except OSError as error:
        raise UserError(f"{what} '{path}': cannot be read ({error.strerror}); give a readable file") from None
    if not text.strip():
        raise UserError(f"{what} '{path}': is empty; give a file with content")
    return text


def read_table(path: str | Path, *, what: str = "table", header: bool = True, corner: bool = False) -> pd.DataFrame:
    """Read a delimited table with every cell as text (a gene may be called ``NAN``); blank lines are skipped.

    The delimiter is the one of tab, comma, semicolon that is most frequent in the first line; else white space.

    Parameters
    ----------
    header
        Whether the first line names the columns.
    corner
        The first column names the rows, and the first line may lack a cell above it, as R writes tables.
    """
    text = read_text(path, what=what)
    lines = (line for line in text.splitlines() if line.strip())
    first, second = next(lines), next(lines, "")
    count, delimiter = max((first.count(mark), mark) for mark in ("\t", ",", ";"))
    if corner and count and second.count(delimiter) == count + 1:
        text = delimiter + text.lstrip("\r\n")
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=delimiter if count else r"\s+",
            header=0 if header else None,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
            quoting=csv.QUOTE_MINIMAL,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(
            f"{what} '{path}': not a table ({error}); give a TSV or CSV with one width throughout"
        ) from None
    if table.empty:
        raise UserError(f"{what} '{path}': holds no rows; give a table with content")
    if "'" in text:  # names that our own writers guarded
        table = table.map(unguarded).rename(columns=lambda name: unguarded(name) if isinstance(name, str) else name)
    if header:
        table.columns = [str(column).strip() for column in table.columns]
    return table


def read_names(path: str | Path, *, what: str = "list") -> list[str]:
    """Read one name a line (first column of a table); comments after ``#`` and repeated names leave."""
    lines = (line.split("#", 1)[0].strip() for line in read_text(path, what=what).splitlines())
    names = list(dict.fromkeys(unguarded(line.replace(",", "\t").split("\t")[0].strip()) for line in lines if line))
    if not names:
        raise UserError(f"{what} '{path}': holds no names; give one a line")
    return names


def split_selector(path: str | Path) -> tuple[Path, str | None]:
    """``edges.tsv.gz:string/hESC/TFs+500`` -> the file, and what to take from it (None where nothing is named)."""
    text = str(path)
    if not Path(text).exists() and ":" in text:
        file, _, selector = text.rpartition(":")
        if selector and len(file) > 1:  # a single letter before the colon is a drive, not a file
            return Path(file), selector
    return Path(text), None
