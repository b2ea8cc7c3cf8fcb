"""Features that are not genes go to ``obs``: annotation of cells, sums, reads without a gene.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.column_words import folded, is_cell_annotation
from grn_cotrain.data.io.raw_matrix import RawMatrix
from grn_cotrain.data.rows import row_blocks
from grn_cotrain.errors import UserError, did_you_mean

__all__ = ["needs_whole", "set_annotations_apart"]

_SUM_WORDS = {"total", "totals", "sum", "grand_total", "all_cells"}
_LEAST_CELLS = 5  # a feature that is the sum of the others in fewer cells may be so by chance
_LEAST_FEATURES = 3


def needs_whole(raw: RawMatrix, asked: Sequence[str] = ()) -> bool:
    """Whether a matrix on disk has to be read whole, because some of its features or cells may not be genes or cells.

    It is read once for this, block by block. What it answers for sure is only that nothing is to be set apart.
    """
    rows = raw.rows
    assert rows is not None
    names = list(map(str, raw.adata.var_names))
    if any(name in asked or is_cell_annotation(name) for name in names):
        return True
    if sum(folded(name) in _SUM_WORDS for name in raw.adata.obs_names) == 1:
        return True
    column_G, fraction_G = np.zeros(len(names)), np.zeros(len(names), dtype=bool)
    for _, part_BG in row_blocks(rows):
        column_G += np.asarray(part_BG.sum(axis=0, dtype=np.float64)).ravel()
        fraction_G[part_BG.indices[part_BG.data != np.rint(part_BG.data)]] = True
    if bool(np.isclose(2 * column_G, column_G.sum(), rtol=2e-6).any()) and column_G.any():
        return True
    suspect_G = np.array([not _like_the_others(name) for name in names])
    return bool(fraction_G[suspect_G].any() and not fraction_G[~suspect_G].any())


def set_annotations_apart(raw: RawMatrix, what: str, asked: Sequence[str] = ()) -> RawMatrix:
    """Move features that describe cells to ``obs``, and leave out a cell that is the sum of the others.

    Features are known by name (``n_counts``, ``cluster``, ``__no_feature``), by ``asked``, or because in every cell
    they equal the sum of all others. Their values then enter no total.

    Parameters
    ----------
    what
        How errors call the file.
    asked
        Names that the user gave (``--annotations``).

    Raises
    ------
    UserError
        No feature and no column of ``obs`` has an asked name; all features are annotation; a few features hold
        fractions among counts, and are not named like genes.
    """
    adata = raw.adata
    names = [str(name) for name in adata.var_names]
    _refuse_unknown(asked, [*names, *map(str, adata.obs.columns), *map(str, adata.var.columns)], what)
    if raw.rows is not None:  # nothing is to be set apart: see needs_whole
        return raw
    moved = np.array([name in asked or is_cell_annotation(name) for name in names], dtype=bool)
    if moved.any() and not moved.all():
        raw = _moved(raw, moved, "are not genes: they were kept as columns of obs")
    raw = _without_sums(raw)
    if _numeric(raw.adata.X):
        sums = _sums_of_others(raw.adata.X)
        if sums.any():
            raw = _moved(raw, sums, "equal the sum of all others in every cell: they were kept as columns of obs")
        _refuse_fractions(raw, what)
    return raw


def _refuse_unknown(asked: Sequence[str], known: list[str], what: str) -> None:
    for name in asked:
        if name not in known:
            raise UserError(
                f"--annotations '{name}': {what} has no such column or feature{did_you_mean(name, known)}; "
                "give names exactly as in the file"
            )


def _numeric(X: Any) -> bool:
    return getattr(X, "dtype", np.dtype(object)).kind in "buif"


def _dense(X: Any, column: int) -> np.ndarray:
    part = X[:, [column]]
    return np.asarray(part.toarray() if sparse.issparse(part) else part).ravel()


def _moved(raw: RawMatrix, moved: np.ndarray, why: str) -> RawMatrix:
    """``raw`` without some features; ``obs`` has their values, unless it has a column of the name."""
    import anndata

    adata = raw.adata
    columns = np.flatnonzero(moved)
    names = [str(adata.var_names[i]) for i in columns]
    new = {name: _dense(adata.X, int(i)) for name, i in zip(names, columns, strict=True) if name not in adata.obs}
    for name, values in new.items():
        if values.dtype.kind == "f" and np.array_equal(values, np.rint(values)):
            new[name] = values.astype(np.int64)
    kept = np.flatnonzero(~moved)
    obs = pd.concat([adata.obs, pd.DataFrame(new, index=adata.obs.index)], axis=1)
    raw.adata = anndata.AnnData(X=adata.X[:, kept], obs=obs, var=adata.var.iloc[kept])
    raw.notes.append(f"{len(names):,} features {why}: {name_some(names)}")
    clash = [name for name in names if name not in new]
    if clash:
        raw.notes.append(f"obs has columns of these names already, which stay: {name_some(clash)}")
    return raw


def _without_sums(raw: RawMatrix) -> RawMatrix:
    """Leave out a cell called total whose values are the sums of the other cells."""
    import anndata

    adata = raw.adata
    found = [i for i, name in enumerate(adata.obs_names) if folded(name) in _SUM_WORDS]
    if len(found) != 1 or adata.n_obs < 3 or not _numeric(adata.X):
        return raw
    total_G = np.asarray(adata.X.sum(axis=0)).ravel()
    own = adata.X[found]
    own_G = np.asarray(own.toarray() if sparse.issparse(own) else own).ravel()
    if not np.allclose(total_G, 2 * own_G, rtol=1e-5):
        return raw
    kept = np.array([i for i in range(adata.n_obs) if i not in found])
    raw.adata = anndata.AnnData(X=adata.X[kept], obs=adata.obs.iloc[kept], var=adata.var)
    raw.measured = {name: has_C[kept] for name, has_C in raw.measured.items()}
    raw.notes.append(f"the cell '{adata.obs_names[found[0]]}' is the sum of the others and was left out")
    return raw


def _sums_of_others(X: Any) -> np.ndarray:
    """For each feature, whether its value in every cell is the sum of the other features."""
    num_cells, num_features = X.shape
    result = np.zeros(num_features, dtype=bool)
    if num_cells < _LEAST_CELLS or num_features <= _LEAST_FEATURES:
        return result
    total_C = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
    column_G = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()
    for i in np.flatnonzero(np.isclose(2 * column_G, total_C.sum(), rtol=1e-6)):
        values_C = _dense(X, int(i)).astype(np.float64)
        result[i] = bool(np.allclose(2 * values_C, total_C, rtol=1e-5)) and np.unique(values_C).size > 1
    return result


def _refuse_fractions(raw: RawMatrix, what: str) -> None:
    """Refuse a score among counts: the values of a few features alone have fractions, and they are not named like
    genes."""
    adata = raw.adata
    suspects = [i for i, name in enumerate(adata.var_names) if not _like_the_others(str(name))]
    if not suspects or len(suspects) > max(3, 0.02 * adata.n_vars) or adata.n_vars < 2 * len(suspects):
        return
    broken = [i for i in suspects if _has_fractions(_dense(adata.X, i))]
    others = np.setdiff1d(np.arange(adata.n_vars), suspects)
    if broken and not _has_fractions(_values(adata.X[:, others])):
        names = [str(adata.var_names[i]) for i in broken]
        raise UserError(
            f"{what}: the features {name_some(names)} hold fractions while all others hold whole numbers, so "
            f"they are not counts of genes; keep them as annotation (--annotations '{','.join(names)}'), or remove them"
        )


def _like_the_others(name: str) -> bool:
    """Genes of human and mouse begin with a capital letter or a digit; ``my_score`` does not."""
    return name[:1].isupper() or name[:1].isdigit()


def _values(X: Any) -> np.ndarray:
    return np.asarray(X.data if sparse.issparse(X) else X)


def _has_fractions(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" and not np.array_equal(values, np.rint(values))
