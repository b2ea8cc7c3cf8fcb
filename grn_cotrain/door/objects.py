"""Cells and networks in memory, as files that the one way of preparing reads.

The caller's objects are never changed: tables are copied, matrices are only read.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.grn_convert import frame_from_networkx
from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata
    import mudata

__all__ = ["cells_file", "edges_file"]


def cells_file(cells: Any, folder: Path, layer: str | None) -> str:
    """Path of the cells: the given one, or that of a copy of the object in ``folder``.

    Parameters
    ----------
    cells
        AnnData, MuData, or a path.
    folder
        Where a copy is written: values, ``obs`` and ``var`` alone.
    layer
        The layer that will be read; ``raw`` for ``.raw``.

    Raises
    ------
    UserError
        Another kind of object; no such layer; a table that cannot be stored.
    """
    import anndata
    import mudata

    if isinstance(cells, (str, Path)):
        return _path(cells)
    if isinstance(cells, mudata.MuData):
        file = folder / "cells.h5mu"
        _plain_mudata(cells, layer).write_h5mu(file)
    elif isinstance(cells, anndata.AnnData):
        file = folder / "cells.h5ad"
        write_h5ad(_plain(cells, layer), file)
    else:
        raise UserError(f"cells: got {type(cells).__name__}; give an AnnData, a MuData or the path of a file")
    return str(file)


def edges_file(grn: Any, folder: Path) -> str:
    """Path of the network: the given one, or that of a table of the object's edges in ``folder``.

    Raises
    ------
    UserError
        Another kind of object; an undirected graph; columns of mixed types that cannot be stored.
    """
    import networkx

    if isinstance(grn, (str, Path)):
        return _path(grn)
    if isinstance(grn, networkx.Graph):
        frame = frame_from_networkx(grn)
    elif isinstance(grn, GRN):
        frame = grn.edges
    elif isinstance(grn, pd.DataFrame):
        frame = grn
    else:
        raise UserError(
            f"grn: got {type(grn).__name__}; give a DataFrame of edges, a networkx DiGraph or the path of a file"
        )
    if frame.empty:
        raise UserError("grn: has no edge; give a network with content")
    table = frame.set_axis([str(name) for name in frame.columns], axis=1)  # a new frame over the same values
    for name in table.columns[[str(kind) in ("object", "category") for kind in table.dtypes]]:
        values = table[name].astype(object)
        table[name] = values.where(values.notna(), "").astype(str)
    file = folder / "edges.parquet"
    try:
        table.to_parquet(file)
    except (ValueError, TypeError, OSError) as error:  # pyarrow raises subclasses of these
        raise UserError(f"grn: cannot be stored as a table ({error}); give plain columns source and target") from None
    return str(file)


def _path(given: str | Path) -> str:
    """An absolute path where the file exists; names, addresses and ``FILE:SELECTOR`` are kept."""
    text = str(given)
    file, colon, selector = text.partition(":")
    if Path(text).exists():
        return str(Path(text).resolve())
    return f"{Path(file).resolve()}{colon}{selector}" if Path(file).exists() else text


def _plain(adata: anndata.AnnData, layer: str | None, what: str = "cells") -> anndata.AnnData:
    """A new object with the values, copies of ``obs`` and ``var``, and the layer that is asked for."""
    import anndata

    if adata.isbacked:
        adata = adata.to_memory()
    if layer not in (None, "raw") and layer not in adata.layers:
        raise UserError(f"layer='{layer}': {what} has no such layer; choose from {', '.join(adata.layers) or 'none'}")
    if layer == "raw" and adata.raw is None:
        raise UserError(f"layer='raw': {what} has no raw; leave the layer out, or name another one")
    if layer == "raw":
        plain = anndata.AnnData(X=adata.raw.X, obs=adata.obs.copy(), var=adata.raw.var.copy())
        plain.raw = plain
        return plain
    layers = {} if layer is None else {layer: adata.layers[layer]}
    return anndata.AnnData(X=adata.X, obs=adata.obs.copy(), var=adata.var.copy(), layers=layers)


def _plain_mudata(given: mudata.MuData, layer: str | None) -> mudata.MuData:
    import mudata

    parts = {}
    for name, part in given.mod.items():
        own = layer if layer is None or layer == "raw" or layer in part.layers else None
        parts[name] = _plain(part, own, f"modality {name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # a later mudata changes a default
        plain = mudata.MuData(parts)
    for name in given.obs.columns:
        if name not in plain.obs.columns:
            plain.obs[name] = given.obs[name].reindex(plain.obs_names)
    return plain
