"""The training loop: owned, visible, resumable. Fabric brings device, precision, backward, clipping and loggers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from grn_cotrain.config import canonical_hash
from grn_cotrain.data.negatives import LinkSampler
from grn_cotrain.data.run_data import RunData
from grn_cotrain.data.streams import CellStream
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.platt import PLATT_FILE
from grn_cotrain.manifest import MODEL_MANIFEST, Manifest
from grn_cotrain.model import CoTrainModel
from grn_cotrain.model_io import load_model, save_model
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train import free_memory
from grn_cotrain.train.checkpoint import Checkpoints, TrainState
from grn_cotrain.train.environment import differences, environment
from grn_cotrain.train.fabric import build_fabric
from grn_cotrain.train.loggers import build_loggers
from grn_cotrain.train.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from grn_cotrain.train.progress import LogReporter, Reporter
from grn_cotrain.train.records import RunRecords
from grn_cotrain.train.schedule import Schedule
from grn_cotrain.train.seeds import Purpose, numpy_generator, step_seed, torch_generator
from grn_cotrain.train.step import StepInputs, StepReport, accumulate_gradients, gradient_cosine
from grn_cotrain.train.stopping import TrainingStopped, stop_at_next_step
from grn_cotrain.train.validation import Validator
from grn_cotrain.train.weighting import build_weighting

__all__ = ["Trainer", "build_schedule"]


def build_schedule(recipe: Recipe, model: CoTrainModel) -> Schedule:
    """The recipe's schedule over the model's objectives; an arm that would train nothing is refused."""
    cells = tuple(name for name, module in model.objectives.items() if module.reads_cells)
    links = tuple(name for name, module in model.objectives.items() if module.reads_links)
    name = recipe.train.schedule.name
    if not cells and name != "link_only":
        raise UserError(
            f"train.schedule '{name}': the recipe has no cell objective; add masked_value, or use link_only"
        )
    if not links and name != "mlm_only":
        raise UserError(
            f"train.schedule '{name}': the recipe has no link objective; add link_prediction, or use mlm_only"
        )
    return Schedule(recipe.train.schedule, recipe.train.max_steps, cells, links)


class Trainer:
    """Trains one model in one run folder.

    Call inside :func:`grn_cotrain.train.environment.deterministic`, which owns global settings.

    Parameters
    ----------
    recipe, data, model
        What to train, on what.
    run
        Where records, checkpoints and the best model go.
    reporter
        Told of progress.
    """

    def __init__(
        self, recipe: Recipe, data: RunData, model: CoTrainModel, run: RunFolder, reporter: Reporter | None = None
    ) -> None:
        self.recipe, self.config, self.data, self.run = recipe, recipe.train, data, run
        self.reporter = reporter or LogReporter()
        self.schedule = build_schedule(recipe, model)
        loggers = build_loggers(self.config.loggers, run.folder)
        self.fabric = build_fabric(self.config.device, self.config.precision, loggers)
        self.model = model.to(self.fabric.device)
        self.graph = model.graph.to(self.fabric.device)
        self.model.graph = self.graph
        # What a probe starts from; kept apart, since a resumed run may find a fitted probe in its model folder.
        self.initial_decoder = {key: value.clone() for key, value in model.link_decoder.state_dict().items()}
        for part in self.schedule.frozen_parts:
            getattr(model, part).requires_grad_(False)
        self.weighting = build_weighting(self.config.weighting, tuple(model.objectives)).to(self.fabric.device)
        self.optimizer = build_optimizer(model, self.weighting, self.config)
        tokenizer = self.model.tokenizer(data.cells)
        self.stream = CellStream(
            tokenizer,
            data.cell_split.train_C,
            tokens_per_batch=self.config.tokens_per_batch,
            cells_per_batch=self.config.cells_per_batch,
            seed=recipe.seed,
        )
        self.sampler = self.build_sampler() if self.schedule.trains_links else None
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
        self.state = TrainState(recipe_hash=canonical_hash(recipe), environment=environment(str(self.fabric.device)))

    @property
    def run_id(self) -> str:
        """Hash of all that decides about the run: equal runs have one id, so that equal runs write equal files."""
        data = self.data
        hashes = (data.vocab.content_hash, data.cells.content_hash, data.split.content_hash)
        return canonical_hash([self.state.recipe_hash, *hashes])

    def build_sampler(self) -> LinkSampler:
        """Sampler of the supervision that the first link objective asks for."""
        config = self.model.objective(self.schedule.link_objectives[0]).config
        return LinkSampler(
            self.data.split,
            mode=config.mode,
            positives_per_step=config.positives_per_step,
            negatives_per_positive=config.negatives_per_positive,
            source_share=config.source_share,
        )

    def resume(self) -> bool:
        """Load the last checkpoint; False where there is none yet. Says so if the environment has changed."""
        step = self.checkpoints.latest()
        if step is None:
            self.records.cut_after(-1)
            return False
        recipe_hash, now = self.state.recipe_hash, self.state.environment
        self.state = self.checkpoints.load(step, self.model, self.weighting, self.optimizer)
        if self.state.recipe_hash != recipe_hash:
            raise UserError(
                f"--resume '{self.run.folder}': its checkpoint belongs to another recipe; use another --out"
            )
        self._check_best()
        if self.state.stream is not None:
            self.stream.load_state_dict(self.state.stream)
        self.records.cut_after(step, sha256=self.state.records_sha256)
        changed = differences(self.state.environment, now)
        if changed:
            self.reporter.note(
                f"resumed under another environment ({'; '.join(changed)}): the numbers go on, but not bit for bit"
            )
        self.state.environment = now
        return True

    def _check_best(self) -> None:
        """Refuse a best model that another hand changed: a run that goes on keeps it until a better one comes.

        platt.json is left: it is fitted again at the end, and a kill may fall between it and the manifest.
        """
        model = self.run.model
        if not self.run.has_model:
            return
        if not (model / MODEL_MANIFEST).is_file():  # an earlier version wrote it: its config.json has checksums
            load_model(model)
            return
        Manifest.check_model(model, leave=(PLATT_FILE,))
        found = Manifest.read(model / MODEL_MANIFEST).facts.get("run_id")
        if found != self.run_id:
            raise UserError(
                f"--resume '{self.run.folder}': model/ belongs to another run ({found}, this is run {self.run_id});"
                " copy the run again, or train in another folder"
            )

    def fit(self) -> TrainState:
        """Train to ``max_steps``, ``patience`` or ``max_minutes``; the best model by validation is in ``model/``.

        Raises
        ------
        TrainingStopped
            Ctrl-C or SIGTERM came; the step that was going on is finished and a checkpoint is saved.
        """
        config, state = self.config, self.state
        self.reporter.start(f"train {self.recipe.name}", total=config.max_steps, done=state.step)
        started = time.monotonic() - state.seconds
        try:
            with stop_at_next_step() as stop:
                while state.step < config.max_steps and not self._should_stop(started):
                    self.one_step(state.step)
                    state.step += 1
                    if state.step % free_memory.EVERY == 0:
                        free_memory.trim()
                    if state.step % config.validate_every == 0 or state.step == config.max_steps:
                        self._validate()
                    due = state.step % config.checkpoint_every == 0 or state.step == config.max_steps
                    if due or stop.number is not None:
                        state.seconds = time.monotonic() - started
                        state.stream, state.records_sha256 = self.stream.state_dict(), self.records.sha256
                        self.checkpoints.save(state, self.model, self.weighting, self.optimizer)
                    if stop.number is not None:
                        raise TrainingStopped(
                            stop.number,
                            f"stopped by {stop.by} after step {state.step:,} of {config.max_steps:,}, and a checkpoint"
                            f" was saved; go on with: {self.run.how_to_resume()}",
                        )
            if state.best_value is None or not self.run.has_model:  # stopped before any validation; or it was removed
                state.best_value = None
                self._validate()
            state.seconds = time.monotonic() - started
        except BaseException:
            with contextlib.suppress(UserError, OSError):  # on a full disk, what could not be written first is told
                self.records.write_csv()
            raise
        else:
            self.records.write_csv()
        finally:
            self.reporter.close()
        return state

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
        config = self.config
        began = time.monotonic()
        factor = learning_rate_factor(step, warmup_steps=config.warmup_steps, max_steps=config.max_steps)
        set_learning_rate(self.optimizer, factor)
        active = self.schedule.active(step)
        inputs = self._inputs(step, active)
        torch.manual_seed(step_seed(self.recipe.seed, step, Purpose.DROPOUT))
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self.fabric.autocast():
            report = accumulate_gradients(
                self.model, self.weighting, inputs, active, step, backward=self.fabric.backward
            )
        _check_finite(report, step)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        if not torch.isfinite(norm):
            raise UserError(
                f"step {step}: the gradient is {float(norm)}; lower train.learning_rate, or look for"
                " infinite values in the data"
            )
        self.optimizer.step()
        seconds = time.monotonic() - began
        record: dict[str, Any] = {
            "cells_per_second": report.num_cells / seconds,
            "tokens_per_second": report.num_tokens / seconds,
        }
        if (step + 1) % config.log_every == 0 or step == 0:
            record |= self._log(step, factor, report, float(norm), inputs, active, record)
        self.reporter.step(step + 1, {**record, **{f"loss/{k}": v for k, v in report.losses.items()}})

    def _inputs(self, step: int, active: frozenset[str]) -> StepInputs:
        seed, device = self.recipe.seed, self.fabric.device
        links, graph = None, self.graph
        if self.sampler is not None and active & frozenset(self.schedule.link_objectives):
            links = self.sampler.draw(numpy_generator(seed, step, Purpose.SUPERVISION))
            graph = self.message_graph(links.drop_2M)
            links = links.to(device)
        count = self.config.accumulate if active & frozenset(self.schedule.cell_objectives) else 0
        return StepInputs(
            graph=graph,
            batches=[next(self.stream).pack().to(device) for _ in range(count)],
            links=links,
            table_generator=torch_generator(seed, step, Purpose.TABLE, device=device),
            cell_generators=[torch_generator(seed, step, Purpose.CELLS, i, device=device) for i in range(count)],
        )

    def message_graph(self, supervised_2M: torch.Tensor) -> MessageGraph:
        """All message edges but those of the supervised pairs (and, in control graphs, their stand-ins)."""
        dropped = self.data.messages.dropped_by(supervised_2M.cpu().numpy())
        return self.graph.without(torch.from_numpy(dropped).to(self.fabric.device))

    def _log(
        self,
        step: int,
        factor: float,
        report: StepReport,
        norm: float,
        inputs: StepInputs,
        active: frozenset[str],
        rates: dict[str, Any],
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
        self._write("validation", state.step, {**metrics, "best_step": state.best_step})
        self.reporter.note(
            f"step {state.step}: {self.validator.criterion} {value:.4f} (best at step {state.best_step})"
        )
        # validation/cells/OBJECTIVE/METRIC: what an objective says of itself; losses and link metrics are one level up.
        told = [f"{key.split('/', 3)[3]} {metrics[key]:.3f}" for key in metrics if key.count("/") == 3]
        if told:
            self.reporter.note(f"  {', '.join(told)}")

    def save_best(self, metrics: dict[str, float], **more: Any) -> None:
        """Write the model folder."""
        save_model(
            self.run.model,
            self.model,
            backend=self.recipe.graph.backend,
            meta={
                "step": self.state.step,
                "run_id": self.run_id,
                "recipe_hash": self.state.recipe_hash,
                "values": self.data.cells.kind,
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
