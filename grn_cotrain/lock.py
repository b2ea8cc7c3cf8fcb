"""One process at a time on one folder.

The system holds the lock, not the file: a process that dies, however it dies, lets go of it, so a file that was left
behind never blocks anyone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json

__all__ = ["Busy", "file_lock", "folder_lock", "holder_of"]

logger = logging.getLogger(__name__)

_INFO = ".json"  # suffix of the file next to the lock that names its holder
_Key = tuple[Path, int, int]
_held: dict[_Key, int] = {}
"""(lock file, process, thread) -> how often it is held there: the inner of two nested locks is free."""


class Busy(Exception):
    """Another process holds the lock; ``holder`` has ``pid``, ``host``, ``what`` and ``since``, where known."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__(str(holder))
        self.holder = holder

    @property
    def who(self) -> str:
        """The process in words, for example ``process 12 on host 'a' (train, since 14:02)``."""
        known = self.holder
        if "pid" not in known:
            return "another process"
        return f"process {known['pid']} on host '{known.get('host')}' ({known.get('what')}, since {known.get('since')})"


@contextlib.contextmanager
def file_lock(place: Path, *, what: str, wait: float | None = 1.0) -> Iterator[bool]:
    """Hold the lock ``place``; yields whether another process held it before. Both of its files go in the end.

    Parameters
    ----------
    place
        Lock file; its holder is written to a file next to it.
    what
        Task of the holder, in a word or two.
    wait
        Seconds after which a lock that is held gives :class:`Busy`; None waits without an end.

    Raises
    ------
    Busy
        Another process holds it.
    OSError
        The place cannot be written.
    """
    key = _key(place)
    if key in _held:
        _held[key] += 1
        try:
            yield False
        finally:
            _held[key] -= 1
        return
    # Not one object for all threads: two trainings in two threads of one process are two holders as well.
    lock = FileLock(place, thread_local=False)
    waited = locked = False
    try:
        try:
            lock.acquire(timeout=0)
            locked = True
        except Timeout:
            waited = True
            try:
                lock.acquire(timeout=-1 if wait is None else wait)
                locked = True
            except Timeout:
                raise Busy(_read_holder(place)) from None
        except NotImplementedError:  # a file system without locks: writes are atomic all the same
            logger.warning("%s: this file system has no locks; do not start two commands on one folder", place.parent)
        _held[key] = 1
        _write_holder(place, what)
        yield waited
    finally:
        if _held.pop(key, 0):
            _info(place).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)  # before the release, so that a waiting process locks a new file
        if locked:
            lock.release()


def holder_of(place: Path) -> dict[str, Any] | None:
    """Who holds the lock ``place``; None if nobody does, and where that cannot be found out."""
    if _key(place) in _held:
        return _read_holder(place)
    if not place.is_file():
        return None
    lock = FileLock(place, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _read_holder(place)
    except (OSError, NotImplementedError):
        return None
    lock.release()
    return None


@contextlib.contextmanager
def folder_lock(folder: str | Path, *, what: str = "prepare", wait: float | None = None) -> Iterator[bool]:
    """Hold the lock of a ``folder`` that is written whole; yields whether another process held it before.

    The lock is a hidden file next to the folder, ``.NAME.lock``, so that the folder can be exchanged under it.

    Raises
    ------
    Busy
        Another process held it for ``wait`` seconds.
    UserError
        The folder's parent cannot be written.
    """
    path = Path(folder).absolute()
    place = path.with_name(f".{path.name}.lock")
    made = [parent for parent in path.parents if not parent.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            waited = stack.enter_context(file_lock(place, what=what, wait=wait))
        except OSError as error:
            raise UserError(f"output '{folder}': cannot be written ({error.strerror}); choose another place") from None
        yield waited


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _key(place: Path) -> _Key:
    return place.absolute(), os.getpid(), threading.get_ident()


def _info(place: Path) -> Path:
    return place.with_name(place.name + _INFO)


def _write_holder(place: Path, what: str) -> None:
    """Not atomic, by intention: nothing reads it but messages, and a temporary file more could be left."""

    holder = {"pid": os.getpid(), "host": socket.gethostname(), "what": what, "since": time.strftime("%Y-%m-%d %H:%M")}
    _info(place).write_text(json.dumps(holder) + "\n", encoding="utf-8")


def _read_holder(place: Path) -> dict[str, Any]:
    try:
        found = read_json(_info(place), what="lock")
    except UserError:  # its holder has just begun, or just ended
        return {}
    return found if isinstance(found, dict) else {}
