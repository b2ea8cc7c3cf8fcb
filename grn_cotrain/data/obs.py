"""Columns of ``obs`` by name, with the error that a wrong name deserves; and values as labels, in one canonical form.

Dimension letters: C cells.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["as_labels", "canonical_text", "obs_column", "obs_hashes"]

_SHOWN = 20  # column names in an error; one line stays one line
_WHOLE = re.compile(r"(-?)(0|[1-9]\d*)\.0+")
_MISSING = frozenset(("", "nan", "NaN", "<NA>", "NaT"))  # how missing values look once a tool has made them text
_EXACT = 2.0**53  # floats count every whole number up to here


def obs_column(obs: pd.DataFrame, name: str, option: str) -> pd.Series:
    """Return the column ``name`` ``[C]``; ``option`` is what the user named it with, such as ``--by``.

    Raises
    ------
    UserError
        No such column; the columns there are, and the nearest.
    """
    if name not in obs:
        names = [str(column) for column in obs.columns]
        raise UserError(
            f"{option} '{name}': no such column of obs; choose from {name_some(names, _SHOWN) or 'none, obs is empty'}"
            f"{did_you_mean(name, names)}"
        )
    return obs[name]


def canonical_text(value: Any) -> str | None:
    """Return the one text of a label, however a file stores it; None for a missing value.

    The whole numbers ``1``, ``1.0``, ``"1"`` and ``"1.0"`` are the label ``1``; ``True`` and ``"True"`` are ``True``.
    Other text stays as it is, without blanks around it: ``"01"`` is a label, not a number. A file that stored missing
    values as text (``"nan"``, ``"<NA>"``, an empty text) has no label there.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, (float, np.floating)) or (isinstance(value, Real) and not isinstance(value, str)):
        number = float(value)
        if np.isnan(number):
            return None
        whole = number.is_integer() and abs(number) <= _EXACT
        return str(int(number)) if whole else str(value)
    text = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
    if text in _MISSING:
        return None
    whole_text = _WHOLE.fullmatch(text)
    if whole_text is None:
        return text
    sign, digits = whole_text.groups()
    return digits if digits == "0" else sign + digits


def as_labels(column: pd.Series) -> pd.Series:
    """Return the labels ``[C]`` of a column, of type object: :func:`canonical_text` of each value."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        names = np.array([*map(canonical_text, column.cat.categories), None], dtype=object)
        return pd.Series(names[column.cat.codes.to_numpy()], index=column.index, dtype=object)
    known: dict[tuple[type, Hashable], str | None] = {}

    def label(value: Any) -> str | None:
        if not isinstance(value, Hashable):
            return canonical_text(value)
        key = (type(value), value)  # 1, 1.0 and True are equal keys of a dict
        if key not in known:
            known[key] = canonical_text(value)
        return known[key]

    return pd.Series([label(value) for value in column], index=column.index, dtype=object)


def obs_hashes(obs: pd.DataFrame) -> dict[str, str]:
    """Column -> SHA-256 (first 16 hex digits) of its labels ``[C]``; the key ``""`` stands for the names of the cells.

    Labels are those of :func:`as_labels`, so that another way to store the same values changes nothing.
    """
    columns = {"": pd.Series(obs.index.astype(str)), **{str(name): obs[name] for name in obs}}
    return {
        name: hashlib.sha256(json.dumps(as_labels(column).tolist()).encode()).hexdigest()[:16]
        for name, column in columns.items()
    }
