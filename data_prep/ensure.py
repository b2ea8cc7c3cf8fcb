"""A recipe's ``prep:`` block: prepare its folder when that is missing or stale."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.data.io.tables import split_selector
from grn_cotrain.data.prep import FORMAT_VERSION, Prep, check_output
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, read_json, sha256_file, write_json
from grn_cotrain.lock import folder_lock
from grn_cotrain.recipe import PrepConfig

from .counts import prepare_counts, source_list
from .fetch import known_format, resolve_source
from .merge import labels_of
from .splits import prepare_splits

__all__ = ["ensure_prep"]

logger = logging.getLogger(__name__)

PREPARATION_VERSION = 2
"""Raise it when the same files must be prepared differently: folders made by recipes are then prepared again."""

_RECORD = "ensure.json"
_SHAPE = {"key": str, "files": {str: {"quick": [[None]], "sha256": str}}}
_FILES = ("grn", "tf_list", "aliases", "current_symbols", "orthologs")
_SPLIT_FILES = ("train", "validation", "test", "index", "source_prep")


def ensure_prep(config: PrepConfig, folder: str | Path) -> Prep:
    """Return the prepared folder of a recipe, made again if the block, a file it names, or the preparation changed.

    Two processes that prepare one folder do it once: the second waits and finds it done. A file counts as unchanged if
    its size and time of change are those of last time, or else its content is. Files that are gone since, raw data on a
    scratch disk, count as unchanged too, and are named: the folder was made from them.

    Raises
    ------
    UserError
        From preparing; the earlier folder, if any, stays as it was.
    """
    folder = Path(folder)
    check_output(folder)
    config = _fetched(config)
    key, files = _key(config, folder)
    if _up_to_date(folder, key):
        _tell_gone(config, folder)
        return Prep.open(folder)
    with folder_lock(folder) as waited:
        if waited:  # another process has prepared it meanwhile, perhaps as it is wanted here
            logger.info("%s: another process has prepared it; looked at again", folder)
            key, files = _key(config, folder)
        if _up_to_date(folder, key):
            return Prep.open(folder)
        gone = _gone(config)
        if gone:
            raise UserError(f"prep: '{gone[0]}' does not exist; correct the recipe's prep: block, or fetch the data")
        logger.info("%s: %s", folder, "stale, prepared again" if folder.exists() else "prepared")
        with atomic_folder(folder) as temporary:
            _prepare(config, temporary)
            write_json(temporary / _RECORD, {"key": key, "files": files})
        return Prep.open(folder)


def _gone(config: PrepConfig) -> list[Path]:
    return [path for path in _files(config).values() if not path.exists()]


def _tell_gone(config: PrepConfig, folder: Path) -> None:
    gone = _gone(config)
    if gone:
        named = ", ".join(f"'{path}'" for path in gone)
        logger.warning("%s: made from files that are gone (%s); it is used as it is", folder, named)


def _prepare(config: PrepConfig, folder: Path) -> None:
    # Every option of the block is one of prepare_counts, so that none can be forgotten here.
    options = {name: value for name, value in vars(config).items() if name not in ("counts", "splits")}
    prepare_counts(config.counts, folder, **options)
    for split in config.splits:
        split_options: dict[str, Any] = {k: v for k, v in to_dict(split).items() if k != "kind"}
        prepare_splits(folder, split.kind, **split_options)


def _up_to_date(folder: Path, key: str) -> bool:
    if not (folder / _RECORD).is_file() or read_json(folder / _RECORD, what="record", shape=_SHAPE).get("key") != key:
        return False
    logger.info("%s: up to date", folder)
    return True


def _key(config: PrepConfig, folder: Path) -> tuple[str, dict[str, Any]]:
    """Hash of all that decides about the folder's content, and the fingerprints of the files."""
    record = read_json(folder / _RECORD, what="record", shape=_SHAPE) if (folder / _RECORD).is_file() else {}
    files = {name: _fingerprint(path, record.get("files", {}).get(name)) for name, path in _files(config).items()}
    content = {name: file["sha256"] for name, file in files.items()}
    return canonical_hash([PREPARATION_VERSION, FORMAT_VERSION, _without_places(config), content], length=32), files


def _fetched(config: PrepConfig) -> PrepConfig:
    """The block with paths for addresses and names that ``grn-prep fetch`` knows."""

    def path(value: str) -> str:
        return value if split_selector(value)[0].exists() else str(resolve_source(value))

    changed: dict[str, Any] = {"counts": tuple(path(str(file)) for file in source_list(config.counts))}
    for name in _FILES:
        value = getattr(config, name)
        changed[name] = None if value is None else path(value)
    if config.grn is not None and config.grn_format == "auto":
        changed["grn_format"] = known_format(config.grn) or "auto"
    return replace(config, **changed)


def _files(config: PrepConfig) -> dict[str, Path]:
    """Every file or folder that the block reads, by the key that names it."""
    named: dict[str, str | None] = {f"counts[{i}]": file for i, file in enumerate(config.counts)}
    named |= {name: getattr(config, name) for name in _FILES}
    for i, split in enumerate(config.splits):
        for name in _SPLIT_FILES:
            named[f"splits[{i}].{name}"] = getattr(split, name)
    return {name: split_selector(value)[0] for name, value in named.items() if value is not None}


def _without_places(config: PrepConfig) -> dict[str, Any]:
    """The block with file names for paths: moving the data makes nothing stale, their content decides.

    With several files their labels, made from their folders where names are equal, are content too.
    """
    block = to_dict(config)
    files = list(config.counts)
    block["counts"] = labels_of(files) if len(files) > 1 else split_selector(files[0])[0].name
    for part in (block, *block["splits"]):
        for name in (*_FILES, *_SPLIT_FILES):
            if part.get(name) is not None:
                file, selector = split_selector(part[name])
                part[name] = [file.name, selector]
    return block


def _fingerprint(path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    """Size, time of change and content hash; the last is taken from ``known`` where the first two agree."""
    if not path.exists():
        if known is not None:
            return known
        raise UserError(f"prep: '{path}' does not exist; correct the recipe's prep: block, or fetch the data")
    try:
        parts = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
        stats = [(part, part.stat()) for part in parts]
        quick = [[part.name, stat.st_size, stat.st_mtime_ns] for part, stat in stats]
        if known is not None and known["quick"] == quick:
            return known
        digest = canonical_hash([[str(part.relative_to(path)), sha256_file(part)] for part, _ in stats], length=32)
    except OSError as error:
        raise UserError(f"prep: '{path}' cannot be read ({error.strerror}); make it readable") from None
    return {"quick": quick, "sha256": digest}
