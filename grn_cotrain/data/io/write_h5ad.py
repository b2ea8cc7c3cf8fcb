"""Writing h5ad so that a full disk is an error, not a crash.

When a write fails, the HDF5 library cannot even close the file: it prints a stack for every object that is still open
and may end the process. So the file is made in memory and its bytes are written; a file too large for that is written
directly, after a look at the free space.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from grn_cotrain.data.io.writable import make_writable
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

__all__ = ["write_h5ad", "write_h5ad_rows"]

_IN_MEMORY = 512 * 2**20
_LEAST_SHARE = 0.25  # compression seldom saves more than this


def write_h5ad(adata: anndata.AnnData, path: str | Path, *, compression: str | None = None) -> list[str]:
    """Write as ``adata.write_h5ad`` does, after its tables were made writable; returns what had to change for that.

    Parameters
    ----------
    path
        A temporary file: give it the place of the real one afterwards (:func:`~grn_cotrain.files.atomic_file`).
    compression
        ``gzip``, or None.

    Raises
    ------
    OSError
        The disk is full, or the file cannot be written.
    UserError
        h5ad cannot hold a part that is not a table.
    """
    import h5py
    from anndata.io import write_elem

    path = Path(path)
    notes = make_writable(adata)
    size = adata.__sizeof__()
    if size > _IN_MEMORY:
        if shutil.disk_usage(path.parent).free < _LEAST_SHARE * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with _storable():
            adata.write_h5ad(path, compression=compression)
        return notes
    adata.strings_to_categoricals()
    options: dict[str, Any] = {} if compression is None else {"compression": compression}
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        with _storable():
            write_elem(file, "/", adata, dataset_kwargs=options)
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)
    return notes


def write_h5ad_rows(
    adata: anndata.AnnData, blocks: Iterable[sparse.csr_matrix], number_C: np.ndarray, path: str | Path
) -> None:
    """Write an AnnData without ``X``, and ``X`` as CSR float32 block by block, compressed.

    Parameters
    ----------
    blocks
        Rows in order, CSR ``[B, F]``.
    number_C
        Values of each row.
    path
        A temporary file, as for :func:`write_h5ad`.

    Raises
    ------
    OSError
        The disk is full, or the file cannot be written.
    """
    import h5py
    from anndata.io import write_elem

    path = Path(path)
    make_writable(adata)
    indptr = np.concatenate([[0], np.cumsum(number_C, dtype=np.int64)])
    size = 8 * int(indptr[-1])
    if shutil.disk_usage(path.parent).free < _LEAST_SHARE * size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    adata.strings_to_categoricals()
    index_type = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    with h5py.File(path, "w") as file, _storable():
        write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip"})
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": adata.shape})
        group.create_dataset("indptr", data=indptr.astype(index_type), compression="gzip")
        places = {
            name: group.create_dataset(name, shape=(int(indptr[-1]),), dtype=kind, compression="gzip")
            for name, kind in (("data", np.float32), ("indices", index_type))
            if indptr[-1]
        }
        first = 0
        for part_BF in blocks:
            for name, dataset in places.items():
                dataset[first : first + part_BF.nnz] = getattr(part_BF, name)
            first += part_BF.nnz


@contextmanager
def _storable() -> Iterator[None]:
    """One line for a value that the format cannot hold, with its place."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        place = " ".join(getattr(error, "__notes__", []))
        raise UserError(f"cells: cannot be stored as h5ad ({error}; {place}); remove that entry or change it") from None
