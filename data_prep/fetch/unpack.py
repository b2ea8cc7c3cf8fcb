"""Named members out of a zip or tar archive, and nothing else: no paths of the archive's own choosing, no links."""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.files import atomic_file, atomic_folder

__all__ = ["gunzip", "unpack"]


def unpack(archive: Path, members: Sequence[str], target: Path) -> None:
    """Take members out: one becomes the file ``target``, several become files of the folder ``target``.

    The names of the files are the last parts of the members' names as the catalogue spells them, so an archive cannot
    choose where anything goes.

    Raises
    ------
    UserError
        No archive, damaged, a member missing, or a member that is a link, a device or a folder.
    """
    try:
        with ExitStack() as stack:
            names, read = _open(archive, stack)
            found = [_find(member, names, archive) for member in members]
            if len(members) == 1:
                with atomic_file(target) as temporary:
                    _copy(read(found[0]), temporary)
                return
            with atomic_folder(target) as folder:
                for member, name in zip(members, found, strict=True):
                    _copy(read(name), folder / PurePosixPath(member).name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, NotImplementedError) as error:
        raise UserError(
            f"archive '{archive}': is damaged or packed in an unknown way ({error}); fetch it anew with --refresh"
        ) from None


def gunzip(source: Path, target: Path) -> None:
    """Decompress one gzipped file."""
    try:
        with gzip.open(source, "rb") as stream, atomic_file(target) as temporary:
            _copy(stream, temporary)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"file '{source}': the gzip data are damaged ({error}); fetch it anew with --refresh") from None


def _open(archive: Path, stack: ExitStack) -> tuple[list[str], Callable[[str], IO[bytes]]]:
    """The archive's names, and how one of them is read."""
    if zipfile.is_zipfile(archive):
        zipped = stack.enter_context(zipfile.ZipFile(archive))

        def read_zip(name: str) -> IO[bytes]:
            info = zipped.getinfo(name)
            mode = info.external_attr >> 16
            if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                raise UserError(f"archive '{archive}': '{name}' is no plain file but a link or a folder; not taken out")
            if info.flag_bits & 1:
                raise UserError(f"archive '{archive}': '{name}' is encrypted; not taken out")
            return stack.enter_context(zipped.open(info))

        return zipped.namelist(), read_zip
    if tarfile.is_tarfile(archive):
        tarred = stack.enter_context(tarfile.open(archive))  # noqa: SIM115  (the stack closes it)
        infos = {info.name: info for info in tarred.getmembers()}

        def read_tar(name: str) -> IO[bytes]:
            stream = tarred.extractfile(infos[name]) if infos[name].isreg() else None
            if stream is None:
                raise UserError(f"archive '{archive}': '{name}' is no plain file but a link or a folder; not taken out")
            return stack.enter_context(stream)

        return list(infos), read_tar
    raise UserError(f"archive '{archive}': is neither zip nor tar; fetch it anew with --refresh")


def _find(member: str, names: Sequence[str], archive: Path) -> str:
    """The member's name in the archive; a folder or ``./`` in front of it is forgiven if that leaves one choice."""
    if member in names:
        return member
    near = [name for name in names if name.endswith("/" + member) and ".." not in PurePosixPath(name).parts]
    if len(near) == 1:
        return near[0]
    raise UserError(
        f"archive '{archive}': holds no '{member}'{did_you_mean(member, names)}; the publisher may have changed it"
    )


class _Stream(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


def _copy(stream: _Stream, target: Path) -> None:
    with target.open("wb") as handle:
        shutil.copyfileobj(stream, handle, 1 << 20)
