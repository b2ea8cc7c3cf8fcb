"""Columns of ``obs`` by name, with the error that a wrong name deserves.

Dimension letters: C cells.
"""

from __future__ import annotations

import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["obs_column"]

_SHOWN = 20  # column names in an error; one line stays one line


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
