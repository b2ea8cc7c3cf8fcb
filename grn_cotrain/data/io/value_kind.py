"""Raw counts, log-scale values, or something else: decided on evidence, and the evidence is reported.

Whole numbers are counts. For other values three questions are asked of a sample of cells, of the values unchanged and
of the values with a logarithm undone (base e, 2, 10): are they whole numbers; do the values of a cell stand in
whole-number ratios, as counts divided by a size factor do; does every cell have the same sum? Where the unchanged
values fit best they are normalised but on no log scale, which is refused, as are counts with fractions.

Dimension letters: C cells, G genes, N values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from grn_cotrain.errors import UserError

__all__ = ["ValueKind", "ValueSummary", "detect_value_kind", "kind_and_reason"]

ValueKind = Literal["counts", "log"]

_LARGEST_LOG = 50.0  # log1p of 5e21: larger values are on no log scale
_NUM_CELLS = 200
_LEAST_CELLS = 5  # fewer cells than this do not determine sums
_LEAST_RATIOS = 3
_LEAST_VALUES = 20
_ENOUGH = 0.5
_EQUAL = 1e-4
_STEP = 5e-3
_HALF_COUNTS = 0.2  # share of whole numbers that log-scale values never reach
_UNDO: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log1p": np.expm1,
    "log2(x + 1)": lambda x: np.exp2(x) - 1,
    "log10(x + 1)": lambda x: np.power(10.0, x) - 1,
}


@dataclass(frozen=True)
class _Evidence:
    """Evidence for one way to read the values: shares in [0, 1], and the common sum of the cells if there is one."""

    whole: float
    stepped: float
    total: float | None

    @property
    def strength(self) -> float:
        return max(2.0 * (self.total is not None), self.stepped)


class ValueSummary:
    """Facts about values for :func:`kind_and_reason`, gathered block by block.

    Parameters
    ----------
    num_cells
        C of all blocks together; the cells of the sample are evenly spaced over them.
    """

    def __init__(self, num_cells: int) -> None:
        self.largest = 0.0
        self.num_values = self.num_whole = self.num_ones = 0
        self.cells: list[np.ndarray] = []
        self._sampled = np.unique(np.linspace(0, num_cells - 1, _NUM_CELLS).astype(np.int64))

    @classmethod
    def of(cls, X: Any) -> ValueSummary:
        """Summary of one matrix in memory."""
        values_CG = sparse.csr_matrix(X)
        summary = cls(values_CG.shape[0])
        summary.add(values_CG, 0)
        return summary

    def add(self, values_BG: sparse.csr_matrix, first: int) -> None:
        """Add the cells ``first``, ``first + 1``, and so on."""
        values_N = values_BG.data
        self.largest = max(self.largest, float(values_N.max(initial=0.0)))
        self.num_values += values_N.size
        self.num_whole += int(np.count_nonzero(values_N == np.rint(values_N)))
        self.num_ones += int(np.count_nonzero(values_N == 1))
        inside = (self._sampled >= first) & (self._sampled < first + values_BG.shape[0])
        for i in (self._sampled[inside] - first).tolist():
            values = values_N[values_BG.indptr[i] : values_BG.indptr[i + 1]]
            if np.any(values):
                self.cells.append(values[values != 0].astype(np.float64))

    @property
    def only_ones(self) -> bool:
        """Whether there are values, and all are 1."""
        return bool(self.num_values) and self.num_ones == self.num_values


def detect_value_kind(X: Any, what: str = "counts") -> ValueKind:
    """Whether a matrix holds raw counts or log-scale values; see :func:`kind_and_reason`."""
    return kind_and_reason(X, what)[0]


def kind_and_reason(X: Any, what: str) -> tuple[ValueKind, str]:
    """``counts`` or ``log``, and why.

    Parameters
    ----------
    X
        Array or sparse matrix ``[C, G]`` without NaN, infinite or negative values, or the summary of one.
    what
        How errors call it.

    Raises
    ------
    UserError
        Neither: normalised but not logged (CPM, TPM, proportions), counts with fractions (corrected for ambient RNA, or
        of pseudo-aligners), or fractions too large for a log scale.
    """
    summary = X if isinstance(X, ValueSummary) else ValueSummary.of(X)
    largest, cells = summary.largest, summary.cells
    if summary.num_whole == summary.num_values:
        return "counts", "only 0 and 1" if largest <= 1 else f"whole numbers up to {largest:,.0f}"
    straight = _evidence(cells, lambda x: x)
    if largest <= _LARGEST_LOG:
        undone = {name: _evidence(cells, undo) for name, undo in _UNDO.items()}
        for name, evidence in undone.items():
            if evidence.whole > 0.99:
                return "log", f"{name} of raw counts (whole numbers up to {_largest(cells, name):,.0f})"
        name, evidence = max(undone.items(), key=lambda item: item[1].strength)
        if evidence.strength >= _ENOUGH and evidence.strength > straight.strength:
            return "log", f"{name} of {_scaled(evidence)}, at most {largest:.4g}"
    whole = summary.num_whole / summary.num_values
    if whole >= _HALF_COUNTS and summary.num_values >= _LEAST_VALUES and straight.total is None:
        raise UserError(
            f"{what}: values are neither raw counts nor on a log scale: counts with fractions "
            f"({whole:.0%} whole numbers, up to {largest:,.6g}), as after correction for ambient RNA or from a "
            "pseudo-aligner; round them (adata.X = adata.X.round()), or give the uncorrected counts"
        )
    if straight.strength >= _ENOUGH:
        raise _normalised(straight, largest, what)
    if largest > _LARGEST_LOG:
        raise UserError(
            f"{what}: values are neither raw counts nor on a log scale (fractions up to {largest:,.6g}); "
            "give raw counts, or log1p-transformed values"
        )
    return "log", f"fractions, at most {largest:.4g}, of no normalisation known here"


def _normalised(straight: _Evidence, largest: float, what: str) -> UserError:
    known = {1e6: "CPM or TPM", 1e4: "counts per ten thousand", 1.0: "proportions", 100.0: "per cent"}
    total = straight.total
    if total is None:
        why = f"counts divided by a size factor, up to {largest:,.6g}"
    else:
        name = next((text for size, text in known.items() if abs(total / size - 1) < 1e-3), "normalised")
        why = f"{name}: every cell sums to {total:,.6g}"
    return UserError(
        f"{what}: values are neither raw counts nor on a log scale, but {why}; "
        "give raw counts, or take the logarithm first (scanpy.pp.log1p)"
    )


def _scaled(evidence: _Evidence) -> str:
    if evidence.total is None:
        return "counts divided by a size factor"
    return f"normalised counts (every cell sums to {evidence.total:,.5g})"


def _evidence(cells: list[np.ndarray], undo: Callable[[np.ndarray], np.ndarray]) -> _Evidence:
    plain = [undo(values) for values in cells]
    together = np.concatenate(plain)
    small = together[together < 1e3]  # beyond, single precision blurs a logarithm that is undone
    whole = np.abs(small - np.rint(small)) < 1e-3
    sums = np.array([values.sum() for values in plain])
    equal = len(sums) >= _LEAST_CELLS and np.ptp(sums) < _EQUAL * sums.mean()
    return _Evidence(
        whole=float(whole.mean()) if small.size else 0.0,
        stepped=_stepped(plain),
        total=float(sums.mean()) if equal else None,
    )


def _stepped(cells: list[np.ndarray]) -> float:
    """Share of cells, of those with enough values, whose values are whole multiples of their smallest value."""
    told = []
    for values in cells:
        ratio = values / values.min()
        ratio = ratio[(ratio > 1.5) & (ratio < _LARGEST_LOG)]
        if np.unique(np.round(ratio, 2)).size >= 2 and ratio.size >= _LEAST_RATIOS:
            told.append(np.mean(np.abs(ratio - np.rint(ratio)) < _STEP) > 0.9)
    return float(np.mean(told)) if len(told) >= _LEAST_CELLS else 0.0


def _largest(cells: list[np.ndarray], name: str) -> float:
    return float(max(_UNDO[name](values).max() for values in cells))
