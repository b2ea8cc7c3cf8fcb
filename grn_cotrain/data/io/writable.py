"""Tables that h5ad and zarr can store: one function for ``obs``, ``var`` and every table next to them.

A user's tables of cells need not fit a file: reserved names, two columns of one name, text among numbers, dates,
lists. Values stay what they are where the format can hold them; the rest becomes text, and that is reported.

Dimension letters: N rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.obs import as_labels, canonical_text

if TYPE_CHECKING:
    import anndata

__all__ = ["make_writable", "writable_frame"]

_RESERVED = "_index"
_EXACT = 2**53  # a float holds every whole number up to here
_NUMBERS = "biufc"


def writable_frame(frame: pd.DataFrame, what: str = "obs") -> tuple[pd.DataFrame, list[str]]:
    """Return a table that h5ad and zarr can store, and what had to change; ``frame`` itself stays as it is.

    Parameters
    ----------
    frame
        Any table. Missing values stay missing.
    what
        How notes call it: ``obs``, ``var``, ``raw.var``.

    Returns
    -------
    DataFrame, list of str
        Columns of distinct text names, each of one type, under an index of text; and which columns were renamed,
        turned into text or left out.
    """
    index = pd.Index([_clean(str(name)) for name in frame.index], dtype=object)
    repeated = [
        place
        for place, name in enumerate(frame.columns)
        if name == _RESERVED and _same_text(frame.iloc[:, place], index)
    ]
    kept = [place for place in range(frame.shape[1]) if place not in repeated]
    names = _distinct([frame.columns[place] for place in kept])
    columns: dict[str, Any] = {}
    renamed, changed = [], []
    for place, name in zip(kept, names, strict=True):
        old = frame.columns[place]
        values, as_text = _storable(frame.iloc[:, place].set_axis(index))
        columns[name] = values
        renamed += [f"{old!r} -> {name!r}"] if name != old else []
        changed += [name] if as_text else []
    result = pd.DataFrame(columns, index=index)
    result.index.name, note = _index_name(frame.index.name, result)
    notes = [f"{what}: {note}"] if note else []
    if repeated:
        notes.append(f"{what}: the column '{_RESERVED}', whose name is reserved, repeats the index and was left out")
    if renamed:
        notes.append(f"{what}: {len(renamed):,} columns were renamed to be stored: {name_some(renamed)}")
    if changed:
        notes.append(f"{what}: {len(changed):,} columns were stored as text, no other type fits: {name_some(changed)}")
    return result, notes


def make_writable(adata: anndata.AnnData) -> list[str]:
    """Make every table of an AnnData writable, in place; returns what had to change."""
    import anndata

    notes = []
    for name in ("obs", "var"):
        table, said = writable_frame(getattr(adata, name), name)
        setattr(adata, name, table)
        notes += said
    if adata.raw is not None:
        table, said = writable_frame(adata.raw.var, "raw.var")
        if said or not table.dtypes.equals(adata.raw.var.dtypes):
            adata.raw = anndata.AnnData(X=adata.raw.X, var=table, varm=dict(adata.raw.varm))
        notes += said
    for slot in ("obsm", "varm", "uns"):
        notes += _inside(getattr(adata, slot), slot)
    return notes


def _inside(mapping: Any, what: str) -> list[str]:
    """Tables among the values of a mapping, and of mappings in it."""
    notes = []
    for key in list(mapping):
        if isinstance(mapping[key], pd.DataFrame):
            mapping[key], said = writable_frame(mapping[key], f"{what}['{key}']")
            notes += said
        elif isinstance(mapping[key], Mapping):
            notes += _inside(mapping[key], f"{what}['{key}']")
    return notes


# -- names -----------------------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    """Text without what HDF5 cannot store: zero bytes, and halves of characters."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _distinct(names: list[Any]) -> list[str]:
    """Names that can be stored, all different; those that can stay have the first choice."""
    wanted = [_stored_name(name) for name in names]
    taken = {name for name, given in zip(wanted, names, strict=True) if name == given}
    seen: set[str] = set()
    result = []
    for name, given in zip(wanted, names, strict=True):
        free, number = name, 0
        while free in seen or (free in taken and free != given):
            number += 1
            free = f"{name}_{number}"
        seen.add(free)
        result.append(free)
    return result


def _stored_name(name: Any) -> str:
    text = "_".join(map(str, name)) if isinstance(name, tuple) else str(name)
    text = _clean(text).replace("/", "_")
    return {"": "unnamed", ".": "unnamed", _RESERVED: "index_column"}.get(text, text)


def _same_text(column: pd.Series, index: pd.Index) -> bool:
    return bool((column.astype(str).to_numpy() == index.to_numpy()).all())


def _index_name(name: Any, table: pd.DataFrame) -> tuple[str | None, str]:
    """The name of the index, unless a column of other values has it."""
    text = None if name is None else str(name)
    if text is None or text != _stored_name(text):
        return None, ""
    if text in table and not _same_text(table[text], table.index):
        return None, f"the index is named '{text}' as a column is, so it was stored without its name"
    return text, ""


# -- values ----------------------------------------------------------------------------------------------------------


def _storable(column: pd.Series) -> tuple[Any, bool]:
    """Values that can be stored, and whether they had to become text."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(column)
    if isinstance(dtype, np.dtype) and dtype.kind in _NUMBERS:
        return (column.astype(np.float64) if dtype == np.longdouble else column), False
    convert = next((make for kind, make in _EXTENSIONS.items() if isinstance(dtype, kind)), None)
    if convert is not None:
        return convert(column)
    if pd.api.types.is_object_dtype(dtype):
        return _objects(column)
    return _as_text(as_labels(column)), True  # dates, periods, intervals and what others define


def _categories(column: pd.Series) -> tuple[Any, bool]:
    names = column.cat.categories
    if isinstance(names.dtype, np.dtype) and names.dtype.kind in "biuf":
        return column, False
    if all(isinstance(name, str) for name in names):
        plain = [_clean(name) for name in names]
        if plain == list(names) or len(set(plain)) < len(plain):
            return column, False
        return column.cat.rename_categories(plain), False
    if pd.api.types.is_numeric_dtype(names.dtype):
        return column.cat.rename_categories(names.to_list()), False
    order = list(dict.fromkeys(name for name in map(canonical_text, names) if name is not None))
    return pd.Categorical(as_labels(column), categories=order, ordered=bool(column.cat.ordered)), True


def _objects(column: pd.Series) -> tuple[Any, bool]:
    """By what the values are, missing ones aside."""
    missing_N = column.isna()
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if missing_N.all():
        return pd.Categorical([None] * len(column), categories=[]), False
    if kind == "boolean":
        return column.where(~missing_N, None).astype("boolean"), False
    if kind in ("floating", "integer", "mixed-integer-float"):
        known = column[~missing_N]
        if kind == "floating" or all(abs(value) <= _EXACT or isinstance(value, float) for value in known):
            return column.where(~missing_N, np.nan).astype(np.float64), False
    if kind == "string":
        return _as_text(column.where(~missing_N, None)), False
    return _as_text(as_labels(column)), True


def _as_text(column: pd.Series) -> Any:
    """Text; categories where some is missing, since text in h5ad cannot be."""
    text = column.map(_clean, na_action="ignore")
    return text.astype("category") if text.isna().any() else text.astype(object)


def _strings(column: pd.Series) -> tuple[Any, bool]:
    return _as_text(column.astype(object)), False


def _floats(column: pd.Series) -> tuple[Any, bool]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan), False


def _same(column: pd.Series) -> tuple[Any, bool]:
    return column, False


_EXTENSIONS: dict[Any, Callable[[pd.Series], tuple[Any, bool]]] = {
    pd.StringDtype: _strings,
    (pd.Float32Dtype, pd.Float64Dtype): _floats,
    pd.BooleanDtype: _same,
    (pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype): _same,
    (pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype): _same,
    pd.SparseDtype: lambda column: _storable(pd.Series(np.asarray(column), index=column.index)),
    pd.ArrowDtype: lambda column: _storable(column.convert_dtypes(dtype_backend="numpy_nullable")),
}
"""Classes of pandas' extension types -> how their values are stored."""
