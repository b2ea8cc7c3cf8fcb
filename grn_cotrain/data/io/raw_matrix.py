"""Result of every reader: cells x features as stored in the file, and notes of the reading.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.assay_kinds import ASSAY_KINDS
from grn_cotrain.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.rows import RowSource

__all__ = [
    "RawMatrix",
    "canonical_modality",
    "frame",
    "looks_like_peaks",
    "modality_words",
    "no_such_layer",
    "whole_numbers",
]

_PEAK = r"[\w.\-]+[:\-_]\d+[\-_]\d+"


@dataclass
class RawMatrix:
    """Cells x features, not yet validated.

    Attributes
    ----------
    adata
        ``X`` ``[C, G]``, ``obs`` and ``var`` of the file; nothing else.
    notes
        Lines about what was detected.
    counts_at
        Layers (``raw`` for ``adata.raw``) that hold whole numbers and were not taken.
    modality_taken
        The reader has applied ``--modality`` already, by the file's own names of its parts.
    shared
        The values are the caller's: copy before changing them.
    measured
        For each modality, which cells have it: bool ``[C]``; empty where every cell has all.
    rows
        The values, where they stay on disk; ``adata`` has no ``X`` then.
    """

    adata: anndata.AnnData
    notes: list[str] = field(default_factory=list)
    counts_at: list[str] = field(default_factory=list)
    modality_taken: bool = False
    shared: bool = False
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    rows: RowSource | None = None


def frame(names: Sequence[Any], columns: dict[str, Any] | None = None) -> pd.DataFrame:
    """A table whose index is text, whatever the file holds."""
    return pd.DataFrame(columns or {}, index=pd.Index([str(name) for name in names], dtype=object))


def canonical_modality(name: str) -> str:
    """``rna`` -> ``gene``, ``ADT`` -> ``protein``, ``atac`` -> ``peak``; an empty string for an unknown name."""
    word = name.strip().lower()
    return next((known.name for known in ASSAY_KINDS.modalities() if word in (known.name, *known.words)), "")


def modality_words() -> list[str]:
    """Names of the modalities in files and options, sorted."""
    return sorted(word for known in ASSAY_KINDS.modalities() for word in (known.name, *known.words))


def looks_like_peaks(names: Sequence[str]) -> bool:
    """Whether every name is a genomic interval, ``chr1-100-200`` or ``chr1:100-200``."""
    return bool(len(names)) and bool(pd.Series(list(names), dtype=object).astype(str).str.fullmatch(_PEAK).all())


def whole_numbers(X: Any) -> bool:
    """Whether a matrix, or a sample of its values, holds whole numbers only, at least one of them not zero."""
    values = np.asarray(X.data if sparse.issparse(X) else X)
    if values.dtype.kind not in "buif" or not values.any():
        return False
    return bool((values >= 0).all() and np.array_equal(values, np.rint(values)))


def no_such_layer(layer: str, choices: Sequence[str], what: str) -> UserError:
    """The error of every format that has layers."""
    listed = ", ".join(choices) or "none (leave it out)"
    return UserError(f"--layer '{layer}': {what} has no such layer; choose from {listed}{did_you_mean(layer, choices)}")
