"""One process at a time on one output folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from grn_cotrain.errors import UserError

__all__ = ["folder_lock"]

try:
    import fcntl
except ImportError:  # systems without it: no lock, writes are atomic all the same
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def folder_lock(folder: str | Path) -> Iterator[bool]:
    """Hold the lock of ``folder``; yields whether another process held it before.

    The lock is a hidden file beside the folder, ``.NAME.lock``, locked by the system: a process that dies, however it
    dies, lets go of it, so a stale file never blocks anyone. The file is removed in the end.

    Raises
    ------
    UserError
        The folder's parent cannot be written.
    """
    path = Path(folder).absolute()
    place = path.with_name(f".{path.name}.lock")
    if fcntl is None:
        yield False
        return
    waited = False
    while True:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise UserError(f"output '{folder}': cannot be written ({error.strerror}); choose another place") from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = True
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:  # a file system without locks: go on without one, as without fcntl
                pass
            # Whoever held it has removed the file: a lock on a file without a name keeps nobody out.
            if _still_there(place, handle):
                break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    try:
        yield waited
    finally:
        place.unlink(missing_ok=True)
        os.close(handle)


def _still_there(place: Path, handle: int) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
