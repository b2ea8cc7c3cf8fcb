"""Writing h5ad so that a full disk is an error, not a crash.

When a write fails, the HDF5 library cannot even close the file: it prints a stack for every object that is still open
and may end the process. So the file is made in memory and its bytes are written; a file too large for that is written
directly, after a look at the free space.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.data.io.writable import make_writable
from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

__all__ = ["write_h5ad"]

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
