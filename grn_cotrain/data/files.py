"""Atomic files and folders: what is written is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grn_cotrain.errors import UserError

__all__ = ["atomic_file", "atomic_folder", "file_hash", "read_json", "write_json"]


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes its place, on any failure it is removed.

    The temporary name keeps the suffixes, since some writers choose their format by them.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"output '{path}': folder '{path.parent}' does not exist; make it first")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-", suffix=path.name, delete=False) as handle:
            temporary = Path(handle.name)
    except OSError as error:
        raise UserError(f"output '{path}': cannot be written ({error.strerror}); choose another place") from None
    try:
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success it replaces ``path``, on failure it is removed."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".tmp-{path.name}-"))
    except OSError as error:
        raise UserError(f"output '{path}': cannot be written ({error.strerror}); choose another place") from None
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if path.exists():
            # A folder cannot be replaced in one step: the old one moves aside first and is deleted last.
            aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".old-{path.name}-"))
            os.replace(path, aside / path.name)
            try:
                os.replace(temporary, path)
            except OSError:
                os.replace(aside / path.name, path)
                raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically; NaN is refused."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, *, what: str = "file") -> dict[str, Any]:
    """Read a JSON object; every failure is one line that names the file."""
    try:
        loaded = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{what} '{path}': no such file; give an existing one") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{what} '{path}': cannot be read ({error}); prepare it anew") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{what} '{path}': holds no mapping; prepare it anew")
    return loaded


def file_hash(path: str | Path, *, length: int = 16) -> str:
    """SHA-256 of a file's content (first ``length`` hex digits)."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:length]
