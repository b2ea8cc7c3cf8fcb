"""A manifest: every file of a folder with its size and SHA-256, and the facts that tie the folder to a run.

``model/model_manifest.json`` lists the files of a model, ``run_manifest.json`` those of a run, the model's manifest
among them. So one small file shows whether a whole run is the one that training wrote.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, sha256_file, write_json

__all__ = ["FITTED_FILES", "MODEL_MANIFEST", "RUN_MANIFEST", "Manifest"]

MODEL_MANIFEST = "model_manifest.json"
"""In a model folder."""
RUN_MANIFEST = "run_manifest.json"
"""In a run folder."""
_FORMAT = 1
FITTED_FILES = ("platt.json", "depth.json")
"""Files of a model folder that are fitted to the weights at the end of training, and written after them."""
_OPTIONAL = ("platt.json",)  # a model without validation pairs has none, and no result depends on it

logger = logging.getLogger(__name__)

_COMING = "coming"  # in a row: what a write that has begun will make of the file


@dataclass(frozen=True)
class Manifest:
    """Files and facts of one folder.

    Attributes
    ----------
    facts
        Plain values, such as ``run_id`` and ``recipe_hash``.
    files
        File name, relative to the folder -> ``size`` in bytes, ``sha256``, and what else is known of the file.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def with_files(self, folder: Path, names: Iterable[str], **more: Any) -> Manifest:
        """A manifest with the rows of ``names`` as these files are now; of files that are gone, the rows go.

        ``more`` is added to each of these rows.
        """
        rows = {name: row for name, row in self.files.items() if (folder / name).is_file()}
        for name in names:
            path = folder / name
            if path.is_file():
                rows[name] = {"size": path.stat().st_size, "sha256": sha256_file(path), **more}
        return Manifest(self.facts, dict(sorted(rows.items())))

    def before_writing(self, name: str, text: str) -> Manifest:
        """A manifest that accepts the file ``name`` as it is and as it will be, when ``text`` is written to it.

        Written first, it keeps the folder whole through a kill between the two writes.
        """
        content = text.encode()
        coming = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return Manifest(self.facts, {**self.files, name: {**self.files.get(name, coming), _COMING: coming}})

    def write(self, path: Path) -> None:
        """Write it atomically, with its own checksum."""
        content = {"format_version": _FORMAT, "facts": dict(self.facts), "files": dict(self.files)}
        write_json(path, content, checked=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises
        ------
        UserError
            The file is missing, was written by another version, or is not what was written.
        """
        loaded = read_json(path, what="manifest")
        if not isinstance(loaded, dict) or loaded.get("format_version") != _FORMAT:
            version = loaded.get("format_version") if isinstance(loaded, dict) else None
            raise UserError(
                f"manifest '{path}': format_version {version!r}, this version reads {_FORMAT}; install the version"
                " that wrote it"
            )
        facts, files = loaded.get("facts"), loaded.get("files")
        rows_fit = isinstance(files, dict) and all(
            isinstance(row, dict) and isinstance(row.get("size"), int) and isinstance(row.get("sha256"), str)
            for row in files.values()
        )
        if not isinstance(facts, dict) or not isinstance(files, dict) or not rows_fit:
            raise UserError(f"manifest '{path}': has no facts or no files with checksums; copy the folder whole")
        return cls(facts, files)

    @classmethod
    def check_model(cls, folder: Path, *, leave: Iterable[str] = ()) -> None:
        """Compare a model folder with its manifest, except the files ``leave``.

        Raises
        ------
        UserError
            A file is missing, differs, or was added by another program.
        """
        manifest = cls.read(folder / MODEL_MANIFEST)
        # A README that somebody added is not read by the package; another platt.json would be.
        added = {file.name for file in folder.iterdir() if file.suffix in (".json", ".safetensors")}
        names = set(manifest.files) | {name for name in added if name[0] != "."}
        for name in sorted(names - {MODEL_MANIFEST, *leave}):
            problem = manifest.problem(folder, name)
            if problem == "is missing" and name in _OPTIONAL:
                logger.warning("model '%s': %s is missing, so there are no probabilities; copy it whole", folder, name)
                continue
            if problem == "is missing":
                raise UserError(
                    f"file '{folder / name}': missing; the folder is incomplete, train again or copy it whole"
                )
            if problem is not None:
                raise UserError(
                    f"file '{folder / name}': damaged (checksum differs from the recorded one: {problem}); copy it"
                    " again or train again"
                )

    def problem(self, folder: Path, name: str) -> str | None:
        """Short description of what is wrong with a file; None if it is the file that was listed."""
        row = self.files.get(name)
        path = folder / name
        if row is None:
            return "is not in the manifest" if path.is_file() else None
        if not path.is_file():
            return "is missing"
        size = path.stat().st_size
        accepted = [row, *([row[_COMING]] if _COMING in row else [])]
        if size not in [one["size"] for one in accepted]:
            return f"differs from the manifest: {size:,} bytes, not {row['size']:,}"
        found = _sha256(str(path.resolve()), size, path.stat().st_mtime_ns, path.stat().st_ino)
        if found in [one["sha256"] for one in accepted]:
            return None
        return f"differs from the manifest: SHA-256 {found[:12]}, not {row['sha256'][:12]}"


@functools.lru_cache(maxsize=1024)
def _sha256(path: str, size: int, changed_ns: int, inode: int) -> str:
    """Hash of a file, computed once a command for a file that stays as it is: a run is opened many times."""
    del size, changed_ns, inode
    return sha256_file(path)
