"""Decide from the lines below whether the first line of a table of edges names its columns, or find the columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pandas as pd

from grn_cotrain.data.gene_names import clean_name, name_kind
from grn_cotrain.data.io.column_words import are_running
from grn_cotrain.data.io.columns import ROLES, end_of, fold_column, is_index
from grn_cotrain.data.io.signs import SIGN_WORDS
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError

__all__ = ["with_header"]

_ROWS = 2_000  # lines below the first that are looked at
_KNOWN_OTHERS = frozenset(name for names in ROLES.values() for name in names)
_ASK = (
    "give --format 'tsv:header=yes' or 'tsv:header=no'; with a header, 'tsv:source=COLUMN,target=COLUMN' names "
    "the columns"
)
_MISSING = ("", "na", "n/a", "nan", "inf", "-inf", "null", "none")
_REFERENCE = re.compile(r"(?:PMID:?\s*)?\d+(?:[;|,]\s*\d+)*", re.IGNORECASE)


@dataclass
class _Columns:
    """Properties of the lines below the first, column by column."""

    first: list[str]
    numeric: list[bool]
    names: list[set[str]] = field(default_factory=list)


def with_header(
    table: pd.DataFrame, *, told: bool | None = None, ragged: tuple[int, ...] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Name the columns of a table by its first line, or by what they hold where that is an edge.

    Parameters
    ----------
    table
        Text; columns are numbered.
    told
        Whether the first line is a header, as given by the user; None: the lines below it decide.
    ragged
        Numbers of cells of the lines, where these differ.

    Returns
    -------
    DataFrame, list of str
        The rows under named columns; what was decided, for the user.

    Raises
    ------
    UserError
        Whether the first line is a header cannot be decided; lines of different length whose last cells are names, so
        that a line may hold several edges.
    """
    table = table.rename(columns=str)
    seen = _look(table)
    header = told if told is not None else _is_header(seen, len(table))
    if header:
        names = _unique([clean_name(value) for value in seen.first])
        body = table.iloc[1:].reset_index(drop=True).set_axis(names, axis=1)
        if body.empty:
            raise UserError("edge list: holds no rows below its header; give a table with content")
        body, notes = _without_index(body.loc[:, [bool(name) or (body[name] != "").any() for name in body.columns]])
        kept = [str(name) for name in body.columns]
        if _is_counter(seen.first) or _is_counter(kept):
            bare, more = _bare(body.set_axis([str(i) for i in range(body.shape[1])], axis=1))
            return bare, [*notes, f"the first line ({name_some(seen.first, 4)}) only counts the columns", *more]
        said = f"header: {name_some([name for name in names if name], 8)}"
        return body.set_axis([name or f"column {names.index(name) + 1}" for name in kept], axis=1), [*notes, said]
    bare, notes = _bare(table)
    _refuse_ragged(bare, ragged)
    return bare, notes


def _refuse_ragged(table: pd.DataFrame, ragged: tuple[int, ...]) -> None:
    """Names at the end of some lines alone are edges that a table of one edge a line would lose."""
    if not ragged:
        return
    for name in map(str, table.columns):
        odd = name.startswith("column ") or (name == "sign" and not _are_signs(table[name]))
        if odd and (table[name].str.strip() == "").any():
            raise UserError(
                f"edge list: lines hold {name_some([str(width) for width in ragged], 4)} cells, so some may hold "
                f"several edges (like {next(value for value in table[name] if value.strip())}); write one edge a line, "
                "or a GMT or SIF file"
            )


def _look(table: pd.DataFrame) -> _Columns:
    first = [str(value).strip() for value in table.iloc[0]]
    body = table.iloc[1 : _ROWS + 1]
    seen = _Columns(first, [])
    for name in table.columns:
        values = body[name].str.strip()
        filled = values[~values.str.lower().isin(_MISSING)]
        share = pd.to_numeric(filled, errors="coerce").notna().mean() if len(filled) else 0.0
        seen.numeric.append(bool(share > 0.9))
        seen.names.append(set() if seen.numeric[-1] else {clean_name(value) for value in filled.unique()})
    return seen


def _is_header(seen: _Columns, num_rows: int) -> bool:
    first = [clean_name(value) for value in seen.first]
    ends = [end_of(name) for name in first]
    if {"source", "target"} <= set(ends) or _is_counter(seen.first):
        return True
    numbers = [_is_number(value) for value in first]
    if any(numeric and _is_word(value) for numeric, value in zip(seen.numeric, first, strict=True)):
        return True  # a word above a column of numbers
    if any(numeric and number for numeric, number in zip(seen.numeric, numbers, strict=True)):
        return False
    text = [i for i, numeric in enumerate(seen.numeric) if not numeric]
    below = set().union(*(seen.names[i] for i in text)) if text else set()
    if any(first[i].lower() in SIGN_WORDS and first[i] for i in text[2:]) and not any(
        fold_column(first[i]) in _KNOWN_OTHERS for i in text[2:]
    ):
        return False
    known = sum(end is not None for end in ends) + sum(fold_column(name) in _KNOWN_OTHERS for name in first)
    if len(first) == 1:
        return known > 0
    strangers = [i for i in text[:2] if ends[i] is None and fold_column(first[i]) not in _KNOWN_OTHERS]
    if any(first[i] in below for i in strangers):
        return False  # its names are genes of other lines
    if known == 0:
        return num_rows > 1 and all(_is_odd(first[i], seen.names[i]) for i in text[:2])
    if any(_is_gene_like(first[i]) for i in strangers):
        # "HNF1A, TF": a gene next to a word that is a gene too (transferrin)
        return False
    if len(first) > 2 or all(_is_odd(first[i], seen.names[i]) for i in text[:2]):
        return True
    if any(first[i].upper() != first[i] for i in text[:2]):
        return True
    raise UserError(
        f"edge list: cannot decide whether the first line ({name_some(seen.first, 4)}) is a header or an edge; {_ASK}"
    )


def _is_number(value: str) -> bool:
    return re.fullmatch(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", value.strip(), re.IGNORECASE) is not None


def _is_word(value: str) -> bool:
    """Whether a cell has a letter and is neither a number, nor what stands for a missing one, nor a reference."""
    text = value.strip().lower()
    return any(letter.isalpha() for letter in text) and not (
        text in _MISSING or _is_number(text) or _REFERENCE.fullmatch(text) or text in SIGN_WORDS
    )


def _is_counter(first: list[str]) -> bool:
    """``V1, V2`` of R, or the numbers that pandas writes over columns without names."""
    names = [name for name in first if name.strip()]
    for start in (0, 1):
        for prefix in ("", "V", "X", "Column", "...", "col", "column"):
            if names and names == [f"{prefix}{i}" for i in range(start, start + len(names))]:
                return len(names) > 1
    return False


def _is_gene_like(name: str) -> bool:
    """A symbol of capitals with a digit, or an id: a column is hardly ever called so."""
    symbol = re.fullmatch(r"[A-Z][A-Za-z]*[A-Z0-9.\-]*\d[A-Za-z0-9.\-]*", name) is not None
    return (symbol or name_kind(name) != "symbols") and end_of(name) is None


def _is_odd(name: str, below: set[str]) -> bool:
    """Whether a cell is written unlike the names below it: in lower case above capitals, or in several words."""
    if not below or name_kind(name) != "symbols":
        return False
    words = [value for value in below if " " in value or "_" in value]
    if (" " in name or "_" in name) and len(words) < 0.05 * len(below):
        return True
    if re.fullmatch(r"C(?:\d+|X|Y)orf\d+", name):
        return False
    lower = sum(value.upper() != value for value in below)
    if name.upper() != name:
        return lower < 0.05 * len(below) or (name.lower() == name and not any(v.lower() == v for v in below))
    return False


def _unique(names: list[str]) -> list[str]:
    """Names of columns, numbered where one repeats, so that no column hides another."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}.{seen[name] - 1}")
    return result


def _without_index(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    name = str(table.columns[0])
    if table.shape[1] > 2 and is_index(name, table[name]):
        return table.iloc[:, 1:], ["the first column only numbers the rows and was left out"]
    return table, []


def _bare(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Name the columns of a table without a header by what they hold."""
    notes = []
    if table.shape[1] > 2 and are_running(list(table.iloc[:, 0].str.strip())) and _texts(table)[:2] == [1, 2]:
        table = table.iloc[:, 1:]
        notes.append("the first column only numbers the rows and was left out")
    table = table.set_axis([f"column {i + 1}" for i in range(table.shape[1])], axis=1)
    if table.shape[1] < 2:
        return table, notes
    names = [str(name) for name in table.columns]
    signs = [i for i, name in enumerate(names) if _are_signs(table[name])]
    numbers = [i for i, name in enumerate(names) if _are_numbers(table[name])]
    ends = [i for i in range(len(names)) if i not in signs and i not in numbers]
    if len(ends) > 2 and table.iloc[:, ends[1]].nunique() == 1 < table.iloc[:, ends[2]].nunique():
        ends = [ends[0], ends[2]]  # SIF: the word for the interaction stands in the middle
    ends = ends[:2] if len(ends) > 1 else [0, 1]
    names[ends[0]], names[ends[1]] = "source", "target"
    rest = [i for i in range(len(names)) if i not in ends]
    sign = next((i for i in rest if i in signs), None)
    weight = _bare_weight(table, [i for i in rest if i in numbers and i not in signs], ends)
    if sign is not None:
        plain = sign in numbers and weight is None and not (table.iloc[:, sign].str.strip() == "0").any()
        names[sign] = "weight" if plain else "sign"  # 1 and -1 are both
    # Whole numbers behind a sign are references (TRRUST's PubMed ids), not weights.
    if weight is not None and (sign is None or weight < sign or not _are_references(table.iloc[:, weight])):
        names[weight] = "weight"
    evidence = next((i for i in rest if names[i].startswith("column ") and _are_references(table.iloc[:, i])), None)
    if evidence is not None:
        names[evidence] = "evidence"
    elif sign is None and weight is None and table.shape[1] == 3 and rest == [2]:
        names[2] = "sign"  # refused with the word that is not a sign
    if names == ["source", "target", "sign", "evidence"] and sign not in numbers:
        names = ["TF", "target", "mode", "pmid"]  # TRRUST's raw file
    first = name_some([str(value) for value in table.iloc[0]], 4)
    held = ", ".join(name for name in names)
    return table.set_axis(names, axis=1), [*notes, f"no header: the first line ({first}) is an edge; columns: {held}"]


def _bare_weight(table: pd.DataFrame, numbers: list[int], ends: list[int]) -> int | None:
    """The first column of numbers, unless it may be one of ids: whole numbers in pairs, or before the names."""
    whole = [i for i in numbers if table.iloc[:_ROWS, i].str.strip().str.fullmatch(r"\d{2,}").all()]
    for i in numbers:
        if i not in whole or (len(whole) == 1 and (i > max(ends) or _varies(table, i, ends[0]))):
            return i
    return None


def _varies(table: pd.DataFrame, column: int, source: int) -> bool:
    """Whether numbers differ within one TF, and neither count nor number the rows: then they are not ids."""
    numbers = pd.to_numeric(table.iloc[:_ROWS, column], errors="coerce")
    in_order = bool((numbers.diff().iloc[1:] > 0).all())
    return not in_order and bool((numbers.groupby(table.iloc[:_ROWS, source]).nunique() > 1).any())


def _texts(table: pd.DataFrame) -> list[int]:
    return [i for i in range(table.shape[1]) if not _are_numbers(table.iloc[:, i])]


def _are_numbers(values: pd.Series) -> bool:
    some = values.iloc[:_ROWS].str.strip()
    some = some[~some.str.lower().isin(_MISSING)]
    return len(some) > 0 and bool(pd.to_numeric(some, errors="coerce").notna().mean() > 0.9)


def _are_signs(values: pd.Series) -> bool:
    """Words such as Activation, or 1 and -1 with at least one that is negative."""
    found = {value.strip().lower() for value in values.iloc[:_ROWS]}
    return found <= set(SIGN_WORDS) and found != {""} and bool(found - {"1", "1.0", "0", "0.0", "", "na", "nan"})


def _are_references(values: pd.Series) -> bool:
    some = [value.strip() for value in values.iloc[:200] if value.strip()]
    return bool(some) and all(_REFERENCE.fullmatch(value) for value in some)
