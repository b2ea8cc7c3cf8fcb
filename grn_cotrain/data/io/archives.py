"""Which member of an archive holds the cells: the only data file, or the only matrix with its lists of names."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.io.format_mtx import is_matrix_name
from grn_cotrain.data.io.packed import DAMAGE, copy_limited, open_archive
from grn_cotrain.errors import UserError

__all__ = ["unpack_cells"]

_NO_DATA = (".md", ".pdf", ".html", ".json", ".log", ".md5", ".sha256")
_NO_DATA_NAMES = ("readme", "readme.txt", "license", "license.txt", "checksums.txt", "md5sums.txt")


def unpack_cells(archive: Path, title: str, folder: Path, what: str) -> tuple[Path, str]:
    """Unpack what holds the cells into ``folder``; returns the file or folder to read, and its name in the archive.

    Raises
    ------
    UserError
        A damaged archive; one without data, or with several data sets, which are named.
    """
    try:
        with ExitStack() as stack:
            opened = open_archive(archive, stack)
            if opened is None:
                raise UserError(f"{what}: is {title}, in a form that is not read here; unpack it first")
            members = [name for name in opened.plain if not _is_about(name)]
            taken, shown = _chosen(members, title, what)
            for name in taken:
                # The last part of the name alone: an archive does not choose where anything goes.
                copy_limited(opened.read(name), folder / PurePosixPath(name).name, archive)
    except (*DAMAGE, NotImplementedError, RuntimeError, OSError) as error:
        raise UserError(f"{what}: is {title}, damaged or packed in an unknown way ({error}); fetch it again") from None
    return (folder if len(taken) > 1 else folder / PurePosixPath(taken[0]).name), shown


def _is_about(name: str) -> bool:
    """Whether a member only describes the data."""
    last = PurePosixPath(name).name.lower()
    return last.endswith(_NO_DATA) or last in _NO_DATA_NAMES


def _chosen(members: list[str], title: str, what: str) -> tuple[list[str], str]:
    if len(members) == 1:
        return members, members[0]
    matrices = [name for name in members if is_matrix_name(name)]
    if len(matrices) == 1:
        parent = PurePosixPath(matrices[0]).parent
        beside = [name for name in members if PurePosixPath(name).parent == parent]
        return beside, str(parent) if parent.parts else matrices[0]
    held = f"holds {len(members):,} files ({name_some(members, 4)})" if members else "holds no data"
    raise UserError(f"{what}: is {title} and {held}; unpack it, and give the file or folder of one data set")
