"""Feature spaces: the features of one modality, in the order of the vocabulary.

Dimension letters: F features of the space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from grn_cotrain.config import canonical_hash

__all__ = ["FeatureSpace", "intervals_of"]

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
        Of the vocabulary.
    """

    name: str
    start: int
    symbols: tuple[str, ...]
    ids: tuple[str, ...]
    is_token: tuple[bool, ...]
    species: str = "unknown"

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


def intervals_of(var: pd.DataFrame) -> pd.DataFrame:
    """Genomic intervals of features: columns ``chrom``, ``start``, ``end`` (missing where nothing tells).

    Taken from the columns ``chrom``/``start``/``end`` (or ``chromStart``/``chromEnd``, ``seqnames``), from ``interval``
    as 10x Genomics writes it, or from names such as ``chr1:100-200``.

    Parameters
    ----------
    var
        One row a feature, its name in the index.
    """
    lower = {str(name).lower(): name for name in var.columns}
    chrom = next((lower[name] for name in ("chrom", "chr", "chromosome", "seqnames") if name in lower), None)
    start = next((lower[name] for name in ("start", "chromstart") if name in lower), None)
    end = next((lower[name] for name in ("end", "chromend") if name in lower), None)
    if chrom is not None and start is not None and end is not None:
        table = pd.DataFrame({"chrom": var[chrom], "start": var[start], "end": var[end]})
    else:
        text = var[lower["interval"]] if "interval" in lower else pd.Series(var.index, index=var.index)
        found = [_INTERVAL.fullmatch(str(name)) for name in text]
        rows = [match.groups() if match else (None, None, None) for match in found]
        table = pd.DataFrame(rows, columns=["chrom", "start", "end"], index=var.index, dtype=object)
    result = pd.DataFrame(index=var.index)
    result["chrom"] = pd.Series(
        [None if pd.isna(name) else str(name) for name in table["chrom"]], index=var.index, dtype="string"
    )
    for name in ("start", "end"):
        result[name] = pd.to_numeric(table[name], errors="coerce").astype("Int64")
    return result
