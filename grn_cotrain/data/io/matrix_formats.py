"""Which reader a file or folder gets: told by its content, never by its name alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.data.io import CELL_FORMATS
from grn_cotrain.data.io.format_anndata import GroupSource, read_anndata, read_h5ad
from grn_cotrain.data.io.format_loom import is_loom, read_loom
from grn_cotrain.data.io.format_mudata import is_mudata, read_mudata
from grn_cotrain.data.io.format_table import read_text_table
from grn_cotrain.data.io.format_tenx import MATRIX_MARKET, is_10x, read_10x_h5, read_mtx
from grn_cotrain.data.io.raw_matrix import RawMatrix
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError
from grn_cotrain.strict import waits

if TYPE_CHECKING:
    import h5py

__all__ = ["read_matrix"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_SUFFIXES = (".h5ad", ".h5", ".h5mu", ".loom", ".hdf5")
_ZARR_FILES = ("zarr.json", ".zgroup", ".zattrs")


def read_matrix(path: str | Path, layer: str | None = None, modality: str | None = None) -> RawMatrix:
    """Read ``path`` by its content.

    Parameters
    ----------
    layer
        Instead of ``X``: a layer of h5ad, h5mu, loom or zarr; ``raw`` for ``adata.raw``.
    modality
        Which modality of a file that holds several; formats that keep them as feature types leave this to the caller.

    Raises
    ------
    UserError
        Missing, empty or damaged file; one of no known format; no such layer or modality.
    """
    with warnings.catch_warnings():
        # Repeated names, old layouts: the caller refuses, renames or reads them, and says so in one line.
        warnings.simplefilter("ignore")
        return _read_any(Path(path), layer, modality)


def _read_any(path: Path, layer: str | None, modality: str | None) -> RawMatrix:
    what = f"counts '{path}'"
    if not path.exists():
        raise UserError(f"{what}: no such file or folder; give one of {CELL_FORMATS}")
    if path.is_dir():
        if any((path / name).is_file() for name in _ZARR_FILES):
            return _guarded(lambda: _read_zarr(path, layer, modality, what), what)
        _refuse_layer(layer, path)
        return read_mtx(path)
    if waits(path):
        raise UserError(f"{what}: is a pipe or a device; give a file")
    try:
        with path.open("rb") as handle:
            head = handle.read(8)
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror}); give a readable file") from None
    if not head:
        raise UserError(f"{what}: is an empty file; fetch it anew")
    if _is_hdf5(path, head):
        return _guarded(lambda: _read_hdf5(path, layer, modality, what), what)
    if path.suffix in _HDF5_SUFFIXES:
        raise UserError(f"{what}: is no HDF5 file in spite of its name; it is damaged, fetch it anew")
    _refuse_layer(layer, path)
    if head.startswith(MATRIX_MARKET) or path.name.endswith(("matrix.mtx", "matrix.mtx.gz")):
        return read_mtx(path)
    return read_text_table(path)


def _is_hdf5(path: Path, head: bytes) -> bool:
    """The signature stands at the start, or after a block for the user, as in an h5mu."""
    import h5py

    return head == _HDF5_MAGIC or bool(h5py.is_hdf5(path))


def _refuse_layer(layer: str | None, path: Path) -> None:
    if layer is not None:
        raise UserError(
            f"--layer '{layer}': only h5ad, h5mu, loom and zarr have layers, '{path}' is none of them; leave it out"
        )


def _guarded(read: Any, what: str) -> RawMatrix:
    """Whatever a damaged file makes the storage libraries raise becomes one line."""
    try:
        return read()
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{what}: is damaged or cut short ({reason}); fetch it anew") from None


def _read_hdf5(path: Path, layer: str | None, modality: str | None, what: str) -> RawMatrix:
    import h5py

    with h5py.File(path, "r") as file:
        if is_loom(file):
            return _named(read_loom(file, layer, what), "loom", layer)
        if is_10x(file):
            _refuse_layer(layer, path)
            return read_10x_h5(file, what)
        if is_mudata(file):
            return _named(read_mudata(file, layer, modality, what), "h5mu", layer)
        if "X" in file or "obs" in file:
            return _named(read_h5ad(file, path, layer, what), "h5ad", layer)
        raise _stranger(file, what, "an h5ad, an h5mu, a loom nor a 10x h5")


def _read_zarr(path: Path, layer: str | None, modality: str | None, what: str) -> RawMatrix:
    import zarr

    root = zarr.open_group(str(path), mode="r")
    if is_mudata(root):
        return _named(read_mudata(root, layer, modality, what), "MuData zarr", layer)
    if "X" in root or "obs" in root:
        return _named(read_anndata(GroupSource(root), layer, what), "AnnData zarr", layer)
    raise _stranger(root, what, "an AnnData nor a MuData")


def _stranger(root: h5py.File | Any, what: str, kinds: str) -> UserError:
    return UserError(
        f"{what}: neither {kinds} (holds {name_some(list(root)) or 'nothing'}); give one of {CELL_FORMATS}"
    )


def _named(raw: RawMatrix, name: str, layer: str | None) -> RawMatrix:
    raw.notes.insert(0, f"format: {name}" + (f", layer {layer}" if layer else ""))
    return raw
