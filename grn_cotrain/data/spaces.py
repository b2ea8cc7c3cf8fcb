"""Feature spaces: the features of one modality, in the order of the vocabulary.

Dimension letters: F features of the space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from grn_cotrain.config import canonical_hash

__all__ = ["FeatureSpace", "Interval", "counted_features", "intervals_of"]

Interval = tuple[str, int, int]
"""Chromosome, start and end."""

_INTERVAL = re.compile(r"([\w.\-]+?)[:\-_](\d+)[\-_](\d+)")


@dataclass(frozen=True)
class FeatureSpace:
    """The features of one modality.

    Attributes
    ----------
    name
        Modality: ``gene``, ``peak``, ``protein``.
    start
        Column of the vocabulary at which the space begins; the spaces of a vocabulary stand one after another.
    symbols, ids, is_token
        ``F`` names, Ensembl ids (or ``""``), and whether each feature can be a token.
    species
        Species of the vocabulary.
    intervals
        Chromosome, start and end of features whose place is known, by name.
    """

    name: str
    start: int
    symbols: tuple[str, ...]
    ids: tuple[str, ...]
    is_token: tuple[bool, ...]
    species: str = "unknown"
    intervals: Mapping[str, Interval] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def stop(self) -> int:
        """Column after the last one."""
        return self.start + len(self.symbols)

    @property
    def columns(self) -> slice:
        """Columns of the vocabulary."""
        return slice(self.start, self.stop)

    @cached_property
    def is_token_F(self) -> np.ndarray:
        """bool ``[F]``."""
        return np.asarray(self.is_token, dtype=bool)

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits: those of a vocabulary that holds this space alone."""
        return canonical_hash(
            {
                "species": self.species,
                "symbols": list(self.symbols),
                "ids": list(self.ids),
                "modality": [self.name] * len(self),
                "is_token": list(self.is_token),
            }
        )


def counted_features(numbers: Mapping[str, int]) -> str:
    """``9,015 genes`` or ``8,595 genes + 36,954 peaks``: numbers of features by modality."""
    return " + ".join(f"{number:,} {name}{'' if number == 1 else 's'}" for name, number in numbers.items() if number)


def intervals_of(var: pd.DataFrame) -> dict[str, Interval]:
    """Genomic intervals of the genes and peaks of a file, by name; features whose place is not known are left out.

    Taken from the columns ``chrom``/``start``/``end`` (or ``chromStart``/``chromEnd``, ``seqnames``), from ``interval``
    as 10x Genomics writes it, or from names of peaks such as ``chr1:100-200``.

    Parameters
    ----------
    var
        One row a feature, its name in the index; ``modality`` names its kind.
    """
    lower = {str(name).lower(): name for name in var.columns}
    chrom, start, end = (
        next((lower[name] for name in words if name in lower), None)
        for words in (("chrom", "chr", "chromosome", "seqnames"), ("start", "chromstart"), ("end", "chromend"))
    )
    if chrom is not None and start is not None and end is not None:
        rows = list(zip(var.index, var["modality"], var[chrom], var[start], var[end], strict=True))
    else:
        text = var[lower["interval"]] if "interval" in lower else var.index
        is_peak = (var["modality"] == "peak").to_numpy()
        found = [
            _INTERVAL.fullmatch(str(name)) if known or "interval" in lower else None
            for name, known in zip(text, is_peak, strict=True)
        ]
        rows = [
            (name, modality, *match.groups())
            for name, modality, match in zip(var.index, var["modality"], found, strict=True)
            if match
        ]
    result: dict[str, Interval] = {}
    for name, modality, place, low, high in rows:
        if modality in ("gene", "peak") and pd.notna(place) and str(place):
            try:
                result[str(name)] = (str(place), int(float(low)), int(float(high)))
            except (TypeError, ValueError, OverflowError):  # a place that is not a number is not known
                continue
    return result
