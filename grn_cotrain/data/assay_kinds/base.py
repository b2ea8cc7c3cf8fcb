"""The interface of a kind of assay, and the modalities.

Nothing crosses assays: depth and normalisation are computed from the values of one assay, in the cells that have it. A
new modality is one kind that introduces it (:attr:`AssayKind.introduces`), in a file of this package or in a plug-in.

Dimension letters: C cells, F features of one assay, N stored values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, overload

import numpy as np
from scipy import sparse

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.registry import Registry

__all__ = ["ASSAY_KINDS", "MODALITIES", "TARGET_SUM", "AssayKind", "Modality", "modality_of"]

TARGET_SUM = 1e4
"""Counts are scaled to this many per cell before the logarithm."""


@dataclass(frozen=True)
class Modality:
    """A kind of feature, and the assay that measures it.

    Attributes
    ----------
    name
        Name of its features: ``gene``, ``peak``, ``protein``.
    assay
        Name of the assay: ``rna``, ``atac``, ``protein``.
    words
        Its names in files and options, in lower case.
    counts
        Kind of the assay where a file has whole numbers.
    only_ones
        Kind of the assay where all stored values are 1; empty: the same as ``counts``.
    """

    name: str
    assay: str
    words: tuple[str, ...]
    counts: str = "counts"
    only_ones: str = ""


class AssayKind(ABC):
    """Conversion of the stored values of an assay into the values that a model reads."""

    name: ClassVar[str]
    reads: ClassVar[bool] = False
    """Whether stored values are reads, whose sum is the depth of a cell."""
    introduces: ClassVar[Modality | None] = None
    """The modality that comes with this kind; None for kinds of known modalities."""

    @staticmethod
    @abstractmethod
    def depth(values_CF: sparse.csr_matrix) -> np.ndarray:
        """Divisors of the values, float64 ``[C]``, over all features of the file; ones where values are not divided."""

    @staticmethod
    @abstractmethod
    def normalise(value_N: np.ndarray, depth_N: np.ndarray) -> np.ndarray:
        """Normalise float32 stored values, given the depth of their cells; returns float32 ``[N]``; 0 stays 0."""


class _Kinds(Registry[AssayKind]):
    """Kinds of assays by name; modalities in a fixed order, those of plug-ins last."""

    def modalities(self) -> tuple[Modality, ...]:
        """Known modalities, then those that plug-ins introduce."""
        self._load()
        if len(self._components) != self._counted:  # names are asked for at every look-up of a feature
            added = [c.cls.introduces for c in self.components() if c.cls.introduces is not None]
            self._modalities, self._counted = (*_KNOWN, *added), len(self._components)
        return self._modalities

    _modalities: tuple[Modality, ...] = ()
    _counted = -1


ASSAY_KINDS = _Kinds("assay_kind", __package__)

_KNOWN = (
    Modality("gene", "rna", ("genes", "rna", "gex", "gene expression", "transcriptome", "expression")),
    Modality("peak", "atac", ("peaks", "atac", "chromatin", "chromatin accessibility"), only_ones="binary"),
    Modality("protein", "protein", ("proteins", "prot", "adt", "cite", "antibody", "antibody capture"), counts="clr"),
)


class _Names(Sequence[str]):
    """Names of the modalities; the position of a name is its code in packed tokens."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return tuple(modality.name for modality in ASSAY_KINDS.modalities())[index]

    def __iter__(self) -> Iterator[str]:
        return iter([modality.name for modality in ASSAY_KINDS.modalities()])

    def __len__(self) -> int:
        return len(ASSAY_KINDS.modalities())


MODALITIES: Sequence[str] = _Names()
"""Names of the modalities: gene, peak, protein, and what plug-ins add."""


def modality_of(name: str) -> Modality:
    """The modality of this name, or with an assay of this name."""
    for modality in ASSAY_KINDS.modalities():
        if name in (modality.name, modality.assay):
            return modality
    names = [modality.assay for modality in ASSAY_KINDS.modalities()]
    raise UserError(f"assay '{name}': unknown; choose from {', '.join(names)}{did_you_mean(name, names)}")
