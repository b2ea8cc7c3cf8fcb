"""The ``train`` block of a recipe: optimisation, and which losses act when. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from grn_cotrain.config import require, require_number

__all__ = ["SCHEDULES", "Plan", "Reading", "ScheduleConfig", "TrainConfig", "WeightingConfig"]


@dataclass(frozen=True)
class Plan:
    """Meaning of a schedule, for everyone who asks.

    Attributes
    ----------
    trains_cells
        Whether any step trains masked values, so that a held-out R2 means something.
    trains_links
        Whether any step trains the link decoder; if not, links are scored by a probe that is fitted afterwards.
    frozen_parts
        Attributes of the model that keep their initial weights.
    takes_turns
        Cell objectives and link objectives act in turns.
    pretrains
        Cell objectives act alone in the first steps, link objectives alone after them.
    loops
        Before the first step, predicted links and regulon factors support each other in rounds.
    """

    trains_cells: bool = True
    trains_links: bool = True
    frozen_parts: tuple[str, ...] = ()
    takes_turns: bool = False
    pretrains: bool = False
    loops: bool = False


Reading = Literal["factors", "log_p", "no_edges", "rewired_edges", "permuted_cells"]
"""Names of what regulon factors are fitted to."""

SCHEDULES: dict[str, Plan] = {
    "joint": Plan(),
    "loop": Plan(loops=True),
    "alternating": Plan(takes_turns=True),
    "mlm_only": Plan(trains_links=False),
    "link_only": Plan(trains_cells=False),
    "pretrain_then_link": Plan(pretrains=True),
    "frozen_graph": Plan(frozen_parts=("graph_encoder",)),
    "frozen_cells": Plan(frozen_parts=("cell_encoder",)),
}
"""Schedules by name."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Which losses act when.

    Attributes
    ----------
    name
        Name of the schedule; the table of schedules describes each.
    pretrain_share
        Share of the steps that ``pretrain_then_link`` spends on cells alone.
    alternate_every
        Steps a turn of ``alternating``.
    rounds
        Rounds of ``loop``; the other schedules have one pass and no round.
    reads
        Input of each pass, of ``loop`` and of one pass alike: ``factors``, or a baseline that shows the source of a
        gain. ``log_p``: the log-odds of the round before alone; ``no_edges``: activities from the TFs' own
        transcripts; ``rewired_edges``: other edges with the same degrees; ``permuted_cells``: expression without
        co-variation.
    """

    name: Literal[
        "joint", "loop", "alternating", "mlm_only", "link_only", "pretrain_then_link", "frozen_graph", "frozen_cells"
    ] = "joint"
    pretrain_share: float = 0.5
    alternate_every: int = 1
    rounds: int = 2
    reads: Reading = "factors"

    def __post_init__(self) -> None:
        require(0 < self.pretrain_share < 1, f"pretrain_share: got {self.pretrain_share}; give a share between 0 and 1")
        require(self.alternate_every >= 1, f"alternate_every: got {self.alternate_every}; give at least 1")
        require(self.rounds >= 1, f"rounds: got {self.rounds}; give at least 1, or the schedule joint for one pass")

    @property
    def plan(self) -> Plan:
        """Meaning of the schedule."""
        return SCHEDULES[self.name]

    @property
    def evidence_settings(self) -> dict[str, dict[str, object]]:
        """Options of the controls that a decoder starts from, as far as the schedule decides them."""
        return {"regulon_loop": {"rounds": self.rounds if self.plan.loops else 0, "reads": self.reads}}


@dataclass(frozen=True, kw_only=True)
class WeightingConfig:
    """Loss weights: ``fixed``; ``scheduled`` (from ``start`` to ``weights`` in ``steps``); ``uncertainty``.

    Attributes
    ----------
    name
        How losses are weighted. ``uncertainty`` learns the weights.
    weights
        Objective -> weight; 1 where none is given. Not read by ``uncertainty``.
    start
        ``scheduled`` only: objective -> weight at the first step; the final weight where none is given.
    steps
        ``scheduled`` only: optimiser steps from ``start`` to ``weights``.
    """

    name: Literal["fixed", "scheduled", "uncertainty"] = "fixed"
    weights: dict[str, float] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    steps: int = 100


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation: ``max_steps`` optimiser steps of ``accumulate`` micro-batches of ``tokens_per_batch`` tokens.

    Attributes
    ----------
    max_steps
        Optimiser steps; the length of the learning-rate schedule too.
    tokens_per_batch
        Tokens of a micro-batch: cells are packed until it is full.
    cells_per_batch
        Most cells of a micro-batch; null: as many as the tokens allow. With tokens to spare, encoders that read a cell
        by different tokens see the same cells in the same batches.
    accumulate
        Micro-batches of cells a step, over all devices. The graph is encoded once for all of them, and every hidden
        token of the step counts alike.
    learning_rate
        AdamW's peak rate, after warm-up; a cosine then takes it to a twentieth.
    table_learning_rate
        Rate of the gene table; null: ``learning_rate``.
    weight_decay
        Weight decay of matrices; the table, biases and norms do not decay.
    warmup_steps
        Steps of linear warm-up.
    clip_norm
        Largest norm of the gradient.
    precision
        ``bf16`` computes cells in half precision; the graph stays in float32.
    device
        ``cpu``, or ``cuda`` where there is a GPU.
    threads
        CPU threads of torch; null leaves torch's own choice.
    devices
        Number of processes that share every step; null: as many as the launcher (``torchrun``) started, one without it.
    strategy
        How several processes train together. ``ddp``: each has the whole model and a share of the micro-batches;
        ``auto`` is the same where there are several.
    deterministic
        Whether to use deterministic algorithms alone: the same seed then gives the same numbers on one machine.
    validate_every
        Steps from validation to validation.
    patience
        Validations without a better one before the run stops early.
    select_on
        Side whose validation metric picks the checkpoint; ``auto``: links where the schedule trains them.
    checkpoint_every
        Steps from checkpoint to checkpoint; ``--resume`` continues from the last.
    keep_checkpoints
        Checkpoints that are kept, the latest ones.
    log_every
        Steps from record to record in ``metrics.jsonl``.
    gradient_cosine_every
        Steps from one cosine between the losses' gradients on the table to the next.
    max_minutes
        Stop after this time; null: no limit.
    loggers
        Loggers that receive metrics in addition to the run folder.
    schedule
        Which losses act when.
    weighting
        How losses are weighted.
    """

    max_steps: int = 300
    tokens_per_batch: int = 8192
    cells_per_batch: int | None = None
    accumulate: int = 1
    learning_rate: float = 4e-3
    table_learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup_steps: int = 20
    clip_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "cpu"
    devices: int | None = None
    strategy: Literal["auto", "ddp"] = "auto"
    threads: int | None = None
    deterministic: bool = True
    validate_every: int = 50
    patience: int = 5
    select_on: Literal["auto", "links", "cells"] = "auto"
    checkpoint_every: int = 50
    keep_checkpoints: int = 2
    log_every: int = 10
    gradient_cosine_every: int = 50
    max_minutes: float | None = None
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    weighting: WeightingConfig = field(default_factory=WeightingConfig)

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "tokens_per_batch",
            "cells_per_batch",
            "accumulate",
            "validate_every",
            "patience",
            "checkpoint_every",
            "keep_checkpoints",
            "log_every",
            "gradient_cosine_every",
        ):
            require_number(self, name, "at least 1", lambda value: value >= 1)
        require_number(self, "devices", "at least 1", lambda value: value >= 1)
        require_number(self, "threads", "1 to 1024", lambda value: 1 <= value <= 1024)
        for name in ("learning_rate", "table_learning_rate", "clip_norm", "max_minutes"):
            require_number(self, name, "a positive number", lambda value: value > 0)
        for name in ("weight_decay", "warmup_steps"):
            require_number(self, name, "0 or more", lambda value: value >= 0)
