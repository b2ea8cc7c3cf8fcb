"""One assay of a data set: what it measures, in which cells, and how its values are normalised.

Dimension letters: C cells, B some of them, F features of the assay's space, N stored values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from grn_cotrain.data.assay_kinds import ASSAY_KINDS, AssayKind, modality_of
from grn_cotrain.data.spaces import FeatureSpace
from grn_cotrain.errors import UserError

__all__ = [
    "PRESENT",
    "SIZE_FACTOR_OF",
    "Assay",
    "AssayRow",
    "assay_notes",
    "assay_rows",
    "build_assays",
    "checked_assay",
    "kind_for",
    "num_measured",
]

PRESENT = "present_{}"
"""Column of ``obs`` that marks the cells that have an assay: ``present_rna``, ``present_atac``, ``present_protein``."""
SIZE_FACTOR_OF = "size_factor_{}"
"""Column of a prepared folder's ``obs`` with the depth of each cell in an assay."""


@dataclass(frozen=True, eq=False)
class Assay:
    """Measurements of one assay.

    Attributes
    ----------
    name
        ``rna``, ``atac``, ``protein``.
    space
        Its features.
    kind
        Name of its :class:`~grn_cotrain.data.assay_kinds.AssayKind`: ``counts``, ``binary``, ``clr`` or ``log``.
    size_factor_C
        float64 depth of each cell in this assay, before features were selected.
    present_C
        bool, which cells have the assay. A zero of another cell is not a measurement.
    """

    name: str
    space: FeatureSpace
    kind: str
    size_factor_C: np.ndarray
    present_C: np.ndarray

    @property
    def normaliser(self) -> type[AssayKind]:
        """The class of :attr:`kind`."""
        return ASSAY_KINDS.get(self.kind)

    @property
    def has_reads(self) -> bool:
        """Whether stored values are reads, whose sum is the depth of a cell."""
        return self.normaliser.reads

    def normalised(self, values_BF: sparse.csr_matrix, index_B: np.ndarray | None = None) -> sparse.csr_matrix:
        """Normalise the stored values of the cells at ``index_B`` (default: all); the structure is shared."""
        depth_B = self.size_factor_C if index_B is None else self.size_factor_C[index_B]
        return sparse.csr_matrix(
            (self.normalised_values(values_BF.data, values_BF.indptr, depth_B), values_BF.indices, values_BF.indptr),
            shape=values_BF.shape,
            copy=False,
        )

    def normalised_values(self, value_N: np.ndarray, indptr: np.ndarray, depth_B: np.ndarray) -> np.ndarray:
        """Normalised values, float32 ``[N]``, of rows that begin at ``indptr``."""
        return self.normaliser.normalise(value_N, np.repeat(depth_B, np.diff(indptr)))

    def take(self, index_B: np.ndarray) -> Assay:
        """The same assay of the cells at ``index_B``, in that order."""
        return replace(self, size_factor_C=self.size_factor_C[index_B], present_C=self.present_C[index_B])


@dataclass(frozen=True)
class AssayRow:
    """Cells of one assay, or those that have several: number of its features, kind and median depth, where known."""

    what: str
    cells: int
    features: int | None = None
    kind: str = ""
    depth: float | None = None


def assay_rows(assays: Mapping[str, Assay]) -> list[AssayRow]:
    """A row an assay, then one of the cells that have all; no row where every cell has the one assay that there is."""
    if len(assays) == 1 and all(assay.present_C.all() for assay in assays.values()):
        return []
    rows = []
    for name, assay in assays.items():
        depth_B = assay.size_factor_C[assay.present_C]
        depth = None if assay.kind == "log" or not depth_B.size else float(np.median(depth_B))
        rows.append(AssayRow(name, int(depth_B.size), len(assay.space), assay.kind, depth))
    if len(assays) > 1:
        every_C = np.logical_and.reduce([assay.present_C for assay in assays.values()])
        rows.append(AssayRow(" and ".join(assays), int(every_C.sum())))
    return rows


def num_measured(assays: Mapping[str, Assay]) -> int:
    """Pairs of a cell and a feature of an assay that the cell has, zeros included."""
    return sum(int(assay.present_C.sum()) * len(assay.space) for assay in assays.values())


def assay_notes(assays: Mapping[str, Assay]) -> list[str]:
    """The same in words, a line a row."""
    num_cells = next(iter(assays.values())).present_C.size
    notes = []
    for row in assay_rows(assays):
        if row.features is None:
            notes.append(f"cells with {row.what}: {row.cells:,} of {num_cells:,}")
            continue
        depth = "" if row.depth is None else f", median depth {row.depth:,.4g}"
        notes.append(
            f"assay {row.what}: {row.features:,} {assays[row.what].space.name}s, {row.kind}, measured in "
            f"{row.cells:,} of {num_cells:,} cells{depth}"
        )
    return notes


def kind_for(modality: str, values: str, values_CF: sparse.csr_matrix | None = None, *, only_ones: bool = False) -> str:
    """Kind of an assay whose values were found to be ``counts`` or ``log``.

    Parameters
    ----------
    modality
        Name of the features.
    values
        ``counts`` (whole numbers), ``log``, or the name of a kind, which is taken.
    values_CF
        The values, to see whether they are all 1.
    only_ones
        Whether they are, where that is known already.
    """
    if values != "counts":
        return values
    known = modality_of(modality)
    only_ones = only_ones or (values_CF is not None and values_CF.nnz > 0 and bool((values_CF.data == 1).all()))
    if known.only_ones and only_ones:
        return known.only_ones
    return known.counts


def build_assays(
    spaces: tuple[FeatureSpace, ...],
    values_CG: sparse.csr_matrix,
    kinds: str | Mapping[str, str],
    size_factors: np.ndarray | Mapping[str, np.ndarray] | None,
    present: Mapping[str, np.ndarray] | None,
) -> dict[str, Assay]:
    """Make and check the assays of a matrix; see :meth:`~grn_cotrain.data.cells.MemoryStore.build`."""
    given: Mapping[str, Any] = {} if size_factors is None else {"": size_factors}
    if isinstance(size_factors, Mapping):
        given = size_factors
    elif size_factors is not None and spaces:
        given = {modality_of(spaces[0].name).assay: size_factors}
    assays: dict[str, Assay] = {}
    for space in spaces:
        name = modality_of(space.name).assay
        part_CF = values_CG if len(spaces) == 1 else values_CG[:, space.columns]
        asked = kinds if isinstance(kinds, str) else kinds[name]
        # One word for all describes how the values were found; a mapping names the kinds themselves.
        first = isinstance(kinds, str) and space is spaces[0] and space.name == "gene"
        kind = asked if first or not isinstance(kinds, str) else kind_for(space.name, asked, part_CF)
        if kind not in ASSAY_KINDS.names():
            raise UserError(f"cells: kind '{kind}'; choose from {', '.join(ASSAY_KINDS.names())}")
        depth_C = given.get(name)
        depth_C = ASSAY_KINDS.get(kind).depth(part_CF) if depth_C is None else np.array(depth_C, dtype=np.float64)
        assays[name] = checked_assay(space, kind, np.diff(part_CF.indptr) > 0, depth_C, (present or {}).get(name))
    return assays


def checked_assay(
    space: FeatureSpace, kind: str, nonzero_C: np.ndarray, depth_C: np.ndarray, present: np.ndarray | None
) -> Assay:
    """Make an assay and check it against the cells that have values.

    Raises
    ------
    UserError
        Values in cells that do not have the assay; a depth that does not fit.
    """
    name, num_cells = modality_of(space.name).assay, len(nonzero_C)
    present_C = np.ones(num_cells, dtype=bool) if present is None else np.array(present, dtype=bool)
    if present_C.shape != (num_cells,) or bool((nonzero_C & ~present_C).any()):
        raise UserError(f"cells: {PRESENT.format(name)} is False in cells with {space.name}s; mend the column")
    if depth_C.shape == (num_cells,):
        depth_C = np.where(present_C, depth_C, 1.0)  # the depth of what was not measured has no meaning
    if depth_C.shape != (num_cells,) or not np.isfinite(depth_C).all():
        raise UserError(f"cells: size factors must be {num_cells} finite numbers; give one total count a cell")
    if kind == "counts" and bool((depth_C[nonzero_C] <= 0).any()):
        raise UserError("cells: a cell with counts has a size factor of 0 or less; give its total counts")
    return Assay(name, space, kind, depth_C, present_C)
