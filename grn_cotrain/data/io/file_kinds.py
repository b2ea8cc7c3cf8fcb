"""Kind of a file, detected from its first bytes: each kind has a name for people and the step that makes it
readable."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.data.io.packed import DAMAGE, compression_of, open_unpacked

__all__ = ["HEAD_BYTES", "FileKind", "kind_of", "kind_of_head"]

HEAD_BYTES = 1024
_CSV = "write it as CSV: pandas.read_{}(FILE).to_csv('counts.csv')"
_R_STEP = "in R: SeuratObject or zellkonverter writes h5ad, DropletUtils::write10xCounts a folder with mtx"
_OPEN_IN_BROWSER = (
    "the download gave a page instead of the data; open the address in a browser and fetch the file itself"
)


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    Attributes
    ----------
    name
        For people: ``an R object (rds)``.
    matches
        Whether the first 1,024 bytes, unpacked, are of this kind.
    reader
        ``hdf5``, ``tar`` or ``zip`` where the readers of cells take it; empty: it is refused with ``step``.
    step
        Step that makes the file readable.
    packed
        How the file is compressed, or None; set by :func:`kind_of`.
    """

    name: str
    matches: Callable[[bytes], bool]
    reader: str = ""
    step: str = ""
    packed: str | None = None

    @property
    def title(self) -> str:
        """The name, with the compression."""
        return f"{self.name}, compressed with {self.packed}" if self.packed else self.name


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _never(_: bytes) -> bool:
    return False


def _is_page(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))


def _is_json(head: bytes) -> bool:
    return re.match(rb"\s*(?:\{\s*\"|\[\s*[\{\[])", head.removeprefix(b"\xef\xbb\xbf")) is not None


_KINDS = (
    FileKind("an HDF5 file", _starts(b"\x89HDF\r\n\x1a\n"), "hdf5"),
    FileKind("a tar archive", lambda head: head[257:262] == b"ustar", "tar"),
    FileKind("a zip archive", _starts(b"PK\x03\x04", b"PK\x05\x06"), "zip"),
    FileKind("an R object (rds)", _starts(b"X\n\x00", b"A\n2\n", b"A\n3\n", b"B\n\x02", b"B\n\x03"), step=_R_STEP),
    FileKind("an R workspace (RData)", _starts(b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n"), step=_R_STEP),
    FileKind("a 7z archive", _starts(b"7z\xbc\xaf\x27\x1c"), step="unpack it first: 7z x FILE"),
    FileKind("a rar archive", _starts(b"Rar!\x1a\x07"), step="unpack it first: unrar x FILE"),
    FileKind("a parquet table", _starts(b"PAR1"), step=_CSV.format("parquet")),
    FileKind(
        "an Arrow or feather table",
        _starts(b"ARROW1", b"FEA1"),
        step=_CSV.format("feather"),
    ),
    FileKind("a numpy array", _starts(b"\x93NUMPY"), step="it has no names of genes; give an h5ad"),
    FileKind(
        "a Python pickle",
        lambda head: head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1,
        step="a pickle can run code, so it is never opened; load it where you trust it and write an h5ad",
    ),
    FileKind("an old Excel workbook", _starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), step="save the sheet as CSV"),
    FileKind("a PDF document", _starts(b"%PDF"), step=_OPEN_IN_BROWSER),
    FileKind("an HTML or XML page", _is_page, step=_OPEN_IN_BROWSER),
    FileKind("JSON text", _is_json, step="a server may have sent an error instead of the data"),
    FileKind("a MATLAB file", _starts(b"MATLAB 5.0 MAT-file"), step="write the table as CSV in MATLAB: writetable"),
    FileKind("an SQLite database", _starts(b"SQLite format 3\x00"), step="export the table as CSV"),
    FileKind("aligned reads (BAM)", _starts(b"BAM\x01"), step="count the reads first, as STARsolo does"),
    FileKind("a picture", _starts(b"\x89PNG", b"\xff\xd8\xff", b"GIF8"), step="give the table of counts"),
    FileKind(
        "a pointer of Git LFS",
        _starts(b"version https://git-lfs"),
        step="the data were never downloaded; run git lfs pull, or fetch the file from the site",
    ),
)

_INSIDE_ZIP: tuple[tuple[str, FileKind], ...] = (
    ("xl/", FileKind("an Excel workbook (xlsx)", _never, step="save the sheet as CSV")),
    ("word/", FileKind("a Word document", _never, step="give the table of counts")),
    (
        ".npy",
        FileKind("an archive of numpy arrays (npz)", _never, step="it has no names of genes; write an h5ad"),
    ),
    (
        "data.pkl",
        FileKind("a PyTorch file", _never, step="a pickle can run code, so it is never opened; write an h5ad from it"),
    ),
    (".zgroup", FileKind("a zipped zarr store", _never, step="unpack it first: unzip FILE; then give the folder")),
    ("zarr.json", FileKind("a zipped zarr store", _never, step="unpack it first: unzip FILE; then give the folder")),
)


def kind_of_head(head: bytes) -> FileKind | None:
    """The kind of a file by its first :data:`HEAD_BYTES` bytes, unpacked; None if it may be text."""
    return next((kind for kind in _KINDS if kind.matches(head)), None)


def kind_of(path: Path) -> FileKind | None:
    """The kind of a file by its content, looked at through its compression; None if it may be text.

    Raises
    ------
    OSError, EOFError, zlib.error, lzma.LZMAError
        The file cannot be read, or its compressed data are damaged.
    """
    with path.open("rb") as handle:
        packed = compression_of(handle.read(8))
    with open_unpacked(path) as stream:
        head = stream.read(HEAD_BYTES)
    found = kind_of_head(head)
    if found is None:
        return None
    if found.reader == "zip" and packed is None:
        found = _inside_zip(path) or found
    return FileKind(found.name, found.matches, found.reader, found.step, packed)


def _inside_zip(path: Path) -> FileKind | None:
    """Formats that are a zip with a layout of their own."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGE:
        return None
    for mark, kind in _INSIDE_ZIP:
        if any(name.startswith(mark) or name.endswith(mark) for name in names):
            return kind
    return None
