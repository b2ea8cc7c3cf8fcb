"""Runs of a few steps, by one process or by one of several that have the variables of ``torchrun``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.recipe import Recipe
from grn_cotrain.recipe_train import SCHEDULES
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.build import build_model
from grn_cotrain.train.environment import deterministic
from grn_cotrain.train.fabric import build_fabric
from grn_cotrain.train.group import ALONE, Group
from grn_cotrain.train.launchers import Launch
from grn_cotrain.train.trainer import Trainer
from tests.cases.contrastive import ToyContrastive
from tests.integration.encoder_settings import SETTINGS
from tests.worlds import tiny_recipe

__all__ = ["CASES", "STEPS", "Case", "run_all", "run_case"]

STEPS = 4


@dataclass(frozen=True)
class Case:
    """What departs from the tiny recipe; ``contrastive`` adds an objective that compares all cells of a step."""

    changes: dict[str, Any] = field(default_factory=dict)
    contrastive: bool = False

    def recipe(self, world: Path) -> Recipe:
        """Three micro-batches a step, which two processes can't share evenly, unless the case says otherwise."""
        options = {"max_steps": STEPS, "accumulate": 3, "tokens_per_batch": 512, "gradient_cosine_every": 2}
        return tiny_recipe(world, **{**self.changes, "train": {**options, **self.changes.get("train", {})}})


def _encoder(name: str) -> Case:
    settings = SETTINGS.get(name, {})
    options = {"name": name, "num_heads": 2, **settings.get("encoder", {})}
    if name == "scbert":
        options["redraw_every"] = 2  # in the middle of a step
    model = {**settings.get("model", {}), "cell_encoder": options}
    return Case({"model": model, **({"objectives": settings["objectives"]} if "objectives" in settings else {})})


_SCGPT = {"cell_encoder": {"name": "scgpt", "num_layers": 1, "num_heads": 2, "dropout": 0.2}}
CASES: dict[str, Case] = {
    **{f"schedule={name}": Case({"train": {"schedule": {"name": name}}}) for name in SCHEDULES if name != "loop"},
    "schedule=loop": Case(
        {
            "train": {"schedule": {"name": "loop", "rounds": 1}},
            "model": {"link_decoder": {"name": "residual", "evidence": ["regulon_loop"]}},
        }
    ),
    **{f"encoder={name}": _encoder(name) for name in SETTINGS},
    "one micro-batch": Case({"train": {"accumulate": 1}}),
    "dropout and id-dropout": Case(
        {
            "model": {
                "table": {"id_dropout": 0.3},
                "cell_encoder": {"dropout": 0.3},
                "graph_encoder": {"name": "gatv2", "dropout": 0.3},
            },
            "train": {"weighting": {"name": "uncertainty"}},
        }
    ),
    "scGPT's objectives": Case(
        {
            "model": {**_SCGPT, "tokens": {"covariates": ["batch"]}},
            "objectives": {
                "generative": {},
                "gene_from_cell": {},
                "adversarial_covariate": {"ramp_steps": 10},
                "link_prediction": {},
            },
        }
    ),
    "contrastive": Case({"model": {"cell_encoder": {"dropout": 0.3}}}, contrastive=True),
}


def run_case(case: Case, world: Path, folder: Path, group: Group = ALONE) -> Trainer:
    """Train ``STEPS`` steps in this process or group, with records in ``folder``."""
    recipe = case.recipe(world)
    folder.mkdir(parents=True, exist_ok=True)
    data = load_run_data(recipe)
    model = build_model(recipe, data)
    if case.contrastive:
        model.objectives["contrastive"] = ToyContrastive(recipe.model.width, recipe.model.tokens.num_bins)
    with deterministic(True, threads=1):
        trainer = Trainer(recipe, data, model, RunFolder(folder), group=group)
        for step in range(STEPS):
            trainer.one_step(step)
    return trainer


def run_all(folder: Path, world: Path) -> int:
    """Every case in this process of the group: weights of process N in ``FOLDER/CASE/N.safetensors``."""
    launch = Launch.of(os.environ, CASES["one micro-batch"].recipe(world).train)
    build_fabric("cpu", "fp32", [], processes=launch.local_size)
    group = Group(launch.rank, launch.size)
    torch.set_num_threads(1)
    for number, case in enumerate(CASES.values()):
        trainer = run_case(case, world, folder / str(number), group)
        state = {key: value.contiguous() for key, value in trainer.model.state_dict().items()}
        save_file(state, folder / str(number) / f"{group.rank}.safetensors")
    group.gather(None)
    return 0
