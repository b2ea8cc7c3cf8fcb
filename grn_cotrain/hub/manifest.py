"""The files that a hub may hold, and their list with checksums."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, sha256_file, write_json

__all__ = ["MANIFEST", "README", "accepted", "read_manifest", "safe_name", "verify", "write_manifest"]

MANIFEST = "manifest.json"
README = "README.md"
_FORMAT = 1
_SUFFIXES = {".safetensors", ".json", ".yaml", ".yml", ".md", ".html"}
_BENIGN = {".gitattributes", ".gitignore", "LICENSE", "LICENSE.txt", "LICENCE", "LICENCE.txt", "NOTICE", "NOTICE.txt"}


def safe_name(name: str) -> bool:
    """Whether a name stays inside its folder on every system: relative, no ``..``, no backslash, no drive."""
    path = PurePosixPath(name)
    odd = "\\" in name or ":" in name or "\0" in name
    return bool(name) and not odd and not path.is_absolute() and ".." not in path.parts and str(path) == name


def accepted(name: str) -> bool:
    """Whether a file holds data alone: safetensors, JSON, YAML, Markdown or HTML. Nothing pickled, no code."""
    return PurePosixPath(name).suffix.lower() in _SUFFIXES


def benign(name: str) -> bool:
    """Whether a repository may hold a file that is not fetched: the hub's own files, and licences."""
    return name in _BENIGN


def write_manifest(folder: Path, names: list[str], facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Write the checksums and sizes of ``names``; returns them. README.md is for people to edit: it isn't in it."""
    files = {
        name: {"sha256": sha256_file(folder / name), "size": (folder / name).stat().st_size}
        for name in sorted(names)
        if name != README
    }
    write_json(folder / MANIFEST, {"format_version": _FORMAT, **facts, "files": files})
    return files


def read_manifest(path: Path, what: str) -> dict[str, dict[str, Any]]:
    """File name -> ``sha256`` and ``size``.

    Raises
    ------
    UserError
        No manifest, one of a newer format, or one that names a file which isn't accepted or leaves the folder.
    """
    loaded = read_json(path, what=f"manifest of {what}")
    if not isinstance(loaded, dict) or loaded.get("format_version") != _FORMAT:
        raise UserError(f"{what}: its manifest is not of format {_FORMAT}; install the version that pushed it")
    files = loaded.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and {"sha256", "size"} <= set(entry) for entry in files.values()
    ):
        raise UserError(f"{what}: its manifest lists no files with checksums; ask its author to push it again")
    for name in files:
        if not safe_name(name):
            raise UserError(f"{what}: its manifest names '{name}', outside of the folder; it is refused")
        if not accepted(name):
            raise UserError(
                f"{what}: its manifest names '{name}', which is neither safetensors, JSON, YAML, Markdown nor HTML; it"
                " is refused"
            )
    missing = sorted({"recipe.yaml", "model/config.json", "model/model.safetensors", "model/vocab.json"} - set(files))
    if missing:
        raise UserError(
            f"{what}: not a run folder ({missing[0]} is missing); give a repository made by `grn-cotrain hub push`"
        )
    return files


def verify(folder: Path, files: dict[str, dict[str, Any]], what: str) -> None:
    """Compare every file with its checksum.

    Raises
    ------
    UserError
        A file is missing, or is not the one that was pushed.
    """
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{what}: '{name}' is missing; fetch again, or ask its author to push it again")
        if path.stat().st_size != entry["size"] or sha256_file(path) != entry["sha256"]:
            raise UserError(
                f"{what}: '{name}' is not the file that was pushed (its checksum differs); fetch again, and do not use"
                " it if that stays"
            )
