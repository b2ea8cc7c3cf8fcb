"""Atomic writes and checksums: a reader never sees half a file or half a folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from grn_cotrain.errors import UserError
from grn_cotrain.strict import MAX_JSON_BYTES, check_shape, parse_json, read_limited

__all__ = [
    "atomic_file",
    "atomic_folder",
    "clear_leftovers",
    "disk_full_in_one_line",
    "read_json",
    "refuse_file",
    "refuse_input",
    "same_place",
    "sha256_file",
    "staged_files",
    "write_json",
    "write_text",
]


_CHECKSUM = "checksum"
_PART = re.compile(r"\.(?P<name>.+)\.[A-Za-z0-9_]{8}(?P<old>\.old)?\.part(\.[^.]+)?")
_NAME_KEPT = 100  # characters of the name in the temporary one, so that a long name stays within the system's limit
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Writers in Rust and C++ raise their own errors, in which the system's is text.
_FULL_TEXT = re.compile(
    r"No space left|File too large|Disk quota exceeded|os error (28|27|122)\b|errno = (28|27|122)\b"
    r"|PytorchStreamWriter failed writing|inline_container\.cc.*(unexpected pos|write)",
    re.IGNORECASE | re.DOTALL,
)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on success it takes its place, on any failure nothing is left.

    The file is on the disk before it takes the name. The temporary name is ``.NAME.RANDOM.part.SUFFIX``, see
    :func:`clear_leftovers`.

    Raises
    ------
    UserError
        The place cannot be written, or the disk is full.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, it takes any name
        raise UserError(f"output '{path}': is a folder; give the name of a file")
    with _parents(path):
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=f".part{path.suffix}")
        except OSError as error:
            raise _not_writable(path, error) from None
        os.close(handle)
        temporary = Path(name)
        try:
            with disk_full_in_one_line(path):
                yield temporary
                temporary.chmod(0o644)  # mkstemp makes it private
                _sync(temporary)
                os.replace(temporary, path)
                _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``path``; on success it replaces ``path``, on any failure nothing is left.

    Raises
    ------
    UserError
        The place cannot be written, or the disk is full.
    """
    path = Path(path)
    with _parents(path):
        try:
            temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path), suffix=".part"))
        except OSError as error:
            raise _not_writable(path, error) from None
        old = temporary.with_name(f"{temporary.name.removesuffix('.part')}.old.part")
        try:
            with disk_full_in_one_line(path):
                yield temporary
                temporary.chmod(0o755)
                for file in temporary.rglob("*"):
                    _sync(file)
                _sync_folder(temporary)
                if path.exists():
                    os.replace(path, old)
                try:
                    os.replace(temporary, path)
                except OSError:
                    if old.exists():
                        os.replace(old, path)
                    raise
                _sync_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def staged_files(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on success its files take their places in ``folder``, on any failure nothing is left.

    Unlike :func:`atomic_folder`, it leaves alone what else ``folder`` holds. Files move in the order in which they were
    written, so that one that lists the others can still come last.

    Raises
    ------
    UserError
        ``folder`` is a file or cannot be written, reported before the block runs; one of the files would replace a
        folder; the disk is full.
    """
    folder = Path(folder)
    with _parents(folder / "any"):
        try:
            temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".new.", suffix=".part"))
        except OSError as error:
            raise _not_writable(folder, error) from None
        try:
            with disk_full_in_one_line(folder):
                yield temporary
                files = sorted(temporary.iterdir(), key=lambda path: path.stat().st_mtime_ns)
                for file in files:
                    if (folder / file.name).is_dir():
                        raise UserError(f"output '{folder / file.name}': is a folder; move it, or choose another place")
                    _sync(file)
                for file in files:
                    os.replace(file, folder / file.name)
                _sync_folder(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def clear_leftovers(folder: str | Path, *, before: float | None = None) -> list[Path]:
    """Remove what killed writes left in ``folder`` and the folders below it; returns what was removed or put back.

    A kill between the two steps that exchange a folder leaves the earlier one under a temporary name: it gets its name
    back. Call it only where nobody else writes, or with ``before``.

    Parameters
    ----------
    folder
        Folder to tidy; one that does not exist holds nothing.
    before
        Leave alone files that changed at this time (seconds since 1970) or later, since a write may not be finished.

    Raises
    ------
    UserError
        A leftover cannot be removed.
    """
    cleared = []
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            match = _PART.fullmatch(name)
            if not match:
                continue
            path = Path(place) / name
            folders[:] = [other for other in folders if other != name]
            try:
                if before is not None and path.lstat().st_mtime >= before:
                    continue
                whole = path.with_name(match["name"])
                if match["old"] and not whole.exists():
                    os.replace(path, whole)
                elif path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            except OSError as error:
                raise UserError(
                    f"leftover '{path}': cannot be removed ({error.strerror}); remove it by hand, or mend permissions"
                ) from None
            cleared.append(path)
    return cleared


@contextlib.contextmanager
def disk_full_in_one_line(path: str | Path) -> Iterator[None]:
    """Turn a full disk, whatever error a writer raises, into one line that names the output.

    Raises
    ------
    UserError
        The disk is full, or a limit on the size of files is reached; any other error passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = _full(error)
        if reason is None:
            raise
        raise UserError(
            f"output '{path}': cannot be written, the disk is full ({reason}); free space, or choose another place"
        ) from None


def _full(error: BaseException) -> str | None:
    """The system's message, if this error or one that caused it is a full disk."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _FULL:
            return str(found.strerror or os.strerror(found.errno))
        if isinstance(found, (OSError, RuntimeError, SafetensorError)) and (match := _FULL_TEXT.search(str(found))):
            return match.group(0).splitlines()[0][:80]
        found = found.__cause__ or found.__context__
    return None


def _prefix(path: Path) -> str:
    return f".{path.name[:_NAME_KEPT]}."


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(f"output '{path}': cannot be written ({error.strerror}); choose another place")


@contextlib.contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above ``path``, and take back those that are still empty after the block."""
    try:
        made = [parent for parent in path.parents if not parent.exists()]  # the innermost first
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from None
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _sync(path: Path) -> None:
    """Put a file's content on the disk: a rename may reach it earlier than the content does."""
    if path.is_file():
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())


def _sync_folder(path: Path) -> None:
    """Put a folder's names on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def same_place(a: str | Path, b: str | Path) -> bool:
    """Whether two paths are one file, which need not exist yet; links are followed."""
    try:
        a, b = Path(a), Path(b)
        return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))
    except (OSError, RuntimeError):  # a loop of links, a name that is too long: nothing that could be read or written
        return str(a) == str(b)


def refuse_input(out: str | Path, cells: str | Path, *, option: str = "--out") -> None:
    """Refuse an output that is the input; ``option`` is what the user gave it with."""
    if same_place(out, cells):
        raise UserError(f"{option} '{out}': is the input itself, which is never changed; give another file")


def refuse_file(out: str | Path, *, option: str = "--out") -> None:
    """Refuse an output folder that is a file; ``option`` is what the user gave it with."""
    if Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"{option} '{out}': is a file; give a folder")


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, *, checked: bool = False) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, since they are not JSON.

    Parameters
    ----------
    path
        File to write.
    value
        Plain values; with ``checked`` a mapping without the key ``checksum``.
    checked
        Add the key ``checksum``, the SHA-256 of the rest, which :func:`read_json` verifies and takes away.
    """
    if checked:
        value = {**value, _CHECKSUM: _checksum(value)}
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path, *, what: str = "file", shape: Any = None) -> Any:
    """Read JSON strictly (see :mod:`grn_cotrain.strict`); a file with a ``checksum`` must have its content.

    Parameters
    ----------
    path
        File to read.
    what
        How messages call it.
    shape
        Shape that the content must have, as :func:`~grn_cotrain.strict.check_shape` takes it.

    Raises
    ------
    UserError
        Missing, damaged, hostile, or of another shape: one line that names the file.
    """
    where = f"{what} '{path}'"
    try:
        text = read_limited(path, MAX_JSON_BYTES)
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: cannot be read ({error}); it is damaged, make it again") from None
    value = parse_json(text, where)
    if isinstance(value, dict) and _CHECKSUM in value:
        recorded = value.pop(_CHECKSUM)
        if recorded != _checksum(value):
            raise UserError(f"{where}: its content does not have its checksum; it is damaged, make it again")
    check_shape(value, shape, where)
    return value


def _checksum(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
