"""Rows of the study: what each trains on, as a recipe, and the process that runs it.

Everything but the encoder, what it reads and its learning rate is the same in all rows of a world: cells, batches,
steps, table, graph encoder, link decoder, penalties, initial seed. There is no early stopping and no choice of
checkpoint: the model at the end of the budget is judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from experiments.encoders.systems import COMMON, System, sized, zeros_shown
from experiments.encoders.worlds import World
from grn_cotrain.compare.processes import Job
from grn_cotrain.config import canonical_hash, parse, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe

__all__ = ["ARMS", "DONE", "RATES", "Budget", "Row", "control_job", "row_job", "row_recipe", "row_spec", "step_job"]

ARMS: Mapping[str, str] = {"no graph": "none", "graph": "true", "rewired": "rewired"}
"""Arm -> ``graph.messages``."""

RATES = (5e-4, 1e-3, 2e-3, 4e-3)
"""Learning rates that every system tries on validation cells."""

DONE = "row.json"


@dataclass(frozen=True)
class Budget:
    """Budget of every row.

    Attributes
    ----------
    steps, cells_per_batch
        Their product is the number of cells seen, except for the short batch that ends an epoch; a world may take a
        share of the steps.
    search_steps
        Steps of each of the runs that choose the learning rate.
    width
        Width of table and encoders.
    parameters
        Wanted of each encoder.
    max_tokens
        Most tokens of a cell.
    bootstrap
        Replicates of the intervals.
    rates
        Learning rates that every system tries.
    device, threads
        As in recipes.
    """

    steps: int = 360
    cells_per_batch: int = 8
    search_steps: int = 40
    width: int = 128
    parameters: int = 1_000_000
    max_tokens: int = 1024
    bootstrap: int = 500
    rates: tuple[float, ...] = RATES
    device: str = "cpu"
    threads: int = 1

    def steps_in(self, world: World) -> int:
        """Training steps of a row of this world."""
        return max(1, round(self.steps * world.share))


@dataclass(frozen=True)
class Row:
    """One process: a system in a world, with one of three graphs, one of two objectives, one seed.

    ``kind``: ``rates`` searches the learning rate; ``links``, ``probe`` and ``values`` (masked values alone) train and
    judge.
    """

    kind: Literal["rates", "links", "probe", "values"]
    system: System
    world: World
    arm: str = "no graph"
    objective: Literal["common", "own"] = "common"
    seed: int = 0
    #: Merged over the recipe (ablations); ``label`` names them.
    changes: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """For people and folders."""
        parts = [self.system.name, self.world.name, self.arm, self.objective, f"seed {self.seed}"]
        if self.kind == "rates":
            parts[2] = "learning rate"
        return ", ".join([*parts, *([self.label] if self.label else [])])

    @property
    def objectives(self) -> dict[str, dict[str, Any]]:
        """Cell objectives with their options."""
        chosen = self.system.own if self.objective == "own" else COMMON
        if not chosen:
            raise UserError(f"objective 'own': {self.system.name} has none of its own; use common")
        return {name: dict(options) for name, options in chosen.items()}


def row_recipe(row: Row, prep: Path, budget: Budget, *, num_genes: int, rate: float) -> Recipe:
    """The recipe of a row; ``prep`` is the world's prepared folder."""
    tokens = {"num_bins": 16, "zeros_per_cell": 0, "max_tokens": budget.max_tokens, **row.system.tokens}
    if row.objective == "own":
        tokens |= row.system.own_tokens
    cap = int(tokens["max_tokens"])
    tokens["zeros_per_cell"] = zeros_shown(tokens["zeros_per_cell"], num_genes=num_genes, max_tokens=cap)
    options = dict(row.system.options)
    if row.system.depth:
        options, _ = sized(
            row.system,
            width=budget.width,
            wanted=budget.parameters,
            num_genes=num_genes,
            num_bins=int(tokens["num_bins"]),
        )
    links = row.kind == "links"
    steps = budget.search_steps if row.kind == "rates" else budget.steps_in(row.world)
    mapping: dict[str, Any] = {
        "name": row.name,
        "seed": row.seed,
        "data": {"prep": str(prep), "split": row.world.split},
        "graph": {"messages": ARMS[row.arm], "backend": "csr"},
        "model": {
            "width": budget.width,
            "table": {"init": "pca", "inductive": ["expression", "tf_family"]},
            "graph_encoder": "sage",
            "coupling": "residual",
            "cell_state": "encoder",  # systems as they are published
            "cell_encoder": {"name": row.system.encoder, **options},
            "link_decoder": {"name": "residual", "evidence": list(row.world.evidence), "residual_l2": 0.03}
            if links
            else {"name": "bilinear"},
            "tokens": tokens,
        },
        "objectives": {
            **row.objectives,
            **({"link_prediction": {"loss": "ranking", "source_share": 0.2}} if links else {}),
        },
        "train": {
            "max_steps": steps,
            # With tokens to spare, the number of cells alone cuts batches: the same ones for all systems.
            "tokens_per_batch": budget.cells_per_batch * (int(tokens["max_tokens"]) + num_genes),
            "cells_per_batch": budget.cells_per_batch,
            "learning_rate": rate,
            "warmup_steps": max(1, steps // 10),
            "device": budget.device,
            "threads": budget.threads,
            "validate_every": steps,
            "checkpoint_every": steps,
            "gradient_cosine_every": 10**6,
            "select_on": "auto",
            "schedule": {"name": "joint" if links else "mlm_only"},
        },
        "evaluate": {"controls": "none", "bootstrap": budget.bootstrap},
    }
    return parse(Recipe, _merged(mapping, row.changes))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def row_spec(row: Row) -> dict[str, Any]:
    """Spec of a row, as its result repeats it."""
    return {
        "kind": row.kind,
        "name": row.name,
        "system": row.system.name,
        "world": row.world.name,
        "arm": row.arm,
        "objective": row.objective,
        "seed": row.seed,
        "label": row.label,
    }


def row_job(row: Row, out: Path, budget: Budget, *, num_genes: int, data: str, rate: float | None = None) -> Job:
    """The process of a row; ``data`` is a hash of the world's prepared folder, so that other data are another row.

    ``rate`` is its learning rate; None: the first one that a search tries.
    """
    rate = budget.rates[0] if rate is None else rate
    recipe = row_recipe(row, out / "worlds" / row.world.name / "prep", budget, num_genes=num_genes, rate=rate)
    spec = {
        **row_spec(row),
        "world_folder": str(out / "worlds" / row.world.name),
        "rates": list(budget.rates) if row.kind == "rates" else [],
        "cell_objectives": list(row.objectives),
    }
    files = {
        "recipe.yaml": yaml.safe_dump(to_dict(recipe), sort_keys=False),
        **_spec_file(spec),
    }
    key = canonical_hash([to_dict(recipe), spec["rates"], data], length=8)
    return _job(row.name, f"{row.kind}-{row.name.replace(', ', '-').replace(' ', '_')}-{key}", files, out)


def control_job(world: World, out: Path, budget: Budget, *, data: str, seed: int = 0) -> Job:
    """The process that measures the controls of a world."""
    spec = {
        "kind": "controls",
        "name": f"controls, {world.name}",
        "world": world.name,
        "world_folder": str(out / "worlds" / world.name),
        "seed": seed,
        "bootstrap": budget.bootstrap,
    }
    key = canonical_hash([spec["world"], spec["bootstrap"], seed, data], length=8)
    return _job(str(spec["name"]), f"controls-{world.name}-{key}", _spec_file(spec), out)


def step_job(system: System, size: str, out: Path) -> Job:
    """The process that times one step of a published size."""
    published = next(one for one in system.published if one.name == size)
    spec = {
        "kind": "step",
        "name": f"one step, {size}",
        "system": system.name,
        "size": size,
        "encoder": system.encoder,
        "width": published.width,
        "options": dict(published.options),
        "tokens": dict(published.tokens),
        "objectives": {name: dict(options) for name, options in (system.own or COMMON).items()},
    }
    folder = f"step-{size.replace(' ', '_')}-{canonical_hash(spec, length=8)}"
    return _job(str(spec["name"]), folder, _spec_file(spec), out)


def _spec_file(spec: Mapping[str, Any]) -> dict[str, str]:
    return {"spec.json": json.dumps(spec, indent=1) + "\n"}


def _job(label: str, folder: str, files: Mapping[str, str], out: Path) -> Job:
    place = out / "rows" / folder
    return Job(label, place, "experiments.encoders.row", (str(place),), done=DONE, files=files)
