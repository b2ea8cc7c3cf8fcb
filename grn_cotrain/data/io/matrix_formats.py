"""Choose the reader of a file or folder by its content, never by its name alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain.data.io import CELL_FORMATS
from grn_cotrain.data.io.archives import unpack_cells
from grn_cotrain.data.io.file_kinds import FileKind, kind_of
from grn_cotrain.data.io.format_anndata import GroupSource, read_anndata, read_h5ad
from grn_cotrain.data.io.format_loom import is_loom, read_loom
from grn_cotrain.data.io.format_mtx import is_matrix_name, read_mtx
from grn_cotrain.data.io.format_mudata import is_mudata, read_mudata
from grn_cotrain.data.io.format_table import read_text_table
from grn_cotrain.data.io.format_tenx import is_10x, read_10x_h5
from grn_cotrain.data.io.matrix_market import MATRIX_MARKET
from grn_cotrain.data.io.packed import DAMAGE, copy_limited, open_unpacked, scratch_folder
from grn_cotrain.data.io.raw_matrix import RawMatrix
from grn_cotrain.data.io.storage_errors import reading
from grn_cotrain.data.io.stored_rows import Place
from grn_cotrain.data.vocab import name_some
from grn_cotrain.errors import UserError
from grn_cotrain.strict import waits

if TYPE_CHECKING:
    import h5py

__all__ = ["HDF5_MAGIC", "read_matrix"]

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_SUFFIXES = (".h5ad", ".h5", ".h5mu", ".loom", ".hdf5")
_ZARR_FILES = ("zarr.json", ".zgroup", ".zattrs")


def read_matrix(
    path: str | Path,
    layer: str | None = None,
    modality: str | None = None,
    annotations: Sequence[str] = (),
    place: Place = "memory",
) -> RawMatrix:
    """Read ``path`` by its content.

    Parameters
    ----------
    layer
        Instead of ``X``: a layer of h5ad, h5mu, loom or zarr; ``raw`` for ``adata.raw``.
    modality
        Which modality of a file that holds several; formats that keep them as feature types leave this to the caller.
    annotations
        Columns of a text table that are not genes although no known word shows it.
    place
        Where the values of an h5ad or zarr store are kept; those of other formats are read into memory.

    Raises
    ------
    UserError
        Missing, empty or damaged file; one of no known format; no such layer or modality.
    """
    with warnings.catch_warnings():
        # Repeated names, old layouts: the caller refuses, renames or reads them, and reports it in one line.
        warnings.simplefilter("ignore")
        return _read_any(Path(path), _Asked(layer, modality, tuple(annotations), place), f"counts '{path}'")


@dataclass(frozen=True)
class _Asked:
    """The user's wishes about the file."""

    layer: str | None
    modality: str | None
    annotations: tuple[str, ...]
    place: Place


def _read_any(path: Path, asked: _Asked, what: str) -> RawMatrix:
    """``what`` is how errors call the file: its own path, also where it was unpacked to another."""
    if not path.exists():
        raise UserError(f"{what}: no such file or folder; give one of {CELL_FORMATS}")
    if path.is_dir():
        if any((path / name).is_file() for name in _ZARR_FILES):
            return _stored(_read_zarr, path, asked, what)
        _refuse_layer(asked.layer, path)
        return read_mtx(path, what)
    if waits(path):
        raise UserError(f"{what}: is a pipe or a device; give a file")
    if path.stat().st_size == 0:
        raise UserError(f"{what}: is an empty file; fetch it again")
    with reading(what):
        try:
            kind = kind_of(path)
        except DAMAGE as error:
            raise UserError(f"{what}: its compressed data are cut short or damaged ({error}); fetch it again") from None
    if kind is None and _is_hdf5(path):
        return _stored(_read_hdf5, path, asked, what)
    if kind is None:
        return _read_text(path, asked, what)
    reader = _READERS.get(kind.reader)
    if reader is None:
        raise UserError(f"{what}: is {kind.title}, which holds no cells that can be read here; {kind.step}")
    return reader(path, kind, asked, what)


def _stored(read: Callable[..., RawMatrix], path: Path, asked: _Asked, what: str) -> RawMatrix:
    """Read HDF5 or zarr; what their libraries raise becomes one line."""
    with reading(what):
        return read(path, asked, what)


def _read_text(path: Path, asked: _Asked, what: str) -> RawMatrix:
    if path.suffix in _HDF5_SUFFIXES:
        raise UserError(f"{what}: not an HDF5 file in spite of its name; it is damaged, fetch it again")
    _refuse_layer(asked.layer, path)
    with open_unpacked(path) as handle:
        head = handle.read(len(MATRIX_MARKET))
    if head == MATRIX_MARKET or is_matrix_name(path.name):
        return read_mtx(path, what)
    return read_text_table(path, what, asked.annotations)


def _read_plain_hdf5(path: Path, kind: FileKind, asked: _Asked, what: str) -> RawMatrix:
    """An HDF5 file; a compressed one is unpacked to a temporary file first, since HDF5 is read by its places."""
    if kind.packed is None:
        return _stored(_read_hdf5, path, asked, what)
    with scratch_folder() as folder:
        place = folder / path.with_suffix("").name
        try:
            with open_unpacked(path) as stream:
                copy_limited(stream, place, path)
        except (*DAMAGE, OSError) as error:
            raise UserError(f"{what}: its compressed data are cut short or damaged ({error}); fetch it again") from None
        raw = _stored(_read_hdf5, place, replace(asked, place="memory"), what)  # the file is deleted at once
    raw.notes.insert(0, f"the file is {kind.title}: it was unpacked to a temporary file")
    return raw


def _read_archive(path: Path, kind: FileKind, asked: _Asked, what: str) -> RawMatrix:
    """The one data file of an archive, or the one matrix with its lists."""
    if kind.reader == "zip" and kind.packed:
        raise UserError(f"{what}: is {kind.title}; unpack it first, and give the file inside")
    with scratch_folder() as folder:
        place, members = unpack_cells(path, kind.title, folder, what)
        inner = kind_of(place) if place.is_file() else None
        if inner is not None and _READERS.get(inner.reader) is _read_archive:  # an archive may hold itself, for ever
            raise UserError(
                f"{what}: is {kind.title} that holds {inner.title} ({members}); unpack it, and give that one"
            )
        raw = _read_any(place, replace(asked, place="memory"), f"{what} ({members})")
    raw.notes.insert(0, f"the file is {kind.title}: {members} was read")
    return raw


_READERS: dict[str, Callable[[Path, FileKind, _Asked, str], RawMatrix]] = {
    "hdf5": _read_plain_hdf5,
    "tar": _read_archive,
    "zip": _read_archive,
}


def _is_hdf5(path: Path) -> bool:
    """The signature may stand after a block for the user, as in an h5mu."""
    import h5py

    return bool(h5py.is_hdf5(path))


def _refuse_layer(layer: str | None, path: Path) -> None:
    if layer is not None:
        raise UserError(
            f"--layer '{layer}': only h5ad, h5mu, loom and zarr have layers, '{path}' is none of them; leave it out"
        )


def _read_hdf5(path: Path, asked: _Asked, what: str) -> RawMatrix:
    import h5py

    layer = asked.layer

    with h5py.File(path, "r") as file:
        if is_loom(file):
            return _named(read_loom(file, layer, what), "loom", layer)
        if is_10x(file):
            _refuse_layer(layer, path)
            return read_10x_h5(file, what)
        if is_mudata(file):
            return _named(read_mudata(file, layer, asked.modality, what, path, asked.place), "h5mu", layer)
        if "X" in file or "obs" in file:
            return _named(read_h5ad(file, path, layer, what, asked.place), "h5ad", layer)
        raise _stranger(file, what, "an h5ad, an h5mu, a loom nor a 10x h5")


def _read_zarr(path: Path, asked: _Asked, what: str) -> RawMatrix:
    import zarr

    layer = asked.layer

    root = zarr.open_group(str(path), mode="r")
    if is_mudata(root):
        return _named(read_mudata(root, layer, asked.modality, what, path, asked.place), "MuData zarr", layer)
    if "X" in root or "obs" in root:
        return _named(read_anndata(GroupSource(root, path, asked.place), layer, what), "AnnData zarr", layer)
    raise _stranger(root, what, "an AnnData nor a MuData")


def _stranger(root: h5py.File | Any, what: str, kinds: str) -> UserError:
    return UserError(
        f"{what}: neither {kinds} (holds {name_some(list(root)) or 'nothing'}); give one of {CELL_FORMATS}"
    )


def _named(raw: RawMatrix, name: str, layer: str | None) -> RawMatrix:
    raw.notes.insert(0, f"format: {name}" + (f", layer {layer}" if layer else ""))
    return raw
