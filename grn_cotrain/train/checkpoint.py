"""Atomic, checked, resumable checkpoints: safetensors for weights, JSON for positions, tensors for the optimiser."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, read_json, sha256_file, write_json
from grn_cotrain.model_io import read_tensors

__all__ = ["Checkpoints", "TrainState", "weights_hash"]


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
    seconds
        Training time so far.
    recipe_hash, environment
        What the run was, and torch, threads and machine it ran under: the same numbers are promised for those alone.
    """

    step: int = 0
    stream: dict[str, Any] | None = None
    best_value: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    recipe_hash: str = ""
    environment: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The folder ``checkpoints/`` of a run.

    Each checkpoint is a folder that appears whole or not at all; ``latest.json`` names the last one, and checksums tell
    damage from data.
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
            write_json(temporary / "state.json", {"state": vars(state), "sha256": sums})
        write_json(self.folder / "latest.json", {"step": state.step})
        for old in sorted(self.folder.glob("step-*"))[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        return path

    def latest(self) -> int | None:
        """Step of the last complete checkpoint, or None."""
        pointer = self.folder / "latest.json"
        return int(read_json(pointer, what="checkpoint pointer")["step"]) if pointer.is_file() else None

    def load(self, step: int, model: nn.Module, weighting: nn.Module, optimizer: torch.optim.Optimizer) -> TrainState:
        """Restore everything from the checkpoint of ``step``.

        Raises
        ------
        UserError
            A file is missing or damaged; says which earlier checkpoint there is.
        """
        path = self._path(step)
        try:
            record = read_json(path / "state.json", what="checkpoint state")
            sums = record["sha256"]
            weights = read_tensors(path / "model.safetensors", sha256=sums["model.safetensors"])
            if sha256_file(path / "optimizer.pt") != sums["optimizer.pt"]:
                raise UserError(f"file '{path / 'optimizer.pt'}': damaged (its checksum differs from the one recorded)")
            rest = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
            state = TrainState(**record["state"])
        except (UserError, OSError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise UserError(f"checkpoint '{path}': cannot be read ({error}); {self._advice(step)}") from None
        model.load_state_dict(weights)
        weighting.load_state_dict(rest["weighting"])
        optimizer.load_state_dict(rest["optimizer"])
        torch.set_rng_state(rest["torch_rng"])
        return state

    def _advice(self, step: int) -> str:
        earlier = sorted(p.name for p in self.folder.glob("step-*") if p.name < self._path(step).name)
        if not earlier:
            return "no earlier one is left: remove the run folder and train again"
        pointer = json.dumps({"step": int(earlier[-1][5:])})
        return f"to resume from {earlier[-1]}, write {pointer} into {self.folder / 'latest.json'}"


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
