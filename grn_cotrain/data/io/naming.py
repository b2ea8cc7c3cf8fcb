"""Which names the features of a file have, whatever its format: its index, or the column that holds them.

Numbers are never names: an index of 0, 1, 2, ... means that the names are in a column or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.column_words import (
    GENE_ID_WORDS,
    GENE_NAME_WORDS,
    are_numbers,
    folded,
    is_cell_annotation,
    is_gene_annotation,
)
from grn_cotrain.data.vocab import is_ensembl_id
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["name_features", "symbols_of"]

_INDEX = "index"
_TYPES = ("modality", "feature_types", "feature_type")
_MISSING = ("", "nan", "none", "<na>")


@dataclass
class _Column:
    """One column as text; ``values`` has an empty string where the file has no value."""

    name: str
    values: list[str]

    @property
    def present(self) -> list[str]:
        return [value for value in self.values if value]

    def could_name(self) -> bool:
        """Whether it holds text without white space, in most rows and mostly different."""
        present = self.present
        if len(present) < 0.5 * len(self.values) or len(set(present)) <= 0.5 * len(present):
            return False
        numbers = sum(are_numbers([value]) for value in present)
        spaced = sum(any(mark.isspace() for mark in value) for value in present)
        return numbers <= 0.1 * len(present) and spaced <= 0.2 * len(present)

    def holds_ids(self) -> bool:
        present = self.present
        return bool(present) and sum(map(is_ensembl_id, present)) > 0.5 * len(present)


def name_features(var: pd.DataFrame, what: str, column: str | None = None) -> tuple[list[str], list[str]]:
    """Names of all features, and lines to report.

    Parameters
    ----------
    var
        One row a feature, with the file's own columns.
    what
        How errors call the file.
    column
        The column that the user named (``--names``); ``index`` is the index itself. None: the index, unless it holds
        numbers only.

    Raises
    ------
    UserError
        No such column; the index holds numbers and no column, or more than one, can hold the names; a feature without
        a name.
    """
    given = [str(name) for name in var.index]
    found = {str(name): name for name in var.columns}
    if column is not None and column not in found and folded(column) == _INDEX:
        return given, ["names of the features: the index, as given"]
    if column is not None and column not in found:
        listed = name_some([*found, _INDEX], 12)
        raise UserError(
            f"--names '{column}': {what} has no such column of features; choose from {listed}"
            f"{did_you_mean(column, [*found, _INDEX])}"
        )
    names, notes = list(given), []
    for rows in _by_type(var):
        part = var.iloc[rows]
        taken, said = _named(part, [given[i] for i in rows], what, column)
        for i, name in zip(rows, taken, strict=True):
            names[i] = name
        notes += said
    return names, list(dict.fromkeys(notes))


def symbols_of(var: pd.DataFrame) -> list[str] | None:
    """Symbols of features whose index holds ids: of the first column known by its word; None if there is none."""
    found = {folded(str(name)): name for name in reversed(var.columns)}
    for word in GENE_NAME_WORDS:
        values = var[found[word]] if word in found else None
        if isinstance(values, pd.Series):
            column = _Column(word, _text(values))
            if column.present and not column.holds_ids() and not are_numbers(column.present):
                return column.values
    return None


def _by_type(var: pd.DataFrame) -> list[np.ndarray]:
    """Rows of each modality: genes may be numbered where proteins have names."""
    kinds = next((var[name].astype(str) for name in var.columns if str(name).lower() in _TYPES), None)
    if kinds is None:
        return [np.arange(len(var))]
    codes, _ = pd.factorize(kinds)
    return [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]


def _named(var: pd.DataFrame, given: list[str], what: str, column: str | None) -> tuple[list[str], list[str]]:
    if column is None and not are_numbers(given):
        return given, []
    columns = [_Column(str(name), _text(var[name])) for name in var.columns if isinstance(var[name], pd.Series)]
    ids = [one for one in columns if folded(one.name) in GENE_ID_WORDS or one.holds_ids()]
    if column is not None:
        taken = next(one for one in columns if one.name == column)
        if not taken.present:  # another modality's column
            return given, []
        note = f"names of the features: column '{column}', as given"
    else:
        taken = _chosen(columns, ids, given, what)
        note = (
            f"the index of the features holds numbers ({', '.join(given[:3])}, ...): the names were taken from the "
            f"column '{taken.name}'"
        )
    spare = next((one.values for one in ids if one.holds_ids()), [""] * len(given))
    names = [value or other for value, other in zip(taken.values, spare, strict=True)]
    missing = [old for name, old in zip(names, given, strict=True) if not name]
    if missing:
        raise UserError(
            f"{what}: {len(missing):,} features have no name in the column '{taken.name}' (rows "
            f"{name_some(missing, 3)} of the index); fill the column, or remove them"
        )
    return names, [note]


def _chosen(columns: Sequence[_Column], ids: Sequence[_Column], given: Sequence[str], what: str) -> _Column:
    """The one column that holds names: of the words for symbols first, then of ids."""
    able = [one for one in columns if one.could_name() and one not in ids]
    known = _different([one for one in able if folded(one.name) in GENE_NAME_WORDS])
    other = [
        one
        for one in able
        if not is_gene_annotation(one.name) and not is_cell_annotation(one.name) and one not in known
    ]
    with_ids = _different([one for one in ids if one.could_name()])
    for choice in (known, [] if known else with_ids):
        if len(choice) == 1:
            return choice[0]
    candidates = [one.name for one in (known or with_ids or other)]
    numbers = f"{what}: the index of the features holds numbers ({', '.join(given[:3])}, ...), not names"
    if not candidates:
        raise UserError(
            f"{numbers}, and no column holds names (has {name_some([one.name for one in columns]) or 'none'}); "
            "set adata.var_names to the names, or, if the numbers are names: grn-prep counts --names index"
        )
    listed = ", ".join(f"'{name}'" for name in candidates)
    verb = "may hold" if len(candidates) > 1 or not (known or with_ids) else "holds"
    raise UserError(
        f"{numbers}; {listed} {verb} them: name the column with grn-prep counts --names '{candidates[0]}', "
        f"or make it the index (adata.var_names = adata.var['{candidates[0]}'])"
    )


def _different(columns: Sequence[_Column]) -> list[_Column]:
    """Columns of equal content once, the first of them."""
    result: list[_Column] = []
    for one in columns:
        if all(one.values != other.values for other in result):
            result.append(one)
    return result


def _text(values: pd.Series) -> list[str]:
    plain = ["" if pd.isna(value) else (value.decode() if isinstance(value, bytes) else str(value)) for value in values]
    return ["" if value.strip().lower() in _MISSING else value.strip() for value in plain]
