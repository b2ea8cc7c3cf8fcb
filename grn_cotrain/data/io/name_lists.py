"""Lists of gene names: one a line, or the column of symbols of a table."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from grn_cotrain.data.gene_names import clean_name, name_kind
from grn_cotrain.data.io.columns import fold_column, symbol_column
from grn_cotrain.data.io.tables import parse_table, read_text
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError

__all__ = ["read_names"]

_IS_TF = ("istf", "istranscriptionfactor", "tf")
_NAME = re.compile(r"[A-Za-z][\w.\-@:/]*")
_NAMED_ROW = re.compile(r'(?:"[^"]*" +"|\d+ +\S)')  # R's write.table
_NO = ("no", "false", "0", "n")
_HEADERS = frozenset(
    ("x", "v1", "tf", "tfs", "tfname", "tfnames", "gene", "genes", "genesymbol", "genesymbols", "genename", "genenames",
     "symbol", "symbols", "hgncsymbol", "name", "names", "regulator", "regulators", "transcriptionfactor",
     "transcriptionfactors", "target", "targets", "ensemblid", "geneid", "ensemblgeneid")
)  # fmt: skip


def read_names(path: str | Path, *, what: str = "list", notes: list[str] | None = None) -> list[str]:
    """Read one name a line, or the column of symbols of a table; repeated names leave.

    Quotes around names are taken off, as are comments after ``#``. A header is known by its words (``x``, as R writes
    it, ``TF``, ``HGNC symbol``). The column of symbols of a table with a header is taken; rows with No in the column
    ``Is TF?`` are left out.

    Parameters
    ----------
    notes
        A list that takes what was decided.

    Raises
    ------
    UserError
        No names, or several columns of which none is called a symbol.
    """
    notes = [] if notes is None else notes
    text = re.sub(r"\s+#.*$", "", read_text(path, what=what), flags=re.MULTILINE)
    text = _one_a_line(text, notes)
    table = parse_table(text, path, what=what).frame if _is_table(text) else _one_column(text)
    if table.empty:
        raise UserError(f"{what} '{path}': holds no names; give one a line")
    head = [clean_name(str(value)) for value in table.iloc[0]]
    if table.shape[1] == 1:
        values = _without_header([clean_name(value) for value in table.iloc[:, 0]], notes)
    else:
        values = _of_table(table, head, f"{what} '{path}'", notes)
    names = list(dict.fromkeys(name for name in values if name))
    if not names:
        raise UserError(f"{what} '{path}': holds no names; give one a line")
    return names


def _without_header(values: list[str], notes: list[str]) -> list[str]:
    """A lone TF or X may be a gene; above others it is the word that R or a person wrote over the list."""
    if len(values) > 1 and fold_column(values[0]) in _HEADERS:
        notes.append(f"header: {values[0]}")
        return values[1:]
    return values


def _one_a_line(text: str, notes: list[str]) -> str:
    """Names that stand side by side in a file of one line, as one name a line; other text as it is."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    parts = re.split(r"[\s,;|]+", lines[0].strip(" []")) if len(lines) == 1 else []
    cells = [name for part in parts if (name := clean_name(part))]
    if len(cells) < 2 or not all(_NAME.fullmatch(name) for name in cells):
        return text
    notes.append(f"one line holds {len(cells):,} names ({name_some(cells, 3)})")
    return "\n".join(cells)


def _is_table(text: str) -> bool:
    lines = [line for line in text[:200_000].splitlines() if line.strip() and not line.startswith("#")][:200]
    if any(sum(mark in line for line in lines) > 0.5 * len(lines) for mark in "\t,;"):
        return True
    return len(lines) > 1 and sum(_NAMED_ROW.match(line) is not None for line in lines) > 0.5 * len(lines)


def _one_column(text: str) -> pd.DataFrame:
    lines = (re.split(r"[\t,;]", line.split("#", 1)[0].strip())[0].strip() for line in text.splitlines())
    return pd.DataFrame({0: [line for line in lines if line]}, dtype=object)


def _of_table(table: pd.DataFrame, head: list[str], what: str, notes: list[str]) -> list[str]:
    place = symbol_column(head)
    if place is None:
        below = table.iloc[1:] if len(table) > 1 else table
        texts = [i for i in range(table.shape[1]) if not _numbers(below.iloc[:, i])]
        candidates = [i for i in texts if _kinds(below.iloc[:, i]) == "symbols"]
        if len(candidates) != 1:
            raise UserError(
                f"{what}: no column is called a symbol (first line: {name_some(head, 8)}); "
                "give one name a line, or name the column of symbols symbol"
            )
        notes.append(f"the names are column {candidates[0] + 1}, the only one of symbols")
        return _without_header([clean_name(value) for value in table.iloc[:, candidates[0]]], notes)
    notes.append(f"header: {name_some([name for name in head if name], 8)}; the names are column '{head[place]}'")
    body = table.iloc[1:]
    column = next((i for i, name in enumerate(head) if fold_column(name) in _IS_TF and i != place), None)
    if column is not None:
        told = body.iloc[:, column].str.strip().str.lower()
        out = told.isin(_NO)
        if out.any() and set(told) <= {*_NO, "yes", "true", "1", "y", ""}:
            lost = [clean_name(value) for value in body.loc[out].iloc[:, place]]
            said = f"{len(lost):,} rows with 'no' in the column '{head[column]}' were left out"
            notes.append(f"{said}: {name_some(lost, 3)}")
            body = body[~out]
    return [clean_name(value) for value in body.iloc[:, place]]


def _numbers(values: pd.Series) -> bool:
    return bool(pd.to_numeric(values.str.strip(), errors="coerce").notna().all())


def _kinds(values: pd.Series) -> str:
    kinds = [name_kind(clean_name(value)) for value in values.iloc[:300] if value.strip()]
    return max(set(kinds), key=kinds.count) if kinds else ""
