"""Compressed files and archives, read safely: limits on what unpacks, plain members only, no path out of the archive.

Every reader and every fetched file goes through this module, so the limits exist once.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from grn_cotrain.errors import UserError

__all__ = [
    "DAMAGE",
    "MAX_RATIO",
    "Archive",
    "compression_of",
    "copy_limited",
    "open_archive",
    "open_unpacked",
    "scratch_folder",
    "unpacked_limit",
]

MAX_RATIO = 250
"""How many times its packed size a file may unpack to: tables of zeros reach 100, a zip bomb starts at 1,000."""
FREE_BYTES = 256 * 2**20
"""Any file may unpack to this many bytes, whatever the ratio."""
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError)
"""Errors that the libraries raise for data that are cut short or damaged."""


def _open_zstd(path: Path) -> Any:
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


_OPENERS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "gzip": (b"\x1f\x8b", gzip.GzipFile),
    "bzip2": (b"BZh", bz2.BZ2File),
    "xz": (b"\xfd7zXZ\x00", lzma.LZMAFile),
    "zstd": (b"\x28\xb5\x2f\xfd", _open_zstd),
}


def compression_of(head: bytes) -> str | None:
    """``gzip``, ``bzip2``, ``xz`` or ``zstd`` by the first bytes of a file; None for any other file."""
    return next((name for name, (magic, _) in _OPENERS.items() if head.startswith(magic)), None)


def unpacked_limit(path: Path) -> int:
    """How many bytes a file may unpack to."""
    return max(FREE_BYTES, MAX_RATIO * path.stat().st_size)


def _too_large(path: Path, limit: int) -> UserError:
    return UserError(
        f"file '{path}': unpacks to more than {limit:,} bytes, {MAX_RATIO} times its size or more, as a zip bomb does; "
        "unpack it by hand if you trust it, and give the unpacked file"
    )


class _Limited(io.RawIOBase):
    """A stream that stops with an error once more bytes than the limit have come out of it."""

    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__()
        self._stream, self._path, self._limit = stream, path, unpacked_limit(path)
        self._place = 0

    def readable(self) -> bool:
        """Bytes can be read."""
        return True

    def seekable(self) -> bool:
        """A tar archive is read by its places."""
        return bool(self._stream.seekable())

    def readinto(self, buffer: Any) -> int:
        """Read up to ``len(buffer)`` bytes."""
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        self._check(self._place + len(piece))
        return len(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, unpacking what is before it."""
        self._check(int(self._stream.seek(offset, whence)))
        return self._place

    def tell(self) -> int:
        """Bytes before the current place, unpacked."""
        return self._place

    def _check(self, place: int) -> None:
        self._place = place
        if place > self._limit:
            raise _too_large(self._path, self._limit)

    def close(self) -> None:
        """Close the packed file too."""
        if not self.closed:
            self._stream.close()
        super().close()


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, through gzip, bzip2, xz or zstd where its first bytes require it.

    Raises
    ------
    UserError
        While reading: more comes out than :func:`unpacked_limit` allows.
    """
    with path.open("rb") as handle:
        name = compression_of(handle.read(8))
    if name is None:
        return path.open("rb")
    return io.BufferedReader(_Limited(_OPENERS[name][1](path), path), 1 << 20)


def copy_limited(stream: Any, target: Path, source: Path) -> None:
    """Write a stream to a file; what comes out of ``source`` is limited by its packed size and by the free disk."""
    limit, taken = unpacked_limit(source), 0
    free = shutil.disk_usage(target.parent).free
    with target.open("wb") as handle:
        while piece := stream.read(1 << 20):
            taken += len(piece)
            if taken > limit:
                raise _too_large(source, limit)
            if taken > free:
                raise UserError(
                    f"file '{source}': does not fit on the disk of '{target.parent}' when unpacked ({free:,} bytes are "
                    "free); make room, or set TMPDIR to a larger disk"
                )
            handle.write(piece)


@dataclass
class Archive:
    """An open zip or tar archive.

    Attributes
    ----------
    names
        Names of all members.
    plain
        Members that are plain files; hidden files, and those that macOS adds, are left out.
    read
        Opens one member; a link, a device, a folder or an encrypted member is refused.
    """

    names: list[str]
    plain: list[str]
    read: Callable[[str], IO[bytes]]


def _visible(names: Iterable[str]) -> list[str]:
    def hidden(part: str) -> bool:
        return part.startswith("__MACOSX") or (part.startswith(".") and part != ".")

    return [name for name in names if not any(map(hidden, PurePosixPath(name).parts))]


def open_archive(archive: Path, stack: ExitStack) -> Archive | None:
    """Open a zip, or a tar in any compression; None if the file is neither.

    The declared sizes are summed before anything is read, so that an archive of too much is refused at once.
    """
    limit = unpacked_limit(archive)
    if zipfile.is_zipfile(archive):
        zipped = stack.enter_context(zipfile.ZipFile(archive))

        def read_zip(name: str) -> IO[bytes]:
            info = zipped.getinfo(name)
            mode = info.external_attr >> 16
            if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                raise _not_plain(archive, name)
            if info.flag_bits & 1:
                raise UserError(f"archive '{archive}': '{name}' is encrypted; not taken out")
            if info.file_size > limit:
                raise _too_large(archive, limit)
            return stack.enter_context(zipped.open(info))

        plain = _visible(info.filename for info in zipped.infolist() if not info.is_dir())
        return Archive(zipped.namelist(), plain, read_zip)
    if tarfile.is_tarfile(archive):
        # Reading the list of a packed tar unpacks all of it: the limited stream stops a bomb there already.
        stream = stack.enter_context(open_unpacked(archive))
        tarred = stack.enter_context(tarfile.TarFile(fileobj=stream))
        infos = {info.name: info for info in tarred.getmembers()}

        def read_tar(name: str) -> IO[bytes]:
            member = tarred.extractfile(infos[name]) if infos[name].isreg() else None
            if member is None:
                raise _not_plain(archive, name)
            return stack.enter_context(member)

        return Archive(list(infos), _visible(name for name, info in infos.items() if info.isreg()), read_tar)
    return None


def _not_plain(archive: Path, name: str) -> UserError:
    return UserError(f"archive '{archive}': '{name}' is not a plain file but a link or a folder; not taken out")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder for unpacked files, removed at the end whatever happens."""
    with tempfile.TemporaryDirectory(prefix="grn_cotrain-") as name:
        yield Path(name)
