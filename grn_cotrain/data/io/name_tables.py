"""Shared parts of tables of gene names: the result of applying one, and the comparison of names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from grn_cotrain.data.vocab import is_ensembl_id

__all__ = ["MISSING", "Renamed", "TargetSpecies", "fold"]

TargetSpecies = Literal["human", "mouse"]
MISSING = ("", "-", "nan", "na")
"""Entries of a table that mean a missing value, in lower case."""


@dataclass
class Renamed:
    """Names after a table was applied.

    Attributes
    ----------
    names
        One for each name given; None if it has no counterpart.
    notes
        Lines to report.
    unchanged
        No name was to be changed: they are of the wanted species already.
    species
        Species of the names after the change; None if it was not asked for.
    """

    names: list[str | None]
    notes: list[str] = field(default_factory=list)
    unchanged: bool = False
    species: TargetSpecies | None = None


def fold(name: str) -> str:
    """A name as it is compared: without case, and an Ensembl id without version."""
    text = name.strip()
    return (text.split(".")[0] if is_ensembl_id(text) else text).casefold()
