"""AnnData from any place: h5ad, zarr, a part of an h5mu file, or memory. Only what is used is read.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from grn_cotrain.data.io.raw_matrix import RawMatrix, frame, no_such_layer, whole_numbers
from grn_cotrain.data.io.sparse_check import checked, refuse_size
from grn_cotrain.data.io.stored_matrix import read_stored, read_table, refuse_claims, refuse_shape
from grn_cotrain.data.io.stored_rows import Place, rows_on_disk
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

    from grn_cotrain.data.rows import StoredRows

__all__ = ["GroupSource", "MemorySource", "read_anndata", "read_h5ad"]

_RAW = "raw"
_PROTEIN_KEYS = ("protein_expression", "protein_counts")  # obsm, where CITE-seq tools keep antibody counts
_SAMPLE = 20_000


class Source(Protocol):
    """The parts of an AnnData, read one at a time."""

    def obs(self) -> pd.DataFrame:
        """One row a cell."""

    def var(self, layer: str | None) -> pd.DataFrame:
        """One row a feature of ``X``, or of ``raw``."""

    def matrix(self, layer: str | None, shape: tuple[int, int], what: str) -> tuple[Any, list[str]]:
        """``X``, a layer, or ``raw``, of this shape and of sound structure, None if there is none; and notes."""

    def rows(self, layer: str | None, shape: tuple[int, int]) -> StoredRows | None:
        """The matrix of :meth:`matrix`, where it can stay on disk and is wanted there."""

    def layers(self) -> list[str]:
        """Names that :meth:`matrix` takes in addition to None."""

    def sample(self, layer: str) -> Any:
        """Some values of a layer, to see whether they are counts."""

    def obsm(self, key: str) -> Any:
        """An array or frame of the cells; None if there is none."""

    def uns(self, key: str) -> Any:
        """An unstructured entry; None if there is none."""


class MemorySource:
    """An AnnData in memory, a view of one, or one whose ``X`` is read from its file; nothing of it is changed."""

    def __init__(self, adata: anndata.AnnData) -> None:
        self._adata = adata

    def obs(self) -> pd.DataFrame:
        """A copy of ``obs``."""
        return self._adata.obs.copy()

    def var(self, layer: str | None) -> pd.DataFrame:
        """A copy of ``var``, or of the raw one."""
        return (self._adata.raw.var if self._is_raw(layer) else self._adata.var).copy()

    def _is_raw(self, layer: str | None) -> bool:
        return layer == _RAW and self._adata.raw is not None and _RAW not in self._adata.layers

    def _values(self, layer: str | None) -> Any:
        if layer is None:
            return self._adata.X
        return self._adata.raw.X if self._is_raw(layer) else self._adata.layers[layer]

    def matrix(self, layer: str | None, shape: tuple[int, int], what: str) -> tuple[Any, list[str]]:
        """The matrix: copy before changing it."""
        called = f"{what}: {'X' if layer is None else layer}"
        X = self._values(layer)
        if X is None:
            return None, []
        refuse_shape(X.shape, shape, called)
        if sparse.issparse(X):
            return checked(X, called)
        if isinstance(X, np.ndarray) and not isinstance(X, np.ma.MaskedArray):
            return np.asarray(X), []
        node = getattr(X, "group", X)  # a sparse matrix that anndata left in its file
        if hasattr(node, "attrs"):
            return read_stored(node, shape, called)
        raise _not_in_memory(X, called)

    def rows(self, layer: str | None, shape: tuple[int, int]) -> StoredRows | None:
        """None: what is in memory stays there."""
        return None

    def layers(self) -> list[str]:
        """Layers, and ``raw``."""
        return [*map(str, self._adata.layers), *([_RAW] if self._is_raw(_RAW) else [])]

    def sample(self, layer: str) -> Any:
        """The first values."""
        X = self._values(layer)
        return X.data[:_SAMPLE] if sparse.issparse(X) else np.asarray(X[: _rows(X.shape)])

    def obsm(self, key: str) -> Any:
        """``obsm[key]``."""
        return self._adata.obsm.get(key)

    def uns(self, key: str) -> Any:
        """``uns[key]``."""
        return self._adata.uns.get(key)


class GroupSource:
    """A group of an HDF5 file or a zarr store that holds an AnnData.

    Parameters
    ----------
    group
        The open group.
    path, place
        The file or store, and where its values are kept; by default in memory.
    """

    def __init__(self, group: Any, path: Path | None = None, place: Place = "memory") -> None:
        self._group, self._path, self._kept = group, path, place

    def _node(self, path: str) -> Any:
        node: Any = self._group
        for part in path.split("/"):
            if part not in node:
                return None
            node = node[part]
        return node

    def _read(self, path: str) -> Any:
        from anndata.io import read_elem

        node = self._node(path)
        return None if node is None else read_elem(node)

    def obs(self) -> pd.DataFrame:
        """``obs``, read."""
        return read_table(self._group, "obs")

    def var(self, layer: str | None) -> pd.DataFrame:
        """``var`` or ``raw/var``, read."""
        return read_table(self._group, "raw/var" if self._is_raw(layer) else "var")

    def _is_raw(self, layer: str | None) -> bool:
        raw = self._group.get(_RAW)  # a null element where there is none
        return layer == _RAW and hasattr(raw, "keys") and "X" in raw and _RAW not in self._layer_names()

    def _layer_names(self) -> list[str]:
        return [str(name) for name in self._group["layers"]] if "layers" in self._group else []

    def _place(self, layer: str | None) -> str:
        if layer is None:
            return "X"
        return "raw/X" if self._is_raw(layer) else f"layers/{layer}"

    def matrix(self, layer: str | None, shape: tuple[int, int], what: str) -> tuple[Any, list[str]]:
        """The matrix, read and checked."""
        node = self._node(self._place(layer))
        return (None, []) if node is None else read_stored(node, shape, f"{what}: {self._place(layer)}")

    def rows(self, layer: str | None, shape: tuple[int, int]) -> StoredRows | None:
        """Rows on disk, of an array or of a CSR matrix in order."""
        node = self._node(self._place(layer))
        if self._path is None or node is None:
            return None
        return rows_on_disk(self._path, node, shape, self._kept)

    def layers(self) -> list[str]:
        """Layers, and ``raw``."""
        return [*self._layer_names(), *([_RAW] if self._is_raw(_RAW) else [])]

    def sample(self, layer: str) -> Any:
        """The first stored values, without reading the rest."""
        node = self._group[self._place(layer)]
        return np.asarray(node["data"][:_SAMPLE] if hasattr(node, "keys") else node[: _rows(node.shape)])

    def obsm(self, key: str) -> Any:
        """``obsm/key``, read."""
        node = self._node(f"obsm/{key}")
        refuse_size(node, f"obsm['{key}']")
        return self._read(f"obsm/{key}")

    def uns(self, key: str) -> Any:
        """``uns/key``, read."""
        return self._read(f"uns/{key}")


def _rows(shape: tuple[int, ...]) -> int:
    return max(1, _SAMPLE // max(1, shape[-1]))


def _not_in_memory(X: Any, what: str) -> UserError:
    """The error of a matrix that is neither an array nor a sparse matrix."""
    kind = f"{type(X).__module__.partition('.')[0]} {type(X).__name__}"
    if hasattr(X, "compute"):
        fix = "its values are not computed yet: compute them first (adata.X = adata.X.compute())"
    elif isinstance(X, np.ma.MaskedArray):
        fix = "fill its masked values first (adata.X = adata.X.filled(0))"
    else:
        fix = "give a NumPy array or a SciPy sparse matrix"
    return UserError(f"{what}: is a {kind}; {fix}")


def read_h5ad(file: Any, path: Path, layer: str | None, what: str, place: Place = "memory") -> RawMatrix:
    """Read an open h5ad; files of the oldest layouts are read whole by anndata."""
    import anndata

    modern = all(name in file and "encoding-type" in file[name].attrs for name in ("obs", "var"))
    if modern:
        return read_anndata(GroupSource(file, path, place), layer, what)
    refuse_claims(file, what)
    return read_anndata(MemorySource(anndata.read_h5ad(path)), layer, what)


def read_anndata(source: Source, layer: str | None, what: str, *, proteins: bool = True) -> RawMatrix:
    """Take ``X`` or a layer, and antibody counts that are stored in ``obsm``.

    Parameters
    ----------
    what
        How errors call it: ``counts 'cells.h5ad'``.
    proteins
        Whether antibody counts in ``obsm["protein_expression"]`` become features.
    """
    import anndata

    if layer is not None and layer not in source.layers():
        raise no_such_layer(layer, source.layers(), what)
    obs, var = _table(source.obs(), "obs", what), _table(source.var(layer), "var", what)
    others = [name for name in source.layers() if name != layer and _holds_counts(source, name)]
    beside = proteins and any(source.obsm(key) is not None for key in _PROTEIN_KEYS)  # joined in memory
    rows = None if beside else source.rows(layer, (len(obs), len(var)))
    if rows is not None:
        return RawMatrix(anndata.AnnData(obs=_plain(obs), var=_plain(var)), counts_at=others, rows=rows)
    X, notes = source.matrix(layer, (len(obs), len(var)), what)
    if X is None:
        choices = ", ".join(f"--layer {name}" for name in source.layers())
        raise UserError(f"{what}: X is empty; " + (f"take a layer: {choices}" if choices else "give one with values"))
    if not sparse.issparse(X):
        X = np.asarray(X)
        X = X.reshape(len(obs), len(var)) if X.ndim != 2 else X
    raw = RawMatrix(anndata.AnnData(X=X, obs=_plain(obs), var=_plain(var)), notes, counts_at=others)
    return _with_proteins(raw, source, what) if proteins else raw


def _table(table: Any, name: str, what: str) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise UserError(
            f"{what}: {name} is a {type(table).__name__}, not a table in memory; read the file whole, or call "
            "adata.to_memory() first"
        )
    return table


def _holds_counts(source: Source, layer: str) -> bool:
    """Whether a layer that is not taken holds counts; one that cannot be read does not stop the others."""
    try:
        return whole_numbers(source.sample(layer))
    except Exception:
        return False


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a text index."""
    return table.set_axis(frame(list(table.index)).index, axis=0)


def _with_proteins(raw: RawMatrix, source: Source, what: str) -> RawMatrix:
    """Antibody counts become features of modality protein, where they have names and are counts."""
    import anndata

    for key in _PROTEIN_KEYS:
        values = source.obsm(key)
        if values is None:
            continue
        names = _protein_names(values, source, key)
        matrix = values.to_numpy() if isinstance(values, pd.DataFrame) else values
        matrix = checked(matrix, f"{what}: obsm['{key}']")[0] if sparse.issparse(matrix) else matrix
        if names is None or not whole_numbers(matrix):
            why = "it has no names" if names is None else "it holds no counts"
            raw.notes.append(f"obsm['{key}'] was left out: {why}")
            return raw
        genes = raw.adata
        types = [*_types(genes.var), *["protein"] * len(names)]
        var = pd.concat([genes.var, frame(names)]).assign(modality=types)
        X = sparse.hstack([sparse.csr_matrix(genes.X), sparse.csr_matrix(matrix)], format="csr")
        note = f"{len(names):,} proteins of obsm['{key}'] were taken too; --modality rna leaves them out"
        return RawMatrix(anndata.AnnData(X=X, obs=genes.obs, var=var), [*raw.notes, note], raw.counts_at)
    return raw


def _types(var: pd.DataFrame) -> list[str]:
    column = next((name for name in ("modality", "feature_types") if name in var), None)
    return ["gene"] * len(var) if column is None else [str(value) for value in var[column]]


def _protein_names(values: Any, source: Source, key: str) -> list[str] | None:
    """Columns of a frame, else ``uns["protein_names"]`` of the right length."""
    if isinstance(values, pd.DataFrame):
        return [str(name) for name in values.columns]
    for place in ("protein_names", f"{key}_names", key):
        names = source.uns(place)
        if names is not None and not isinstance(names, (str, Mapping)) and len(names) == values.shape[1]:
            return [str(name) for name in names]
    return None
