"""Atomic, checked, resumable checkpoints: safetensors for weights, JSON for positions, tensors for the optimiser."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from grn_cotrain.config import canonical_hash
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, read_json, sha256_file, write_json
from grn_cotrain.model_io import read_tensors
from grn_cotrain.strict import understood

__all__ = ["Checkpoints", "TrainState", "weights_hash"]

logger = logging.getLogger(__name__)

_OWN_HASH = "state_sha256"
_SHAPE = {
    "state": {
        "step": int,
        "stream?": {str: None},
        "best_value?": float,
        "best_step": int,
        "stale": int,
        "side_value?": float,
        "side_step?": int,
        "seconds": float,
        "recipe_hash": str,
        "records_sha256?": str,
        "environment": {str: None},
    },
    "sha256": {"model.safetensors": str, "optimizer.pt": str},
}


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of every parameter and buffer, in the order of their names: equal weights, equal hash."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass
class TrainState:
    """Where a run is. Everything else is a function of (seed, step).

    Attributes
    ----------
    step
        Optimiser steps done.
    stream
        Position of the cell stream.
    best_value, best_step, stale
        Early stopping: best validation value, its step, validations since.
    side_value, side_step
        Best validation value of the side that does not select, and its step; None and 0 where there is none.
    seconds
        Training time so far.
    records_sha256
        Checksum of the records so far; empty where it is not known.
    recipe_hash, environment
        Identity of the run, and its torch, threads and machine: the same numbers are promised for those alone.
    """

    step: int = 0
    stream: dict[str, Any] | None = None
    best_value: float | None = None
    best_step: int = 0
    stale: int = 0
    side_value: float | None = None
    side_step: int = 0
    seconds: float = 0.0
    recipe_hash: str = ""
    records_sha256: str = ""
    environment: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The folder ``checkpoints/`` of a run.

    Each checkpoint is a folder that appears whole or not at all; ``latest.json`` names the last one, and checksums
    detect damage.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def save(self, state: TrainState, model: nn.Module, weighting: nn.Module, optimizer: torch.optim.Optimizer) -> Path:
        """Write a checkpoint of ``state.step``, then point ``latest.json`` to it, then remove the oldest."""
        path = self._path(state.step)
        with atomic_folder(path) as temporary:
            save_file(_plain(model.state_dict()), temporary / "model.safetensors")
            torch.save(
                {
                    "optimizer": optimizer.state_dict(),
                    "weighting": weighting.state_dict(),
                    "torch_rng": torch.get_rng_state(),
                },
                temporary / "optimizer.pt",
            )
            sums = {name: sha256_file(temporary / name) for name in ("model.safetensors", "optimizer.pt")}
            record = {"state": vars(state), "sha256": sums}
            write_json(temporary / "state.json", {**record, _OWN_HASH: _hash_of(record)})
        write_json(self.folder / "latest.json", {"step": state.step}, checked=True)
        for old in self._steps()[: -self.keep]:
            shutil.rmtree(self._path(old), ignore_errors=True)
        return path

    def latest(self) -> int | None:
        """Step of the last complete checkpoint, or None.

        A damaged ``latest.json`` is reported and skipped: every folder there is complete, so the newest one is taken.
        """
        pointer = self.folder / "latest.json"
        if not pointer.is_file():
            return None
        try:
            step: int = read_json(pointer, what="checkpoint pointer", shape={"step": int})["step"]
            if not self._path(step).is_dir():
                raise UserError(f"checkpoint pointer '{pointer}': names step {step}, which is not there")
        except UserError as error:
            steps = self._steps()
            if not steps:
                raise UserError(f"{error}; no checkpoint is left: remove the run folder and train again") from None
            logger.warning("%s; resuming from the newest checkpoint, %s", error, self._path(steps[-1]).name)
            return steps[-1]
        return step

    def _steps(self) -> list[int]:
        """Steps of the complete checkpoints, in order."""
        names = (path.name.removeprefix("step-") for path in self.folder.glob("step-*") if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal() and len(name) < 20)

    def load(self, step: int, model: nn.Module, weighting: nn.Module, optimizer: torch.optim.Optimizer) -> TrainState:
        """Restore everything from the checkpoint of ``step``.

        Raises
        ------
        UserError
            A file is missing or damaged; the error names the earlier checkpoint.
        """
        path = self._path(step)
        try:
            record = read_json(path / "state.json", what="checkpoint state", shape=_SHAPE)
            sums = record["sha256"]
            if _OWN_HASH in record and record[_OWN_HASH] != _hash_of(record):  # older checkpoints have none
                raise UserError("state.json does not have its own checksum; it is damaged")
            weights = read_tensors(path / "model.safetensors", sha256=sums["model.safetensors"])
            if sha256_file(path / "optimizer.pt") != sums["optimizer.pt"]:
                raise UserError(f"file '{path / 'optimizer.pt'}': damaged (its checksum differs from the one recorded)")
            rest = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
            state = TrainState(**record["state"])
        except (UserError, OSError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise UserError(f"checkpoint '{path}': cannot be read ({error}); {self._advice(step)}") from None
        with understood(f"checkpoint '{path}'", self._advice(step)):
            try:
                model.load_state_dict(weights)
                weighting.load_state_dict(rest["weighting"])
                optimizer.load_state_dict(rest["optimizer"])
                torch.set_rng_state(rest["torch_rng"])
            except RuntimeError as error:
                raise ValueError(f"it does not fit the model: {error}") from None
        return state

    def _advice(self, step: int) -> str:
        earlier = [other for other in self._steps() if other < step]
        if not earlier:
            return "no earlier one is left: remove the run folder and train again"
        pointer = json.dumps({"step": earlier[-1]})
        return f"to resume from {self._path(earlier[-1]).name}, write {pointer} into {self.folder / 'latest.json'}"


def _hash_of(record: dict[str, Any]) -> str:
    """Checksum of all that decides about the numbers; the environment is there for a message alone."""
    state = {name: value for name, value in record["state"].items() if name != "environment"}
    return canonical_hash([state, record["sha256"]], length=64)


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
