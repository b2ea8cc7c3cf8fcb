"""Text tables that leave the program: TSV and CSV whose fields no spreadsheet runs as a formula.

A spreadsheet reads a field that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, and a gene, a cell type or a
file's name comes from strangers. Such a field gets an apostrophe in front, which spreadsheets do not show; a plain
number stays as it is. :func:`unguarded` takes the apostrophe away, so that our own readers give back every name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

__all__ = ["formula_guard", "guarded", "unguarded", "write_delimited", "write_rows"]

# Tab, carriage return, line feed and the full-width forms begin a formula in some programs too.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"'*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|'*[-+](inf|nan)", re.IGNORECASE)

_guard: ContextVar[bool] = ContextVar("formula_guard", default=True)


@contextmanager
def formula_guard(on: bool) -> Iterator[None]:
    """Within the block, fields that begin like a formula are written with an apostrophe in front, or as they are.

    ``with formula_guard(False): ...`` is for programs that read names letter by letter; ``--raw-text`` is the option of
    the command line.
    """
    token = _guard.set(on)
    try:
        yield
    finally:
        _guard.reset(token)


def guarded(value: Any) -> Any:
    """A field as it is written: text that begins like a formula gets an apostrophe; anything else stays."""
    if not isinstance(value, str) or not _guard.get() or not _is_formula(value):
        return value
    return f"'{value}"


def unguarded(text: str) -> str:
    """A field as it was before :func:`guarded`."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def write_delimited(
    frame: pd.DataFrame,
    path: str | Path | IO[str],
    *,
    sep: str = "\t",
    index: bool = False,
    float_format: str | None = None,
) -> None:
    """Write a frame as delimited text: the one writer of every TSV and CSV.

    Parameters
    ----------
    frame
        The table. Texts in its columns, its header and, with ``index``, its row names are guarded.
    path
        File, or an open text file; the caller makes the write atomic.
    sep
        Delimiter.
    index
        Whether row names are written, as the first column.
    float_format
        Format of numbers that are not whole; None writes every digit.
    """
    safe = frame.copy(deep=False)
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "biufcmM":
            safe.isetitem(place, [guarded(value) for value in column])
    safe = safe.rename(columns=guarded, index=guarded if index else None)
    safe.to_csv(path, sep=sep, index=index, float_format=float_format)


def write_rows(handle: IO[str], header: Iterable[str], rows: Iterable[Iterable[Any]], *, sep: str = ",") -> None:
    """Write rows of plain values as delimited text, with the guard of :func:`write_delimited`."""
    writer = csv.writer(handle, delimiter=sep)
    writer.writerow([guarded(name) for name in header])
    writer.writerows([guarded(value) for value in row] for row in rows)
