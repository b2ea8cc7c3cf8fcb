"""The jobs of the study of encoders: which rows there are, in which order they run, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.encoders.rows import ARMS, Budget, Row, control_job, row_job, row_recipe, row_spec, step_job
from experiments.encoders.systems import COMMON, System
from experiments.encoders.worlds import World
from grn_cotrain.commandline import say
from grn_cotrain.compare.processes import Job, Start, error_of, run_jobs
from grn_cotrain.data.prep import Prep
from grn_cotrain.files import read_json

__all__ = ["Study", "results_of", "seconds_of"]

_START_SECONDS = 9.0  # imports, data and model of a process, on an idle core
_JUDGE_SECONDS = 8.0  # statistics for the decoder, test cells and pairs, FLOPs
_CONTROL_SECONDS = 60.0  # of a world
_STEP_SECONDS = 40.0  # of a published size
_OWN_WORLDS = ("kang", "pbmc3k", "simulated", "simulated_probe")  # the published objectives are tried here
_RATE_WORLDS = ("kang", "simulated", "simulated_probe")


class Study:
    """The jobs of one study, and what they found.

    Parameters
    ----------
    systems, worlds, seeds, budget
        Systems compared, their worlds and seeds, and the cost of a row.
    out
        Folder; holds ``worlds``, ``rows`` and ``study.json``.
    common, own
        Whether the common objective is trained, and the published ones.
    data
        Folder of real data sets.
    known_rates
        (system, objective) -> learning rate that needs no search.
    """

    def __init__(
        self,
        systems: Sequence[System],
        worlds: Sequence[World],
        seeds: Sequence[int],
        budget: Budget,
        out: Path,
        *,
        common: bool = True,
        own: bool = True,
        data: Path | None = None,
        known_rates: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        self.systems, self.worlds, self.seeds, self.budget, self.out, self.own = (
            systems,
            worlds,
            seeds,
            budget,
            out,
            own,
        )
        self.common, self.known_rates = common, dict(known_rates or {})
        self.preps: dict[str, Prep] = {}
        for world in worlds:
            self.preps[world.name] = world.prepare(data or Path("."), out / "worlds" / world.name)
        names = [world.name for world in worlds]
        self.rate_world = next((world for world in worlds if world.name in _RATE_WORLDS), worlds[0])
        self.own_worlds = [world for world in worlds if world.name in _OWN_WORLDS] or [worlds[0]]
        assert len(set(names)) == len(names)

    def rows(self) -> list[Row]:
        """All trained rows, the dearest first, so that the last ones to run are short."""
        found = []
        for seed in self.seeds:
            for system in self.systems:
                for world in self.worlds:
                    kind: Any = world.kind
                    if self.common:
                        found += [Row(kind, system, world, arm, "common", seed) for arm in ARMS]
                    if self.own and system.own and world in self.own_worlds:
                        found.append(Row(kind, system, world, "no graph", "own", seed))
        return sorted(found, key=lambda row: not row.system.reads_zeros)

    def rate_rows(self) -> list[Row]:
        """One search a system and objective whose rate is not known."""
        objectives: dict[tuple[str, str], Row] = {}
        if self.common:
            objectives |= {(system.name, "common"): Row("rates", system, self.rate_world) for system in self.systems}
        if self.own:
            for system in self.systems:
                if system.own:
                    row = Row("rates", system, self.rate_world, objective="own")
                    objectives[system.name, "own"] = row
        return [row for key, row in objectives.items() if key not in self.known_rates]

    def job(self, row: Row, rate: float | None = None) -> Job:
        """The process of a row."""
        prep = self.preps[row.world.name]
        more = {} if rate is None else {"rate": rate}
        return row_job(
            row,
            self.out,
            self.budget,
            num_genes=prep.vocab.num_features,
            data=f"{prep.meta['cells_hash']}{prep.split(row.world.split).content_hash}",
            **more,
        )

    def control_jobs(self) -> list[Job]:
        """Controls of every world."""
        return [
            control_job(world, self.out, self.budget, data=self.preps[world.name].meta["cells_hash"])
            for world in self.worlds
        ]

    def step_jobs(self) -> list[Job]:
        """One timed step of each published size."""
        return [step_job(system, size.name, self.out) for system in self.systems for size in system.published]

    def run(self, *, jobs: int, steps: bool = True, controls: bool = True, start: Start | None = None) -> None:
        """Controls, published sizes and the search of rates first; then the rows, each at its system's rate."""
        first = [self.job(row) for row in self.rate_rows()] + (self.control_jobs() if controls else [])
        run_jobs(first, at_a_time=jobs, say=say, start=start)
        if steps:  # alone, since some of them take most of the memory
            run_jobs(self.step_jobs(), at_a_time=1, say=say, start=start)
        run_jobs(self.row_jobs(), at_a_time=jobs, say=say, start=start)

    def rates(self) -> dict[tuple[str, str], float]:
        """(system, objective) -> learning rate, where the search has finished."""
        found: dict[tuple[str, str], float] = dict(self.known_rates)
        for row in self.rate_rows():
            job = self.job(row)
            if job.is_done:
                found[row.system.name, row.objective] = float(_read(job)["rate"])
        return found

    def rows_without_rate(self) -> list[dict[str, Any]]:
        """Rows that could not run since the search of their learning rate failed, each with that error."""
        failed = {}
        for row in self.rate_rows():
            job = self.job(row)
            if not job.is_done:
                failed[row.system.name, row.objective] = f"learning rate: {error_of(job)}"
        return [
            {"spec": row_spec(row), "error": failed[row.system.name, row.objective]}
            for row in self.rows()
            if (row.system.name, row.objective) in failed
        ]

    def row_jobs(self) -> list[Job]:
        """Jobs of the rows whose learning rate is known."""
        rates = self.rates()
        return [
            self.job(row, rates[row.system.name, row.objective])
            for row in self.rows()
            if (row.system.name, row.objective) in rates
        ]

    def found(self) -> list[dict[str, Any]]:
        """Result of each row; spec and ``error`` of a row that is not done."""
        rates, results = self.rates(), []
        for row in self.rows():
            rate = rates.get((row.system.name, row.objective))
            job = self.job(row, rate)
            done = rate is not None and job.is_done
            results.append(_read(job) if done else {"spec": row_spec(row), "error": error_of(job)})
        return results


def _read(job: Job) -> dict[str, Any]:
    return dict(read_json(job.folder / job.done, what="row"))


def results_of(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Result of each job, or its spec and ``error``."""
    found = []
    for job in jobs:
        if job.is_done:
            found.append(_read(job))
        else:
            spec_file = job.folder / "spec.json"
            spec = read_json(spec_file, what="row") if spec_file.is_file() else {"name": job.label}
            found.append({"spec": spec, "error": error_of(job)})
    return found


def seconds_of(study: Study) -> tuple[float, list[str]]:
    """Core-seconds of the whole grid, from one timed step of each system in each world; and lines that report them."""
    from experiments.encoders.full_transcriptome import full_model
    from experiments.encoders.row import timed_step

    lines, total, per_cell = [], 0.0, {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for system in study.systems:
        cells = []
        for world in study.worlds:
            prep = study.preps[world.name]
            recipe = row_recipe(
                Row("probe", system, world), prep.folder, study.budget, num_genes=prep.vocab.num_features, rate=1e-3
            )
            matrix = prep.cells.take(np.arange(min(64, prep.cells.num_cells)))
            spec = recipe.model.cell_encoder
            tokens = {
                "max_tokens": recipe.model.tokens.max_tokens,
                "zeros_per_cell": recipe.model.tokens.zeros_per_cell,
                "num_bins": recipe.model.tokens.num_bins,
            }
            model = full_model(
                matrix, spec.name, spec.options, width=recipe.model.width, objectives=COMMON, tokens=tokens
            )
            batch = model.tokenizer(matrix).batch(np.arange(study.budget.cells_per_batch)).pack()
            # Processor seconds of one thread: what an idle core would take, however busy this one is.
            timed_step(model, batch, list(COMMON), flops=False)  # warms up
            found = timed_step(model, batch, list(COMMON), clock=time.process_time, flops=False)
            per_cell[system.name, world.name] = found["seconds_per_1000_cells"] / 1000
            cells.append(f"{world.name} {1000 * per_cell[system.name, world.name]:.0f} ms")
        lines.append(f"{system.name}: a cell's step {', '.join(cells)}")
    torch.set_num_threads(threads)
    budget = study.budget
    for row in study.rows():
        seen = budget.steps_in(row.world) * budget.cells_per_batch
        # Optimiser, graph, links and the loop around them: about a quarter more than the encoder's own step.
        total += 1.25 * seen * per_cell[row.system.name, row.world.name] + _START_SECONDS + _JUDGE_SECONDS
    for row in study.rate_rows():
        searched = len(budget.rates) * budget.search_steps * budget.cells_per_batch
        total += 1.25 * searched * per_cell[row.system.name, row.world.name] + 2 * _START_SECONDS
    total += _CONTROL_SECONDS * len(study.worlds) + _STEP_SECONDS * len(study.step_jobs())
    return total, lines
