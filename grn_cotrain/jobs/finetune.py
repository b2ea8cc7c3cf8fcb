"""Options of fine-tuning a model for cell types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grn_cotrain.config import ComponentSpec, require_number
from grn_cotrain.jobs.read import ReadOptions
from grn_cotrain.options import Options, option, pair, seed_option

__all__ = ["FinetuneConfig", "FreezeLevel", "LabelOptions"]

FreezeLevel = Literal["none", "embeddings", "first_block", "encoder"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Options):
    """How a model is fine-tuned."""

    head: ComponentSpec = option(
        factory=lambda: ComponentSpec("cls_mlp"),
        help="Classification head; `grn-cotrain list head` lists them.",
        parse=ComponentSpec,
    )
    freeze: FreezeLevel = option(
        "first_block", "Parts that are not trained: none, embeddings, first_block (as scMBERT) or encoder."
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "Weights in the loss: none (every cell weighs the same) or balanced (every class weighs the same)."
    )
    epochs: int = option(50, "Maximum number of passes over the training cells.")
    patience: int = option(10, "Number of epochs without a lower validation loss after which training stops.")
    learning_rate: float = option(1e-3, "Peak learning rate of AdamW; it decreases along a cosine over the epochs.")
    table_learning_rate: float | None = option(
        None, "Learning rate of the gene table, if it is trained; default: learning_rate."
    )
    weight_decay: float = option(0.01, "Weight decay of the encoder's matrices.")
    clip_norm: float = option(1.0, "Largest norm of the gradient.")
    cells_per_batch: int = option(32, "Maximum number of cells of a step.")
    tokens_per_batch: int = option(32_768, "Maximum number of tokens of a step.")
    device: str = option("cpu", "Device: cpu or cuda.")
    seed: int = seed_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "patience", "cells_per_batch", "tokens_per_batch"):
            require_number(self, name, "at least 1", lambda value: value >= 1)
        for name in ("learning_rate", "table_learning_rate", "clip_norm"):
            require_number(self, name, "a positive number", lambda value: value > 0)
        require_number(self, "weight_decay", "0 or more", lambda value: value >= 0)


@dataclass(frozen=True, kw_only=True)
class LabelOptions(ReadOptions):
    """Label that is learned, and the cells that judge it."""

    label: str = option(help="Column of obs with the type of each cell.", metavar="OBS")
    test: float = option(0.2, "Share of each class to test on, if no test group is given.")
    validation: float = option(0.1, "Share of each class of the other cells that selects the epoch.")
    test_by: tuple[str, str] | None = option(
        None, "Group to test on: all cells of one batch or donor.", metavar="COLUMN=VALUE", parse=pair
    )
    bootstrap: int = option(1000, "Number of bootstrap replicates of the intervals; 0: none.", low=0)
