"""How deep each cell was read: total counts, or a column ``size_factor`` of ``obs`` once its scale is known.

Tools call different things a size factor: total counts, totals divided by their mean or median, scran's factors near 1,
the reciprocal of any of these. A column is therefore judged by its values, next to the total counts of the same cells.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.assay_kinds import ASSAY_KINDS, modality_of
from grn_cotrain.data.io.counts import CountsFile
from grn_cotrain.errors import UserError

__all__ = ["SIZE_FACTOR", "size_factors"]

SIZE_FACTOR = "size_factor"

_NOT_LESS = 0.99  # share of the cells' totals: totals over more genes are at least as large as over fewer
_MOST_CELLS = 0.95
_CLOSE = 2.0  # totals without some genes (mitochondrial ones) are within this factor
_NEAR = 0.1  # of the totals: the least that may still be totals where they don't follow those of these genes
_TIGHT, _LOOSE = 0.2, 0.5  # spread of log(factor / total): scran's factors stay below the second
_WIDE = 1.0  # two scales in one column spread more
_LEAST_SLOPE = 0.5  # of log(factor) on log(total); log-totals and square roots are below
_FAR, _RANKS = 10.0, 0.5  # so much more than the totals: the column must at least rank the cells as the totals do
_RELATIVE_MEAN = (0.5, 2.0)  # range of the mean, or the median, of relative factors


def size_factors(counts: CountsFile) -> tuple[dict[str, np.ndarray], list[str]]:
    """Depth of each cell in each assay of its file, before features are selected.

    For genes (or the first modality, where there are none) it is the total counts, or the file's own
    ``obs["size_factor"]`` on that scale; other assays have what their kind computes from their own values.

    Parameters
    ----------
    counts
        Validated cells.

    Returns
    -------
    dict, list of str
        Assay -> float64 ``[C]``; ones for log-scale values, which are normalised already. And what became of the
        column: taken, multiplied to the scale of the totals, or not used.

    Raises
    ------
    UserError
        The column holds values that are not positive numbers.
    """
    if counts.size_factors is not None:
        return counts.size_factors, []
    found: dict[str, np.ndarray] = {}
    for name, kind in counts.kinds.items():
        depth_C = _of_cells(counts, name, ASSAY_KINDS.get(kind).depth)
        found[name] = np.where(depth_C > 0, depth_C, 1.0)  # a cell without a value has nothing to scale
    first = next(iter(found))
    given = counts.adata.obs.get(SIZE_FACTOR)
    if given is None:
        return found, []
    if counts.kinds[first] != "counts":
        return found, [f"size factors: obs['size_factor'] is not used, values are {_scale_of(counts.kinds[first])}"]
    present_C = counts.present.get(first, np.ones(len(given), dtype=bool))
    values_C = np.ones(len(given))
    values_C[present_C] = _positive(given[present_C], list(map(str, counts.adata.obs_names[present_C])))
    totals_C = _of_cells(counts, first, lambda part_BF: np.asarray(part_BF.sum(axis=1, dtype=np.float64)).ravel())
    factor, said = _scale(values_C[present_C], totals_C[present_C])
    if factor is not None:
        found[first] = np.where(present_C, values_C * factor, 1.0)
    return found, [f"size factors: {said}"]


def _scale_of(kind: str) -> str:
    return "on a log scale" if kind == "log" else kind


def _of_cells(counts: CountsFile, name: str, compute: Callable[[sparse.csr_matrix], np.ndarray]) -> np.ndarray:
    """Results of ``compute`` on the values of an assay, for each cell."""
    inside_G = (counts.adata.var["modality"] == modality_of(name).name).to_numpy()
    index_F = None if inside_G.all() else np.flatnonzero(inside_G)
    return counts.of_cells(lambda part_BG: compute(part_BG if index_F is None else part_BG[:, index_F]))


def _positive(column: pd.Series, names: Sequence[str]) -> np.ndarray:
    """The column as float64 ``[C]``; anything but positive numbers is refused with the cells that have it."""
    values_C = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad_C = ~(np.isfinite(values_C) & (values_C > 0))
    if bad_C.any():
        shown = [f"{names[i]} ({column.iloc[i]})" for i in np.flatnonzero(bad_C).tolist()]
        raise UserError(
            f"obs['size_factor']: holds values that are no positive numbers in {int(bad_C.sum()):,} cells: "
            f"{name_some(shown, 3)}; repair or remove the column"
        )
    return values_C


def _scale(values_C: np.ndarray, totals_C: np.ndarray) -> tuple[float | None, str]:
    """Factor that brings the column to the scale of total counts, None to leave it; and the reason."""
    name = "obs['size_factor']"
    seen_C = totals_C > 0
    values, totals = values_C[seen_C], totals_C[seen_C]
    if not len(totals):
        return 1.0, f"taken from {name}"
    ratio = values / totals
    middle, spread = float(np.median(ratio)), float(np.std(np.log(ratio)))
    # Where totals differ little the slope is noise, but reciprocals have a negative one everywhere.
    follows = spread <= _LOOSE and _slope(values, totals) >= (-_LEAST_SLOPE if spread <= _TIGHT else _LEAST_SLOPE)
    more = float(np.mean(ratio >= _NOT_LESS)) >= _MOST_CELLS
    about = f"{name} (mean {values.mean():,.4g}) compared with total counts (mean {totals.mean():,.4g})"
    far = middle > _FAR and not follows and _ranks(values, totals) < _RANKS
    if (more and not far) or (follows and 1 / _CLOSE <= middle <= _CLOSE):
        return 1.0, f"taken from {about}"
    if follows:
        factor = float(totals.mean() / values.mean())
        return factor, f"{about}: relative factors, multiplied by {factor:,.4g} to the scale of the totals"
    low, high = _RELATIVE_MEAN
    relative = low <= values.mean() <= high or low <= np.median(values) <= high
    if _NEAR <= middle <= 1 / _NEAR and spread <= _WIDE and not relative:
        return 1.0, f"taken from {about}; they do not follow the total counts of these genes"
    return None, f"{about} is neither totals nor proportional to them, and is not used; total counts are"


def _ranks(values: np.ndarray, totals: np.ndarray) -> float:
    """Spearman's correlation; 0 where one side is constant."""
    if np.ptp(values) == 0 or np.ptp(totals) == 0:
        return 0.0
    return float(pd.Series(values).corr(pd.Series(totals), method="spearman"))


def _slope(values: np.ndarray, totals: np.ndarray) -> float:
    """Slope of log values on log totals; 1 where the totals don't differ."""
    x, y = np.log(totals), np.log(values)
    variance = float(np.var(x))
    return 1.0 if variance == 0 else float(np.mean((x - x.mean()) * (y - y.mean())) / variance)
