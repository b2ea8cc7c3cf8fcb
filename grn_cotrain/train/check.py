"""Try a recipe for a few steps: what ``grn-cotrain check`` prints."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.assays import assay_notes
from grn_cotrain.data.leakage import LeakReport, audit
from grn_cotrain.data.power import cells_and_depth, power_note
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.split_checks import density_note, split_warnings
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.build import build_model, weights_note
from grn_cotrain.train.environment import deterministic
from grn_cotrain.train.loggers import build_loggers
from grn_cotrain.train.run import calibrate, peak_memory_mb
from grn_cotrain.train.step import gradient_cosine
from grn_cotrain.train.trainer import Trainer

__all__ = ["CheckReport", "check_recipe"]

_REHEARSAL_STEPS = 20
_REHEARSAL_SECONDS = 10.0


@dataclass(frozen=True)
class CheckReport:
    """Cost of a run of the recipe.

    ``features`` counts those of each modality in words; ``tokens_per_epoch`` and ``tokens_per_cell`` (median) count CLS
    tokens; ``minutes`` is an estimate from the timed steps; ``memory_mb`` is the peak of a rehearsal of all that a run
    does; ``notes`` are lines on edge weights and on how dense the candidates are; ``warnings`` name what makes the
    run's numbers weak; ``cells_and_depth`` is what :func:`~grn_cotrain.data.power.cells_and_depth` finds.
    """

    num_cells: int
    features: str
    num_train_edges: int
    num_parameters: int
    tokens_per_epoch: int
    tokens_per_cell: int
    steps_per_epoch: float
    seconds_per_step: float
    minutes: float
    memory_mb: float
    split_summary: str
    audit: LeakReport
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cells_and_depth: tuple[int, float | None] | None = None


def check_recipe(recipe: Recipe, *, timed_steps: int = 2) -> CheckReport:
    """Parse, load, align, audit, run one step plus ``timed_steps`` that are timed, and rehearse the rest of a run.

    Nothing is kept.
    """
    with (
        deterministic(recipe.train.deterministic, threads=recipe.train.threads),
        tempfile.TemporaryDirectory(prefix="grn-cotrain-check-") as folder,
    ):
        data = load_run_data(recipe)
        # Later needs of a run are checked too: a missing logger, a misspelt control.
        build_loggers(recipe.train.loggers, Path(folder))
        parse_controls(recipe.evaluate.controls)
        model = build_model(recipe, data)
        steps = min(recipe.train.max_steps, 1 + timed_steps)
        short = replace(
            recipe,
            train=replace(recipe.train, checkpoint_every=10**9, validate_every=10**9, loggers=(), log_every=10**9),
        )
        trainer = Trainer(short, data, model, RunFolder(Path(folder)))
        seconds = [_seconds_of(partial(trainer.one_step, step)) for step in range(steps)]
        # The first validation also does what a run does once, so it counts once.
        once, validation = (_seconds_of(lambda: trainer.validator(model)) for _ in range(2))
        _rehearse(trainer, steps)
    lengths_C = model.tokenizer(data.cells).lengths_C[data.cell_split.train_C]
    tokens = int(lengths_C.sum())
    per_step = float(np.median(seconds[1:] or seconds))
    validations = recipe.train.max_steps / recipe.train.validate_every
    notes = (weights_note(recipe, data), density_note(data.split), power_note(data.cells))
    return CheckReport(
        num_cells=data.cells.num_cells,
        features=data.vocab.counted,
        num_train_edges=int(data.split.train_2E.shape[1]),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        tokens_per_epoch=tokens,
        tokens_per_cell=int(np.median(lengths_C)),
        steps_per_epoch=_batches(recipe, tokens, len(lengths_C)) / recipe.train.accumulate,
        seconds_per_step=per_step,
        minutes=(per_step * recipe.train.max_steps + validation * validations + max(0.0, once - validation)) / 60,
        memory_mb=peak_memory_mb(),
        split_summary=data.split.summary(),
        audit=audit(data.split, data.messages.pairs_2E, control_graph=recipe.graph.messages != "true"),
        notes=(
            *assay_notes(data.cells.assays),
            *(note for note in notes if note is not None),
        ),
        warnings=split_warnings(data.split),
        cells_and_depth=cells_and_depth(data.cells),
    )


def _seconds_of(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _rehearse(trainer: Trainer, done: int) -> None:
    """Do what a run does in addition to plain steps, since its peak of memory may occur there.

    Cosines between gradients keep the graphs of all objectives at once, and a checkpoint copies every state. Batches
    differ in shape, so memory is held in more and more pieces: some more steps show most of that growth.
    """
    recipe, model = trainer.recipe, trainer.model
    if recipe.train.gradient_cosine_every <= recipe.train.max_steps:
        active = trainer.schedule.active(max(0, recipe.train.max_steps - 1))
        with trainer.fabric.autocast():
            model.train()
            gradient_cosine(model, trainer.source.inputs(done, active), active)
    trainer.checkpoints.save(trainer.state, model, trainer.weighting, trainer.optimizer)
    trainer.save_best({})
    calibrate(trainer)
    until = time.monotonic() + _REHEARSAL_SECONDS
    for step in range(done, min(recipe.train.max_steps, done + _REHEARSAL_STEPS)):
        if time.monotonic() > until:
            break
        trainer.one_step(step)


def _batches(recipe: Recipe, num_tokens: int, num_cells: int) -> float:
    """Micro-batches an epoch, by whichever bound cuts first."""
    by_tokens = num_tokens / recipe.train.tokens_per_batch
    return max(by_tokens, num_cells / (recipe.train.cells_per_batch or num_cells))
