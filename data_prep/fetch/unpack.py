"""Named members out of a zip or tar archive, and nothing else: no paths of the archive's own choosing, no links."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from grn_cotrain.data.io.packed import DAMAGE, copy_limited, open_archive
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
        No archive, damaged, a member missing, a member that is a link, a device or a folder, or one that unpacks to
        more than the archive's size allows; see :mod:`grn_cotrain.data.io.packed`.
    """
    try:
        with ExitStack() as stack:
            opened = open_archive(archive, stack)
            if opened is None:
                raise UserError(f"archive '{archive}': is neither zip nor tar; fetch it again with --refresh")
            found = [_find(member, opened.names, archive) for member in members]
            if len(members) == 1:
                with atomic_file(target) as temporary:
                    copy_limited(opened.read(found[0]), temporary, archive)
                return
            with atomic_folder(target) as folder:
                for member, name in zip(members, found, strict=True):
                    copy_limited(opened.read(name), folder / PurePosixPath(member).name, archive)
    except (*DAMAGE, NotImplementedError) as error:
        raise UserError(
            f"archive '{archive}': is damaged or packed in an unknown way ({error}); fetch it again with --refresh"
        ) from None


def gunzip(source: Path, target: Path) -> None:
    """Decompress one gzipped file, within the same limits."""
    try:
        with gzip.open(source, "rb") as stream, atomic_file(target) as temporary:
            copy_limited(stream, temporary, source)
    except DAMAGE as error:
        raise UserError(
            f"file '{source}': the gzip data are damaged ({error}); fetch it again with --refresh"
        ) from None


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
