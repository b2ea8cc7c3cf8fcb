"""Columns of ``obs`` that condition a model: batch, donor, stimulation. Categories are learned once and saved with it.

Dimension letters: C cells, K covariates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.obs import as_labels, canonical_text, obs_column
from grn_cotrain.errors import UserError

__all__ = ["UNKNOWN", "Categories", "categories_of", "covariate_codes", "unknown_notes"]

Categories = Mapping[str, tuple[str, ...]]
"""Column of ``obs`` -> its categories, sorted; the order of columns is that of ``PackedTokens.covariates_BK``."""

UNKNOWN = -1
"""Code of a category that training has not seen, and of every cell of a file that lacks the column."""


def categories_of(obs: pd.DataFrame, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Categories of each column, in the form of :func:`~grn_cotrain.data.obs.canonical_text`, without missing values.

    Raises
    ------
    UserError
        A column that is not there, or that is empty.
    """
    found: dict[str, tuple[str, ...]] = {}
    for column in columns:
        values = as_labels(obs_column(obs, column, "tokens.covariates")).dropna()
        if values.empty:
            raise UserError(f"tokens.covariates '{column}': the column of obs is empty; leave it out")
        found[column] = tuple(sorted(set(values)))
    return found


def covariate_codes(obs: pd.DataFrame, categories: Categories) -> np.ndarray:
    """int64 codes ``[C, K]``; :data:`UNKNOWN` for other categories, missing values, and columns that are not there."""
    codes_CK = np.full((len(obs), len(categories)), UNKNOWN, dtype=np.int64)
    for index, (column, names) in enumerate(categories.items()):
        if column in obs:
            place = _places(names)
            codes_CK[:, index] = [place.get(label, UNKNOWN) for label in as_labels(obs[column])]
    return codes_CK


def _places(names: Sequence[str]) -> dict[str | None, int]:
    """Code of each label; models of earlier versions may have learned categories in another form."""
    place: dict[str | None, int] = {canonical_text(name): code for code, name in reversed(list(enumerate(names)))}
    place.pop(None, None)
    return place


def unknown_notes(obs: pd.DataFrame, categories: Categories) -> list[str]:
    """Lines about cells whose categories the model has not learned: their number and the categories."""
    notes = []
    for column, names in categories.items():
        if column not in obs:
            notes.append(f"covariate '{column}': no such column of obs; all {len(obs):,} cells are taken as unknown")
            continue
        given = as_labels(obs[column])
        other_C = given.notna() & ~given.isin(list(_places(names)))
        if other_C.any():
            found = sorted(set(given[other_C]))
            notes.append(
                f"covariate '{column}': {int(other_C.sum()):,} cells are of categories that the model has not seen, and"
                f" taken as unknown: {name_some(found, 5)}"
            )
        if given.isna().any():
            notes.append(f"covariate '{column}': {int(given.isna().sum()):,} cells have none and are taken as unknown")
    return notes
