"""Which run an export came from: names and hashes that travel with every vector, and no path of any machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import grn_cotrain
from grn_cotrain.run_folder import RunFolder

__all__ = ["RunIdentity"]


@dataclass(frozen=True)
class RunIdentity:
    """A run by name and content.

    Attributes
    ----------
    run
        Name of the recipe (or of the folder, where run.json is missing).
    recipe_hash
        Canonical hash of the resolved recipe at training time; empty for a model that was saved by hand.
    vocab_hash
        Hash of the model's vocabulary: which gene a row is.
    weights_sha256
        SHA-256 of ``model.safetensors``.
    version
        Version of this package that wrote the export.
    """

    run: str
    recipe_hash: str
    vocab_hash: str
    weights_sha256: str
    version: str = grn_cotrain.__version__

    @classmethod
    def of(cls, folder: RunFolder, config: dict[str, Any]) -> RunIdentity:
        """Identity of a run folder and the config.json of its model."""
        record = folder.record() if folder.record_file.is_file() else {}
        return cls(
            run=str(record.get("name") or folder.folder.resolve().name),
            recipe_hash=str(config["meta"].get("recipe_hash", "")),
            vocab_hash=str(config["vocab_hash"]),
            weights_sha256=str(config["sha256"]["model.safetensors"]),
        )

    def to_dict(self) -> dict[str, str]:
        """Text by field name, for the metadata of any file format."""
        return asdict(self)
