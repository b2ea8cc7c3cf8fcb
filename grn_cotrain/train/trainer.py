"""The training loop: owned, visible, resumable. Fabric brings device, precision, backward, clipping and loggers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.run_data import RunData
from grn_cotrain.errors import UserError
from grn_cotrain.manifest import FITTED_FILES, MODEL_MANIFEST, Manifest
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model, save_model
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train import free_memory
from grn_cotrain.train.checkpoint import Checkpoints, TrainState
from grn_cotrain.train.environment import differences, environment
from grn_cotrain.train.fabric import build_fabric
from grn_cotrain.train.group import ALONE, Group
from grn_cotrain.train.inputs import StepSource
from grn_cotrain.train.launchers import PeerFailed
from grn_cotrain.train.loggers import build_loggers
from grn_cotrain.train.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from grn_cotrain.train.progress import LogReporter, Reporter
from grn_cotrain.train.records import RunRecords
from grn_cotrain.train.schedule import Schedule
from grn_cotrain.train.step import StepInputs, accumulate_gradients, gradient_cosine
from grn_cotrain.train.stopping import Stop, TrainingStopped, stop_at_next_step
from grn_cotrain.train.tally import StepReport
from grn_cotrain.train.validation import Validator
from grn_cotrain.train.weighting import build_weighting

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Trainer", "build_schedule"]


def build_schedule(recipe: Recipe, model: CoTrainNetwork) -> Schedule:
    """The recipe's schedule over the model's objectives; an arm that would train nothing is refused."""
    cells = tuple(name for name, module in model.objectives.items() if module.reads_cells)
    links = tuple(name for name, module in model.objectives.items() if module.reads_links)
    config = recipe.train.schedule
    if not cells and config.plan.trains_cells:
        raise UserError(
            f"train.schedule '{config.name}': the recipe has no cell objective; add masked_value, or use link_only"
        )
    if not links and config.plan.trains_links:
        raise UserError(
            f"train.schedule '{config.name}': the recipe has no link objective; add link_prediction, or use mlm_only"
        )
    return Schedule(recipe.train.schedule, recipe.train.max_steps, cells, links)


class Trainer:
    """Trains one model in one run folder.

    Call inside :func:`grn_cotrain.train.environment.deterministic`, which owns global settings.

    Parameters
    ----------
    recipe, data, model
        The recipe, its data and the model to train.
    run
        Where records, checkpoints and the best model go.
    reporter
        Receives progress.
    fabric
        Where to train; default: on the recipe's device, in this process alone.
    group
        The processes that train together. All hold the same weights; process 0 validates, records and saves.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: RunData,
        model: CoTrainNetwork,
        run: RunFolder,
        reporter: Reporter | None = None,
        *,
        fabric: Fabric | None = None,
        group: Group = ALONE,
    ) -> None:
        self.recipe, self.config, self.data, self.run = recipe, recipe.train, data, run
        self.reporter, self.group = reporter or LogReporter(), group
        self.schedule = build_schedule(recipe, model)
        if fabric is None:
            loggers = build_loggers(self.config.loggers, run.folder)
            fabric = build_fabric(self.config.device, self.config.precision, loggers)
        self.fabric = fabric
        self.model = model.to(fabric.device)
        # A probe starts from these weights: a resumed run may find a fitted probe in its model folder.
        self.initial_decoder = {key: value.clone() for key, value in model.link_decoder.state_dict().items()}
        for part in self.schedule.frozen_parts:
            cells = [*model.encoders.values(), *model.cell_skips.values()]
            for module in cells if part == "cell_encoder" else [getattr(model, part)]:
                module.requires_grad_(False)
        self.weighting = build_weighting(self.config.weighting, tuple(model.objectives)).to(fabric.device)
        self.optimizer = build_optimizer(model, self.weighting, self.config)
        tokenizer = self.model.tokenizer(data.cells)
        self.source = StepSource(recipe, data, model, self.schedule, tokenizer, group=group, device=fabric.device)
        self.model.graph = self.source.graph
        self.validator = Validator(
            data.split,
            tokenizer,
            data.cell_split.validation_C,
            self.schedule,
            tokens_per_batch=self.config.tokens_per_batch,
            seed=recipe.seed,
            select_on=self.config.select_on,
        )
        self.records = RunRecords(run.folder)
        self.checkpoints = Checkpoints(run.checkpoints, keep=self.config.keep_checkpoints)
        about = environment(str(fabric.device), processes=group.size)
        self.state = TrainState(recipe_hash=canonical_hash(recipe), environment=about)

    @property
    def run_id(self) -> str:
        """Hash of all that decides about the run: equal runs have one id, so that equal runs write equal files."""
        data = self.data
        hashes = (data.vocab.content_hash, data.cells.content_hash, data.split.content_hash)
        return canonical_hash([self.state.recipe_hash, *hashes])

    def resume(self) -> bool:
        """Load the last checkpoint; False where there is none yet. Reports a changed environment."""
        step = self.checkpoints.latest()
        if step is None:
            if self.group.is_first:
                self.records.cut_after(-1)
            return False
        recipe_hash, now = self.state.recipe_hash, self.state.environment
        self.state = self.checkpoints.load(step, self.model, self.weighting, self.optimizer)
        if self.state.recipe_hash != recipe_hash:
            raise UserError(
                f"--resume '{self.run.folder}': its checkpoint belongs to another recipe; use another --out"
            )
        if self.state.stream is not None:
            self.source.stream.load_state_dict(self.state.stream)
        if self.group.is_first:
            self._check_best()
            self.records.cut_after(step, sha256=self.state.records_sha256)
        changed = differences(self.state.environment, now)
        if changed:
            self.reporter.note(
                f"resumed under another environment ({'; '.join(changed)}): the numbers continue, but not bit for bit"
            )
        self.state.environment = now
        return True

    def _check_best(self) -> None:
        """Refuse a best model that another program changed: a run that continues keeps it until a better one comes.

        Files that are fitted to the weights are left: they are fitted again at the end, and a kill may fall between
        them and the manifest.
        """
        for model in self.run.model_folders:
            if not (model / MODEL_MANIFEST).is_file():  # an earlier version wrote it: its config.json has checksums
                load_model(model)
                continue
            Manifest.check_model(model, leave=FITTED_FILES)
            found = Manifest.read(model / MODEL_MANIFEST).facts.get("run_id")
            if found != self.run_id:
                raise UserError(
                    f"--resume '{self.run.folder}': {model.name}/ belongs to another run ({found}, this is run"
                    f" {self.run_id}); copy the run again, or train in another folder"
                )

    def fit(self) -> TrainState:
        """Train to ``max_steps``, ``patience`` or ``max_minutes``; the best model by validation is in ``model/``.

        Raises
        ------
        TrainingStopped
            Ctrl-C or SIGTERM came; the current step is finished and a checkpoint is saved.
        """
        config, state, group = self.config, self.state, self.group
        self.reporter.start(f"train {self.recipe.name}", total=config.max_steps, done=state.step)
        started = time.monotonic() - state.seconds
        try:
            with stop_at_next_step(quiet=not group.is_first) as stop:
                while state.step < config.max_steps and not group.first(lambda: self._should_stop(started)):
                    self.one_step(state.step)
                    state.step += 1
                    if state.step % free_memory.EVERY == 0:
                        free_memory.trim()
                    if state.step % config.validate_every == 0 or state.step == config.max_steps:
                        group.first(self._validate)
                    signals = [number for number in group.gather(stop.number) if number is not None]
                    due = state.step % config.checkpoint_every == 0 or state.step == config.max_steps
                    if due or signals:
                        group.first(lambda: self._save_checkpoint(started))
                    if signals:
                        self._stopped(signals[0])
            group.first(self._validate_if_never)
            state.seconds = time.monotonic() - started
        except BaseException:
            if group.is_first:
                with contextlib.suppress(UserError, OSError):  # on a full disk, report what could not be written first
                    self.records.write_csv()
            raise
        else:
            group.first(self.records.write_csv)
        finally:
            self.reporter.close()
        return state

    def _save_checkpoint(self, started: float) -> None:
        state = self.state
        state.seconds = time.monotonic() - started
        state.stream, state.records_sha256 = self.source.stream.state_dict(), self.records.sha256
        self.checkpoints.save(state, self.model, self.weighting, self.optimizer)

    def _stopped(self, number: int) -> None:
        text = (
            f"stopped by {Stop(number).by} after step {self.state.step:,} of {self.config.max_steps:,}, and a"
            f" checkpoint was saved; continue with: {self.run.how_to_resume()}"
        )
        stopped = TrainingStopped(number, text)
        if not self.group.is_first:
            raise PeerFailed(stopped.exit_code, text)
        raise stopped

    def _validate_if_never(self) -> None:
        """The run was stopped before any validation, or its best model was removed."""
        if self.state.best_value is None or not self.run.has_model:
            self.state.best_value = None
            self._validate()

    def _should_stop(self, started: float) -> bool:
        if self.state.stale >= self.config.patience and self.schedule.may_stop(self.state.step):
            self.reporter.note(f"stopped early at step {self.state.step}: no better validation in {self.state.stale}")
            return True
        limit = self.config.max_minutes
        if limit is not None and time.monotonic() - started > 60 * limit:
            self.reporter.note(f"stopped at step {self.state.step}: train.max_minutes = {limit} is over")
            return True
        return False

    def one_step(self, step: int) -> None:
        """Forward, backward, update; every process of the group ends with the same weights."""
        config, group = self.config, self.group
        began = time.monotonic()
        factor = learning_rate_factor(step, warmup_steps=config.warmup_steps, max_steps=config.max_steps)
        set_learning_rate(self.optimizer, factor)
        active = self.schedule.active(step)
        inputs = group.together(lambda: self.source.inputs(step, active))
        self.source.seed_dropout(step, 0)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self.fabric.autocast():
            report = accumulate_gradients(
                self.model, self.weighting, inputs, active, step, backward=self.fabric.backward, group=group
            )
        norm = group.together(lambda: self._update(step, report))
        seconds = time.monotonic() - began
        rates = {
            "cells_per_second": report.num_cells / seconds,
            "tokens_per_second": report.num_tokens / seconds,
        }

        def tell() -> None:
            record: dict[str, Any] = dict(rates)
            if (step + 1) % config.log_every == 0 or step == 0:
                record |= self._log(step, factor, report, norm, inputs, active, rates)
            self.reporter.step(step + 1, {**record, **{f"loss/{k}": v for k, v in report.losses.items()}})

        group.first(tell)

    def _update(self, step: int, report: StepReport) -> float:
        """Clip the gradient and take the optimiser's step; returns the norm before clipping."""
        _check_finite(report, step)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.clip_norm))
        if not math.isfinite(norm):
            raise UserError(
                f"step {step}: the gradient is {norm}; lower train.learning_rate, or look for infinite values in the"
                " data"
            )
        self.optimizer.step()
        return norm

    def _log(
        self,
        step: int,
        factor: float,
        report: StepReport,
        norm: float,
        inputs: StepInputs,
        active: frozenset[str],
        rates: dict[str, float],
    ) -> dict[str, Any]:
        values: dict[str, Any] = {
            "learning_rate": factor * self.config.learning_rate,
            "gradient_norm": norm,
            **{f"loss/{name}": value for name, value in report.losses.items()},
            **report.parts,
            **{f"weight/{k}": v for k, v in self.weighting.current(sorted(active), step).items()},
        }
        if (step + 1) % self.config.gradient_cosine_every == 0:
            with self.fabric.autocast():
                values |= gradient_cosine(self.model, inputs, active)
        self._write("train", step + 1, {**values, **rates})
        return values

    def _validate(self) -> None:
        state = self.state
        with self.fabric.autocast():
            metrics = self.validator(self.model)
        value = metrics.get(self.validator.criterion, float("nan"))
        # Before the selecting phase (pretrain_then_link) no value is kept, so the latest model stands in as best.
        better = state.best_value is None or value > state.best_value
        if better:
            selecting = self.schedule.may_stop(state.step - 1)
            state.best_value = value if selecting and math.isfinite(value) else None
            state.best_step, state.stale = state.step, 0
            self.save_best(metrics)
        else:
            state.stale += 1
        steps = {"best_step": state.best_step} | self._keep_side(metrics)
        self._write("validation", state.step, {**metrics, **steps})
        self.reporter.note(
            f"step {state.step}: {self.validator.criterion} {value:.4f} (best at step {state.best_step})"
        )
        # validation/cells/OBJECTIVE/METRIC: an objective's own metrics; losses and link metrics are one level up.
        told = [f"{key.split('/', 3)[3]} {metrics[key]:.3f}" for key in metrics if key.count("/") == 3]
        share = metrics.get("validation/links/learned_share")
        told += [] if share is None else [f"share of the learned part of links {share:g}"]
        if told:
            self.reporter.note(f"  {', '.join(told)}")

    def _keep_side(self, metrics: dict[str, float]) -> dict[str, int]:
        """Keep the best model of the side that does not select; returns its step for the record."""
        state, side = self.state, self.validator.side
        if side is None:
            return {}
        value = metrics[f"validation/{side}/selection"]
        lost = not (self.run.side_model(side) / "config.json").is_file()
        if lost or (math.isfinite(value) and (state.side_value is None or value > state.side_value)):
            state.side_value, state.side_step = (value if math.isfinite(value) else None), state.step
            self.save_best(metrics, to=self.run.side_model(side))
        return {"side_step": state.side_step}

    def save_best(self, metrics: dict[str, float], *, to: Path | None = None, **more: Any) -> None:
        """Write the model folder, or another one."""
        save_model(
            to or self.run.model,
            self.model,
            backend=self.recipe.graph.backend,
            meta={
                "step": self.state.step,
                "run_id": self.run_id,
                "recipe_hash": self.state.recipe_hash,
                "values": self.data.cells.kind,
                "kinds": {name: assay.kind for name, assay in self.data.cells.assays.items()},
                "split": self.data.split.name,
                "split_hash": self.data.split.content_hash,
                "schedule": self.recipe.train.schedule.name,
                "links": "trained" if self.schedule.trains_links else "probe",
                "validation": {key: value if math.isfinite(value) else None for key, value in metrics.items()},
                **more,
            },
        )

    def _write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        self.records.append({"step": step, "kind": kind, **values})
        numbers = {key: value for key, value in values.items() if isinstance(value, (int, float))}
        if self.fabric.loggers:
            self.fabric.log_dict(numbers, step=step)


def _check_finite(report: StepReport, step: int) -> None:
    bad: Sequence[str] = [name for name, value in report.losses.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"step {step}: loss {', '.join(bad)} is {report.losses[bad[0]]}; lower train.learning_rate, or look for"
            " infinite values in the data"
        )
