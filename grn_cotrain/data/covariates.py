"""Columns of ``obs`` that condition a model: batch, donor, stimulation. Categories are learned once and saved with it.

Dimension letters: C cells, K covariates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.obs import obs_column
from grn_cotrain.errors import UserError

__all__ = ["UNKNOWN", "Categories", "categories_of", "covariate_codes", "unknown_notes"]

Categories = Mapping[str, tuple[str, ...]]
"""Column of ``obs`` -> its categories, sorted; the order of columns is that of ``CellBatch.covariates_BK``."""

UNKNOWN = -1
"""Code of a category that training has not seen, and of every cell of a file that lacks the column."""


def categories_of(obs: pd.DataFrame, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Categories of each column, as text; missing values are no category.

    Raises
    ------
    UserError
        A column that is not there, or that is empty.
    """
    found: dict[str, tuple[str, ...]] = {}
    for column in columns:
        values = obs_column(obs, column, "tokens.covariates").dropna().astype(str)
        if values.empty:
            raise UserError(f"tokens.covariates '{column}': the column of obs is empty; leave it out")
        found[column] = tuple(sorted(set(values)))
    return found


def covariate_codes(obs: pd.DataFrame, categories: Categories) -> np.ndarray:
    """int64 codes ``[C, K]``; :data:`UNKNOWN` for other categories, missing values, and columns that are not there."""
    codes_CK = np.full((len(obs), len(categories)), UNKNOWN, dtype=np.int64)
    for index, (column, names) in enumerate(categories.items()):
        if column in obs:
            known_C = obs[column].notna().to_numpy()
            code_C = pd.Index(names).get_indexer(pd.Index(obs[column].astype(str)))
            codes_CK[:, index] = np.where(known_C, code_C, UNKNOWN)
    return codes_CK


def unknown_notes(obs: pd.DataFrame, categories: Categories) -> list[str]:
    """What there is to tell of cells whose categories the model has not learned: how many, and which."""
    notes = []
    for column, names in categories.items():
        if column not in obs:
            notes.append(f"covariate '{column}': no such column of obs; all {len(obs):,} cells are taken as unknown")
            continue
        given = obs[column]
        other_C = given.notna() & ~given.astype(str).isin(names)
        if other_C.any():
            found = sorted(set(given[other_C].astype(str)))
            notes.append(
                f"covariate '{column}': {int(other_C.sum()):,} cells are of categories that the model has not seen, and"
                f" taken as unknown: {name_some(found, 5)}"
            )
        if given.isna().any():
            notes.append(f"covariate '{column}': {int(given.isna().sum()):,} cells have none and are taken as unknown")
    return notes
