"""Loom files, by their documented layout: ``/matrix`` genes x cells, ``/row_attrs``, ``/col_attrs``, ``/layers``.

Read through h5py in blocks of cells, so that the dense matrix is never whole in memory.

Dimension letters: C cells, G genes.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from grn_cotrain.data.io.raw_matrix import RawMatrix, frame, no_such_layer, whole_numbers
from grn_cotrain.data.io.stored_matrix import refuse_claims
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import h5py

__all__ = ["is_loom", "read_loom"]

_GENE_NAMES = ("gene", "genes", "gene_name", "gene_names", "genename", "gene_symbol", "symbol", "var_names", "name")
_GENE_IDS = ("accession", "gene_ids", "gene_id", "ensembl", "ensembl_id", "ensembl_ids", "var_names")
_CELL_NAMES = ("cellid", "cell_id", "cell_ids", "obs_names", "barcode", "barcodes", "cell_names", "cell_name", "cell")
_BLOCK_VALUES = 20_000_000
_MAIN = "matrix"


def is_loom(file: h5py.File) -> bool:
    """Whether an open HDF5 file has loom's layout."""
    return _MAIN in file and hasattr(file[_MAIN], "shape") and "row_attrs" in file and "col_attrs" in file


def read_loom(file: h5py.File, layer: str | None, what: str) -> RawMatrix:
    """Read cells x genes; attributes with one value a gene or cell become ``var`` and ``obs``."""
    import anndata

    refuse_claims(file, what)
    layers = [str(name) for name in file.get("layers", {})]
    if layer is not None and layer not in layers:
        raise no_such_layer(layer, layers, what)
    dataset = file[f"layers/{layer}" if layer is not None else _MAIN]
    genes, cells = _attributes(file["row_attrs"], dataset.shape[0]), _attributes(file["col_attrs"], dataset.shape[1])
    if any(key.lower() in (*_GENE_NAMES, *_GENE_IDS) for key in genes) or not genes:
        names = _named(genes, (*_GENE_NAMES, *_GENE_IDS), what, "row_attrs", "genes")
    else:  # numbers: the caller finds the attribute that holds the names, or asks for it
        names = [str(i) for i in range(dataset.shape[0])]
    barcodes = _named(cells, _CELL_NAMES, what, "col_attrs", "cells")
    ids = next((genes[key] for key in genes if key.lower() in _GENE_IDS and key.lower() != "var_names"), None)
    columns = {key: [str(value) for value in values] for key, values in genes.items()}
    if ids is not None:
        columns["gene_ids"] = [str(value) for value in ids]
    types = next((key for key in genes if key.lower() in ("feature_types", "feature_type", "modality")), None)
    if types is not None:
        columns["feature_types"] = [str(value) for value in genes[types]]
    main = [_MAIN] if layer is not None else []
    others = [
        name
        for name in [*layers, *main]
        if name != layer and whole_numbers(file[f"layers/{name}" if name in layers else _MAIN][:, :50])
    ]
    obs = {key: values for key, values in cells.items() if key.lower() not in _CELL_NAMES}
    adata = anndata.AnnData(X=_columns_as_rows(dataset), obs=frame(barcodes, obs), var=frame(names, columns))
    return RawMatrix(adata, [], [name for name in others if name != _MAIN])


def _columns_as_rows(dataset: Any) -> sparse.csr_matrix:
    """Transpose in blocks of cells."""
    num_genes, num_cells = dataset.shape
    step = max(1, _BLOCK_VALUES // max(1, num_genes))
    blocks = [sparse.csr_matrix(dataset[:, start : start + step].T) for start in range(0, num_cells, step)]
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix((num_cells, num_genes))


def _attributes(group: Any, length: int) -> dict[str, np.ndarray]:
    """Attributes with one value each; embeddings and tables (2-D, compound) are not annotation."""
    result = {}
    for key in group:
        node = group[key]
        if getattr(node, "shape", None) != (length,) or node.dtype.names is not None:
            continue
        values = node[()]
        if values.dtype.kind in "SO":  # early writers escaped what is not ASCII
            values = np.array([html.unescape(v.decode() if isinstance(v, bytes) else str(v)) for v in values], object)
        result[str(key)] = values
    return result


def _named(attributes: dict[str, np.ndarray], wanted: tuple[str, ...], what: str, place: str, kind: str) -> list[str]:
    """The attribute that names genes or cells, by the usual names, ignoring case."""
    lower = {key.lower(): key for key in reversed(attributes)}
    found = next((lower[name] for name in wanted if name in lower), None)
    if found is None:
        raise UserError(
            f"{what}: /{place} holds no names of the {kind} (has {name_some(list(attributes)) or 'nothing'}); "
            f"name one {'Gene' if kind == 'genes' else 'CellID'}"
        )
    return [str(name) for name in attributes[found]]
