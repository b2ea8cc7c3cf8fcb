"""Several modalities in one file: h5mu, or a MuData in zarr.

Every modality that is known by name, by its feature types or by its features' names is taken; their features stand side
by side. A cell that lacks a modality has zeros there, and a column of ``obs`` marks it.

Dimension letters: C cells, G features, M modalities of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.format_anndata import GroupSource, read_anndata
from grn_cotrain.data.io.raw_matrix import RawMatrix, canonical_modality, frame, looks_like_peaks, no_such_layer
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.data.joined_rows import BesideRows, HeldRows
from grn_cotrain.data.obs import as_labels
from grn_cotrain.data.vocab import MODALITIES, name_some
from grn_cotrain.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import anndata

__all__ = ["is_mudata", "read_mudata"]


def is_mudata(root: Any) -> bool:
    """Whether an open HDF5 file or zarr store holds a MuData."""
    return "mod" in root and hasattr(root["mod"], "keys")


def read_mudata(
    root: Any, layer: str | None, modality: str | None, what: str, path: Path | None = None, place: Place = "memory"
) -> RawMatrix:
    """Take the known modalities of a MuData, or those that ``modality`` names (``rna``, or ``rna,prot``).

    ``layer`` is taken where a modality has it; the others give ``X``, and these are reported. ``path`` is the file or
    store, and ``place`` where its values are kept, which is decided for each modality.

    Raises
    ------
    UserError
        Modalities of unknown names; no modality of the name asked for; no modality with the layer.
    """
    order = root["mod"].attrs.get("mod-order", None)
    names = [str(name) for name in (order if order is not None else root["mod"])]
    if not names:
        raise UserError(f"{what}: holds no modality; give a file with cells")
    lacking = [name for name in names if name not in root["mod"]]
    if lacking:
        raise EOFError(f"modality {', '.join(lacking)} is missing")
    kinds = {name: _kind(name, GroupSource(root["mod"][name]).var(None)) for name in names}
    taken = _taken(names, kinds, modality, what)
    sources = {name: GroupSource(root["mod"][name], path, place) for name in taken}
    if layer is not None and not any(layer in source.layers() for source in sources.values()):
        raise no_such_layer(layer, sorted({name for source in sources.values() for name in source.layers()}), what)
    parts = {
        name: read_anndata(
            source, layer if layer in source.layers() else None, f"{what} (modality {name})", proteins=False
        )
        for name, source in sources.items()
    }
    notes = [_said(taken, kinds, parts, [name for name in names if name not in taken])]
    if layer is not None:
        without = [name for name, source in sources.items() if layer not in source.layers()]
        if without:
            notes.append(f"layer {layer}: {name_some(without)} has none, so its X was taken")
    return _side_by_side(parts, kinds, _shared_obs(root), notes, what)


def _kind(name: str, var: pd.DataFrame) -> str:
    """Canonical modality; ``types`` where each feature names it; empty where it is unknown."""
    if canonical_modality(name):
        return canonical_modality(name)
    if _by_types(var) is not None:
        return "types"
    return "peak" if looks_like_peaks(list(var.index)) else ""


def _taken(names: list[str], kinds: dict[str, str], modality: str | None, what: str) -> list[str]:
    unknown = [name for name in names if not kinds[name]]
    if modality is None:
        if unknown:
            known = [name for name in names if kinds[name]]
            fix = f"take one with --modality {known[0]}" if known else "rename them"
            raise UserError(
                f"{what}: modalities of unknown names: {', '.join(unknown)} "
                f"(known are rna, prot, atac and the like); {fix}"
            )
        return names
    asked = [part.strip() for part in modality.split(",") if part.strip()]
    taken: list[str] = []
    for part in asked:
        found = [name for name in names if name == part]
        found = found or [
            name for name in names if canonical_modality(part) and kinds[name] == canonical_modality(part)
        ]
        if not found:
            raise UserError(
                f"--modality '{part}': {what} has no such modality; choose from {', '.join(names)}"
                f"{did_you_mean(part, names)}"
            )
        strange = [name for name in found if not kinds[name]]
        if strange:
            raise UserError(
                f"--modality '{part}': neither genes, nor proteins, nor peaks by its name or its feature types; "
                f"known are {', '.join(MODALITIES)}: rename it in the file"
            )
        taken += [name for name in found if name not in taken]
    return [name for name in names if name in taken]


def _said(taken: list[str], kinds: dict[str, str], parts: dict[str, RawMatrix], left: list[str]) -> str:
    said = ", ".join(f"{name} ({parts[name].adata.n_vars:,} {_plural(kinds[name])})" for name in taken)
    return f"modalities taken: {said}" + (f"; left out: {', '.join(left)}" if left else "")


def _plural(kind: str) -> str:
    return "features" if kind == "types" else f"{kind}s"


def _shared_obs(root: Any) -> pd.DataFrame:
    """Columns that belong to no modality; MuData repeats the others as ``rna:name``."""
    if "obs" not in root:
        return frame([])
    obs = GroupSource(root).obs()
    own = tuple(f"{name}:" for name in root["mod"])
    return obs.drop(columns=[column for column in obs.columns if str(column).startswith(own)]).set_axis(
        frame(list(obs.index)).index, axis=0
    )


def _side_by_side(
    parts: dict[str, RawMatrix], kinds: dict[str, str], shared: pd.DataFrame, notes: list[str], what: str
) -> RawMatrix:
    """Features of all parts over the union of their cells, in order of first occurrence."""
    import anndata

    for name, part in parts.items():
        repeated = part.adata.obs_names[part.adata.obs_names.duplicated()]
        if len(repeated):
            raise UserError(
                f"{what}: {len(repeated.unique()):,} cell names of modality {name} occur more than once "
                f"({name_some(list(repeated.unique()), 3)}); make them unique (obs_names_make_unique())"
            )
    cells = pd.Index(dict.fromkeys(name for part in parts.values() for name in part.adata.obs_names), dtype=object)
    variables: list[pd.DataFrame] = []
    measured: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        has_C = part.adata.obs_names.get_indexer(cells) >= 0
        variables.append(_typed(part.adata.var, kinds[name]))
        for kind in set(variables[-1]["modality"].map(canonical_modality)):
            measured[kind] = measured.get(kind, np.zeros(len(cells), bool)) | has_C
    X, rows = None, None
    if all(part.rows is None for part in parts.values()):
        blocks = [_over(part.adata, cells) for part in parts.values()]
        X = blocks[0] if len(blocks) == 1 else sparse.hstack(blocks, format="csr")
    else:
        held = [HeldRows(part.adata.X) if part.rows is None else part.rows for part in parts.values()]
        rows = BesideRows(held, [part.adata.obs_names.get_indexer(cells) for part in parts.values()])
    obs = _obs(parts, shared, cells)
    if len(measured) < 2 and all(has_C.all() for has_C in measured.values()):
        measured = {}
    return RawMatrix(
        anndata.AnnData(X=X, obs=obs, var=pd.concat(variables)),
        notes + [note for part in parts.values() for note in part.notes],
        list(dict.fromkeys(layer for part in parts.values() for layer in part.counts_at)),
        modality_taken=True,
        measured=measured,
        rows=rows,
    )


def _over(adata: anndata.AnnData, cells: pd.Index) -> sparse.csr_matrix:
    """Rows in the order of ``cells``, zero where a cell is not in this part."""
    X = sparse.csr_matrix(adata.X)
    row_C = adata.obs_names.get_indexer(cells)
    has_C = row_C >= 0
    if has_C.all() and np.array_equal(row_C, np.arange(len(cells))):
        return X
    place = sparse.csr_matrix(
        (np.ones(int(has_C.sum()), X.dtype), (np.flatnonzero(has_C), row_C[has_C])), shape=(len(cells), adata.n_obs)
    )
    return place @ X


def _typed(var: pd.DataFrame, kind: str) -> pd.DataFrame:
    if kind != "types":
        return var.assign(modality=kind)
    return var.assign(modality=_by_types(var))


def _by_types(var: pd.DataFrame) -> list[str] | None:
    """Modality of each feature where a column names it for all."""
    for column in ("feature_types", "modality"):
        found = [canonical_modality(str(value)) for value in var[column]] if column in var else []
        if found and all(found):
            return found
    return None


def _obs(parts: dict[str, RawMatrix], shared: pd.DataFrame, cells: pd.Index) -> pd.DataFrame:
    """Columns under their own names; one that several modalities have with other values keeps ``name:column``."""
    tables = {name: part.adata.obs.reindex(cells) for name, part in parts.items()}
    result = shared.reindex(cells)
    for name, table in tables.items():
        for column in table.columns:
            rivals = [other[column] for key, other in tables.items() if key != name and column in other]
            alone = column not in shared and all(_agree(table[column], rival) for rival in rivals)
            if alone and column in result:
                result[column] = _filled(result[column], table[column])
            else:
                result[column if alone else f"{name}:{column}"] = table[column]
    return result


def _filled(column: pd.Series, other: pd.Series) -> pd.Series:
    """The labels of ``column``, and where a cell has none there, those of ``other``; categories of both are kept."""
    if not any(isinstance(one.dtype, pd.CategoricalDtype) for one in (column, other)):
        return column.where(column.notna(), other)
    first, second = column.astype(object), other.astype(object)
    return first.where(first.notna(), second).astype("category")


def _agree(a: pd.Series, b: pd.Series) -> bool:
    """Whether two columns have the same labels where both have one; 1 became 1.0 where a cell lacks a modality."""
    first, second = as_labels(a), as_labels(b)
    both = first.notna() & second.notna()
    return bool((first[both] == second[both]).all())
