"""A recipe's ``prep:`` block: prepare its folder when that is missing or stale."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from data_prep.counts import prepare_counts
from data_prep.splits import prepare_splits
from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.data.io.tables import split_selector
from grn_cotrain.data.prep import FORMAT_VERSION, Prep, check_output
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, read_json, sha256_file, write_json
from grn_cotrain.recipe import PrepConfig

__all__ = ["ensure_prep"]

logger = logging.getLogger(__name__)

PREPARATION_VERSION = 1
"""Raise it when the same files must be prepared differently: folders made by recipes are then made anew."""

_RECORD = "ensure.json"


def ensure_prep(config: PrepConfig, folder: str | Path) -> Prep:
    """Return the prepared folder of a recipe, made anew if the block, a file it names, or the preparation changed.

    A file counts as unchanged if its size and time of change are those of last time, or else its content is.

    Raises
    ------
    UserError
        From preparing; the earlier folder, if any, stays as it was.
    """
    folder = Path(folder)
    check_output(folder)
    record = read_json(folder / _RECORD, what="record") if (folder / _RECORD).is_file() else {}
    files = {name: _fingerprint(path, record.get("files", {}).get(name)) for name, path in _files(config).items()}
    key = canonical_hash(
        [
            PREPARATION_VERSION,
            FORMAT_VERSION,
            _without_places(config),
            {name: f["sha256"] for name, f in files.items()},
        ],
        length=32,
    )
    if record.get("key") == key:
        logger.info("%s: up to date", folder)
        return Prep.open(folder)
    logger.info("%s: %s", folder, "stale, prepared anew" if folder.exists() else "prepared")
    with atomic_folder(folder) as temporary:
        prepare_counts(
            config.counts,
            temporary,
            layer=config.layer,
            genes=config.genes,
            grn=config.grn,
            grn_format=config.grn_format,
            tf_list=config.tf_list,
            species=config.species,
            min_mapped=config.min_mapped,
        )
        for split in config.splits:
            options: dict[str, Any] = {k: v for k, v in to_dict(split).items() if k != "kind"}
            prepare_splits(temporary, split.kind, **options)
        write_json(temporary / _RECORD, {"key": key, "files": files})
    return Prep.open(folder)


def _files(config: PrepConfig) -> dict[str, Path]:
    """Every file or folder that the block reads, by the key that names it."""
    named: dict[str, str | None] = {"counts": config.counts, "grn": config.grn, "tf_list": config.tf_list}
    for i, split in enumerate(config.splits):
        for name in ("train", "validation", "test", "index", "source_prep"):
            named[f"splits[{i}].{name}"] = getattr(split, name)
    return {name: split_selector(value)[0] for name, value in named.items() if value is not None}


def _without_places(config: PrepConfig) -> dict[str, Any]:
    """The block with file names for paths: moving the data makes nothing stale, their content decides."""
    block = to_dict(config)
    for part in (block, *block["splits"]):
        for name in ("counts", "grn", "tf_list", "train", "validation", "test", "index", "source_prep"):
            if part.get(name) is not None:
                file, selector = split_selector(part[name])
                part[name] = [file.name, selector]
    return block


def _fingerprint(path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    """Size, time of change and content hash; the last is taken from ``known`` where the first two agree."""
    if not path.exists():
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
