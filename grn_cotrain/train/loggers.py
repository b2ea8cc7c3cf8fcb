"""Optional experiment loggers in addition to the JSONL and CSV records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grn_cotrain.errors import MissingExtraError

__all__ = ["build_loggers"]


def build_loggers(names: Sequence[str], folder: Path) -> list[Any]:
    """TensorBoard and Weights & Biases loggers by name; a missing package is named with its install command."""
    loggers: list[Any] = []
    for name in names:
        try:
            if name == "tensorboard":
                from lightning_fabric.loggers import TensorBoardLogger

                loggers.append(TensorBoardLogger(root_dir=folder / "tensorboard", name="", version=""))
            else:
                from pytorch_lightning.loggers import WandbLogger

                loggers.append(WandbLogger(name=folder.name, save_dir=folder, offline=True))
        except (ImportError, ModuleNotFoundError):
            raise MissingExtraError(f"train.loggers '{name}': not installed; pip install {name}") from None
    return loggers
