"""Atomic writes and checksums: a reader never sees half a file or half a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grn_cotrain.errors import UserError

__all__ = [
    "atomic_file",
    "atomic_folder",
    "read_json",
    "refuse_input",
    "same_place",
    "sha256_file",
    "staged_files",
    "write_json",
    "write_text",
]


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes its place, on any failure nothing is left."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"output '{path}': is a folder; give the name of a file")
    made = _missing_parents(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:
        raise UserError(f"output '{path}': cannot be written ({error.strerror}); choose another place") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        _remove_empty(made)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it replaces ``path``, on any failure nothing is left."""
    path = Path(path)
    made = _missing_parents(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise UserError(f"output '{path}': cannot be written ({error.strerror}); choose another place") from None
    try:
        yield temporary
        temporary.chmod(0o755)
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made)


@contextlib.contextmanager
def staged_files(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on success its files take their places in ``folder``, on any failure nothing is left.

    Unlike :func:`atomic_folder`, it leaves alone what else ``folder`` holds. Files move in the order in which they were
    written, so that one that says "the others are here" can still come last.

    Raises
    ------
    UserError
        ``folder`` is a file or cannot be written, told before the block runs; one of the files would replace a folder.
    """
    folder = Path(folder)
    made = _missing_parents(folder / "any")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".new."))
    except OSError as error:
        _remove_empty(made)
        raise UserError(f"output '{folder}': cannot be written ({error.strerror}); choose another place") from None
    try:
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for file in files:
            if (folder / file.name).is_dir():
                raise UserError(f"output '{folder / file.name}': is a folder; move it, or choose another place")
        for file in files:
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made)


def same_place(a: str | Path, b: str | Path) -> bool:
    """Whether two paths are one file, which need not exist yet; links are followed."""
    a, b = Path(a), Path(b)
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def refuse_input(out: str | Path, cells: str | Path, *, option: str = "--out") -> None:
    """Refuse an output that is the input; ``option`` is what the user gave it with."""
    if same_place(out, cells):
        raise UserError(f"{option} '{out}': is the input itself, which is never changed; give another file")


def _missing_parents(path: Path) -> list[Path]:
    """Folders that must be made for ``path``, the innermost first."""
    return [parent for parent in path.parents if not parent.exists()]


def _remove_empty(folders: list[Path]) -> None:
    """Take back folders that were made for a file that did not come."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, since they are no JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path, *, what: str = "file") -> Any:
    """Read JSON; a missing or broken file is a one-line :class:`UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{what} '{path}': no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{what} '{path}': cannot be read ({error}); it is damaged, make it anew") from None


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def clear_leftovers(folder: str | Path) -> list[Path]:
    """Remove what killed writes left in ``folder`` and the folders below it; returns what was removed."""
    found = [
        path
        for path in Path(folder).rglob(".*")
        if re.fullmatch(r"\.(.+\.[a-z0-9_]{8}(\.[^.]+)?|.+\.old-\d+)", path.name)
    ]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return found
