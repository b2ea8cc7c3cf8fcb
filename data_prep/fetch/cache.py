"""The cache: one folder a resource, with the file, a record of its hash, and a lock between processes.

``lock.json`` holds the hash that the file had when it came, and every later use is held to it: for resources whose
checksum nobody publishes this is *trust on first use*. It does not protect against a file that was wrong from the
start; a line reports this when the hash is written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, sha256_file, write_json
from grn_cotrain.lock import Busy, file_lock

__all__ = ["CACHE_VARIABLE", "Slot", "cache_folder", "content_hash"]

CACHE_VARIABLE = "GRN_COTRAIN_CACHE"
RECORD = "lock.json"


def cache_folder() -> Path:
    """``GRN_COTRAIN_CACHE``, or the platform's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("grn_cotrain"))


class Slot:
    """The place of one address (or of what is made from it) in the cache.

    Parameters
    ----------
    cache
        The cache's folder.
    label, key
        Make the folder's name: ``label-`` and the first digits of the SHA-256 of ``key`` (the address), so that
        another address never answers for this one.
    file
        Name of the file or folder inside, until the record names another.
    """

    def __init__(self, cache: Path, label: str, key: str, file: str) -> None:
        self.folder = cache / f"{label}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        self._file = file

    @property
    def record(self) -> dict[str, Any]:
        """Content of ``lock.json``; empty where it is missing or damaged."""
        try:
            return dict(read_json(self.folder / RECORD, what="record", shape={}))
        except (OSError, UserError):
            return {}

    @property
    def path(self) -> Path:
        """Place of the file, or the place to put it by hand."""
        name = self.record.get("file", self._file)
        plain = isinstance(name, str) and name == Path(name).name and name not in ("", ".", "..")
        return self.folder / (name if plain else self._file)

    @property
    def part(self) -> Path:
        """Place of an unfinished download."""
        return self.folder / f".{self._file}.part"

    def holds(self) -> bool:
        """Whether file and record are there and agree."""
        record, path = self.record, self.path
        return bool(record.get("sha256")) and path.exists() and content_hash(path) == record["sha256"]

    def write_record(self, **values: Any) -> None:
        """Replace ``lock.json``."""
        write_json(self.folder / RECORD, values)

    @contextmanager
    def locked(self, label: str, say: Callable[[str], object]) -> Iterator[None]:
        """Keep other processes out; they wait, and report it."""
        place = self.folder / ".busy"
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(file_lock(place, what="fetch", wait=0))
                except Busy as busy:
                    say(f"{label}: {busy.who} is fetching it; waiting")
                    stack.enter_context(file_lock(place, what="fetch", wait=None))
            except OSError as error:
                raise UserError(
                    f"cache '{self.folder}': cannot be written ({error.strerror}); set {CACHE_VARIABLE} to another"
                    " folder"
                ) from None
            yield


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of a folder's files."""
    if path.is_file():
        return sha256_file(path)
    lines = [
        f"{sha256_file(part)}  {part.relative_to(path).as_posix()}\n"
        for part in sorted(path.rglob("*"))
        if part.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
