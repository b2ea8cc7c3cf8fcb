"""Train a recipe in a run folder: the function behind ``grn-cotrain train``."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import grn_cotrain
from grn_cotrain.config import canonical_hash
from grn_cotrain.data.prep_hook import prepared_place
from grn_cotrain.data.run_data import RunData, load_run_data
from grn_cotrain.errors import UserError
from grn_cotrain.files import clear_leftovers, refuse_file
from grn_cotrain.metrics.platt import PLATT_FILE, Calibration
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import add_to_model, read_tensors
from grn_cotrain.provenance import git_commit
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import TRAIN, RunFolder
from grn_cotrain.train.build import build_model, weights_note
from grn_cotrain.train.checkpoint import weights_hash
from grn_cotrain.train.depth import fit_depth
from grn_cotrain.train.environment import deterministic, environment
from grn_cotrain.train.fabric import build_fabric
from grn_cotrain.train.group import Group
from grn_cotrain.train.launchers import Launch, PeerFailed, one_voice
from grn_cotrain.train.loggers import build_loggers
from grn_cotrain.train.probe import fit_probe
from grn_cotrain.train.progress import LogReporter, Reporter
from grn_cotrain.train.stopping import TrainingStopped
from grn_cotrain.train.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["calibrate", "peak_memory_mb", "train"]

_FACTS = ("run_id", "name", "seed", "recipe_hash", "vocab_hash", "cells_hash", "split", "split_hash")
"""Facts about a run that its manifest holds."""


def peak_memory_mb() -> float:
    """Largest resident size of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def train(recipe: Recipe, out: str | Path, *, resume: bool = False, reporter: Reporter | None = None) -> RunFolder:
    """Train ``recipe`` in the folder ``out``.

    Ctrl-C and SIGTERM save a checkpoint after the current step. Where ``torchrun`` started several processes,
    they share every step: the same recipe gives the same numbers up to rounding. Process 0 writes and reports.

    Parameters
    ----------
    recipe
        Resolved recipe.
    out
        Run folder; must be empty or absent unless ``resume``. One process at a time trains in it.
    resume
        Continue from the last checkpoint of ``out``; a finished run is left as it is.
    reporter
        Receives progress.

    Raises
    ------
    UserError
        ``out`` holds something else, or another process trains in it; the recipe or data do not fit, or are not those
        that the run began with; the loss is not finite; this process is one of several that do not know each other.
    TrainingStopped
        A signal came; the message shows how to continue.
    """
    with one_voice(os.environ):
        launch = Launch.of(os.environ, recipe.train)
        run = RunFolder(Path(out))
        refuse_file(run.folder)
        fabric = build_fabric(
            recipe.train.device,
            recipe.train.precision,
            build_loggers(recipe.train.loggers, run.folder) if launch.rank == 0 else [],
            processes=launch.local_size,
            nodes=launch.nodes,
        )
    group = Group(launch.rank, launch.size)
    reporter = (reporter or LogReporter()) if group.is_first else LogReporter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet_unless(group.is_first))
        group.together(lambda: stack.enter_context(run.lock(TRAIN)) if group.is_first else None)
        group.first(lambda: clear_leftovers(run.folder))
        if group.first(lambda: _already_finished(run, recipe, resume, reporter)):
            return run
        with deterministic(recipe.train.deterministic, threads=recipe.train.threads):
            _train(run, recipe, resume, reporter, fabric, group)
    return run


@contextlib.contextmanager
def _quiet_unless(is_first: bool) -> Iterator[None]:
    """Process 0 warns for all: the others would repeat it."""
    before = logging.root.manager.disable
    if not is_first:
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _train(run: RunFolder, recipe: Recipe, resume: bool, reporter: Reporter, fabric: Fabric, group: Group) -> None:
    # Everything that can refuse does so before anything is written.
    before = group.first(lambda: run.record() if run.record_file.is_file() else {})

    def load() -> tuple[RunData, CoTrainNetwork]:
        # A run that continues finds its prepared folder from any working folder, and needs no raw files.
        same = run.find_prep() if resume and "prep" in before else None
        if same is not None and same.content_hash != before["prep"].get("content_hash"):
            same = None
        data = load_run_data(recipe, same)
        return data, build_model(recipe, data)

    # Process 0 first: it prepares the folder and fits closed forms, which the others then find.
    data, model = group.in_turn(load)
    trainer = group.together(lambda: Trainer(recipe, data, model, run, reporter, fabric=fabric, group=group))
    note = weights_note(recipe, data)
    if note is not None:
        reporter.note(note)
    record = _record(recipe, data, trainer)

    def check_same() -> None:
        if before.get("run_id", record["run_id"]) != record["run_id"]:
            raise UserError(
                f"--resume '{run.folder}': its prepared folder '{data.prep.folder}' has other genes, cells or edges now"
                " than when training began; prepare it as it was, or train in another folder"
            )

    group.together(check_same)
    resumed = group.together(trainer.resume) if resume else False

    def begin() -> None:
        run.write_recipe(recipe)
        run.begin({key: record[key] for key in _FACTS})
        run.write_record({**record, "status": "running"})

    group.first(begin)
    with _failure_recorded(run, record, reporter) if group.is_first else contextlib.nullcontext():
        trainer.fit()
        group.first(lambda: _finish(trainer, record, resumed))


def _finish(trainer: Trainer, record: dict[str, Any], resumed: bool) -> None:
    """Fit what is fitted to the trained model, and write what the run was."""
    state, run = trainer.state, trainer.run
    final_hash = weights_hash(trainer.model)
    validation: dict[str, float] | None = None
    if not trainer.schedule.trains_links and trainer.schedule.link_objectives:
        validation = fit_probe(trainer)
    calibrate(trainer)
    fit_depth(trainer)
    run.write_record(
        {
            **record,
            "status": "finished",
            "resumed": resumed,
            "steps": state.step,
            "best_step": state.best_step,
            "best_value": state.best_value,
            "criterion": trainer.validator.criterion,
            "side": trainer.validator.side,
            "side_step": state.side_step,
            "side_value": state.side_value,
            "probe": validation,
            "seconds": round(state.seconds, 2),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "weights_sha256": final_hash,
        }
    )
    run.seal()


@contextlib.contextmanager
def _failure_recorded(run: RunFolder, record: dict[str, Any], reporter: Reporter) -> Iterator[None]:
    """Write into run.json why training ended, if not by itself; the last checkpoint stays as it is."""

    def write(status: str, **more: Any) -> None:
        with contextlib.suppress(UserError, OSError):  # a full disk, perhaps: what happened is what counts
            run.write_record({**record, "status": status, **more})

    try:
        yield
    except KeyboardInterrupt as stopped:
        write("interrupted")
        if not isinstance(stopped, TrainingStopped):  # that one has a message itself
            reporter.note(f"stopped at once; continue from the last checkpoint with: {run.how_to_resume()}")
        raise
    except PeerFailed as failed:
        write("failed", error=failed.text)
        raise
    except Exception as error:
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        write("failed", error=" ".join(text.split()))
        raise


def calibrate(trainer: Trainer) -> Calibration | None:
    """Calibrate the logits of the best model of links on validation pairs, by kind of pair; None without such pairs."""
    pairs = trainer.validator.pairs
    if pairs is None or pairs.labels_M.all() or not pairs.labels_M.any():
        return None
    folder = trainer.run.model_for("links")
    trainer.model.load_state_dict(read_tensors(folder / "model.safetensors"))
    trainer.model.eval()
    with torch.no_grad():
        scores_M = trainer.model.link_logits(trainer.model.encode_graph(), pairs.pairs_2M)
    calibration = Calibration.fit(scores_M, pairs, trainer.data.split, sampled=trainer.validator.sampled)
    if calibration is not None:
        calibration.save(folder / PLATT_FILE)
        add_to_model(folder, PLATT_FILE)
    return calibration


def _already_finished(run: RunFolder, recipe: Recipe, resume: bool, reporter: Reporter) -> bool:
    folder = run.folder
    if run.is_new():
        return False
    if not run.recipe_file.is_file():
        raise UserError(f"--out '{folder}': holds other files; give an empty or new folder")
    if not resume:
        raise UserError(f"--out '{folder}': holds a run already; add --resume to continue it, or give another folder")
    if canonical_hash(run.recipe()) != canonical_hash(recipe):
        raise UserError(f"--resume '{folder}': the run was made by another recipe; resume with its own recipe.yaml")
    if run.is_finished:
        reporter.note(f"{folder} is finished; nothing to do")
        return True
    return False


def _record(recipe: Recipe, data: RunData, trainer: Trainer) -> dict[str, Any]:
    model = trainer.model
    parameters = {
        name: sum(parameter.numel() for parameter in child.parameters()) for name, child in model.named_children()
    }
    return {
        "format_version": 1,
        "name": recipe.name,
        "seed": recipe.seed,
        "schedule": recipe.train.schedule.name,
        "version": grn_cotrain.__version__,
        "commit": git_commit(),
        "recipe_hash": canonical_hash(recipe),
        "vocab_hash": data.vocab.content_hash,
        "cells_hash": data.cells.content_hash,
        "split": data.split.name,
        "split_hash": data.split.content_hash,
        "num_cells": data.cells.num_cells,
        "features": data.vocab.sizes,
        "message_edges": int(data.messages.pairs_2E.shape[1]),
        "parameters": parameters | {"total": sum(p.numel() for p in model.parameters())},
        "environment": environment(str(trainer.fabric.device), processes=trainer.group.size),
        "run_id": trainer.run_id,
        "prep": prepared_place(data.prep, trainer.run.folder, recipe),
    }
