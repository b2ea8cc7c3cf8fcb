"""10x Genomics: h5 of Cell Ranger, versions 2 and 3.

Dimension letters: C cells, G features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grn_cotrain.data.io.raw_matrix import RawMatrix, frame
from grn_cotrain.data.io.sparse_check import announce_size, compressed
from grn_cotrain.data.io.stored_matrix import refuse_claims, refuse_shape
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import h5py

__all__ = ["is_10x", "read_10x_h5"]


def _genomes(file: h5py.File) -> list[str]:
    """Groups of version 2, one a genome."""
    return [name for name in file if hasattr(file[name], "keys") and "gene_names" in file[name]]


def is_10x(file: h5py.File) -> bool:
    """Whether an open HDF5 file has the layout of Cell Ranger 3, or of 2."""
    return ("matrix" in file and hasattr(file["matrix"], "keys")) or bool(_genomes(file))


def read_10x_h5(file: h5py.File, what: str) -> RawMatrix:
    """Read either version."""
    if "matrix" in file:
        return _read_group(file["matrix"], "features", "format: 10x h5", what)
    genomes = _genomes(file)
    if len(genomes) > 1:
        raise UserError(f"{what}: holds {len(genomes)} genomes ({', '.join(genomes)}); give one of them")
    return _read_group(file[genomes[0]], "", "format: 10x h5, version 2", what)


def _read_group(group: Any, features: str, note: str, what: str) -> RawMatrix:
    """Columns of the stored matrix are cells: its CSC arrays are the CSR arrays of cells x genes."""
    import anndata

    def text(name: str) -> list[str]:
        return [value.decode() if isinstance(value, bytes) else str(value) for value in group[name][()]]

    refuse_claims(group, what)
    barcodes = text("barcodes")
    num_genes, num_cells = (int(n) for n in group["shape"][()])
    refuse_shape((num_cells, num_genes), (len(barcodes), len(group["features/id" if features else "genes"])), what)
    announce_size(int(group["data"].size), what)
    data, indices, indptr = (group[name][()] for name in ("data", "indices", "indptr"))
    values_CG, notes = compressed(data, indices, indptr, (num_cells, num_genes), what)
    var: dict[str, list[str]]
    if features:
        names = text("features/name")
        var = {"gene_ids": text("features/id"), "feature_types": text("features/feature_type")}
    else:
        names, var = text("gene_names"), {"gene_ids": text("genes")}
    return RawMatrix(anndata.AnnData(X=values_CG, obs=frame(barcodes), var=frame(names, var)), [note, *notes])
