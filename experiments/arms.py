"""Arms of a comparison: a schedule, then modifiers, joined by ``+``. An arm changes what it names and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args, get_type_hints

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.recipe import ScheduleConfig

__all__ = ["MODIFIERS", "SCHEDULES", "Arm", "parse_arm", "parse_arms"]

SCHEDULES: tuple[str, ...] = get_args(get_type_hints(ScheduleConfig)["name"])

#: What a modifier sets, as ``--set`` would.
MODIFIERS = {
    "rewired": "graph.messages=rewired",
    "random_graph": "graph.messages=random",
    "no_graph": "graph.messages=none",
    "permuted_genes": "data.expression=permuted_genes",
    "permuted_cells": "data.expression=permuted_cells",
    "frozen_pca": "model.table.mode=frozen_pca",
    "random_table": "model.table.mode=random",
}


@dataclass(frozen=True)
class Arm:
    """``name`` as the user wrote it; ``overrides`` on top of the recipe."""

    name: str
    schedule: str
    overrides: tuple[str, ...]

    @property
    def trains_cells(self) -> bool:
        """Whether a held-out R2 of masked values means something."""
        return self.schedule != "link_only"

    @property
    def trains_links(self) -> bool:
        """Whether the link decoder is trained; if not, links are scored by a probe fitted afterwards."""
        return self.schedule != "mlm_only"


def parse_arm(text: str) -> Arm:
    """``joint+rewired`` -> arm.

    Raises
    ------
    UserError
        An unknown schedule or modifier, or two modifiers of one setting.
    """
    schedule, *modifiers = (part.strip() for part in text.split("+"))
    if schedule not in SCHEDULES:
        hint = f" (write joint+{schedule})" if schedule in MODIFIERS else did_you_mean(schedule, SCHEDULES)
        raise UserError(f"--arms '{text}': unknown schedule '{schedule}'; choose from {', '.join(SCHEDULES)}{hint}")
    overrides = [f"train.schedule.name={schedule}"]
    for modifier in modifiers:
        if modifier not in MODIFIERS:
            raise UserError(
                f"--arms '{text}': unknown modifier '{modifier}'; choose from {', '.join(MODIFIERS)}"
                f"{did_you_mean(modifier, MODIFIERS)}"
            )
        key = MODIFIERS[modifier].partition("=")[0]
        if any(override.startswith(f"{key}=") for override in overrides):
            raise UserError(f"--arms '{text}': '{modifier}' sets {key} a second time; name one modifier of it")
        overrides.append(MODIFIERS[modifier])
    return Arm(text.strip(), schedule, tuple(overrides))


def parse_arms(text: str) -> list[Arm]:
    """Arms separated by commas, each once."""
    arms = [parse_arm(part) for part in text.split(",")]
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"--arms: {', '.join(twice)} is given twice; name each arm once")
    return arms
