"""A resumable grid: arms x seeds; each cell is a process of its own, so that a crash ends one cell.

A cell's folder is named after arm, seed and a hash of its resolved recipe and split. A finished cell is not run again;
a changed recipe gets another folder; a cell that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.arms import Arm
from experiments.processes import Job, error_of, run_jobs
from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.files import read_json
from grn_cotrain.recipe import Recipe, load_recipe

__all__ = ["Cell", "CellResult", "make_cells", "run_cells"]

Runner = Callable[["Cell", dict[str, str]], int]
_DONE = "cell.json"  # written last of all


@dataclass(frozen=True)
class Cell:
    """One arm under one seed."""

    arm: Arm
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def recipe_hash(self) -> str:
        """Hash of the resolved recipe."""
        return canonical_hash(self.recipe)

    @property
    def is_done(self) -> bool:
        """Whether the cell finished."""
        return (self.folder / _DONE).is_file()


@dataclass(frozen=True)
class CellResult:
    """What a cell gave: ``facts`` and ``table``, or ``error``."""

    cell: Cell
    facts: dict[str, Any] | None
    table: LinkTable | None
    error: str | None


def make_cells(
    recipe: str | Path,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    data: str,
) -> list[Cell]:
    """Resolve the recipe of every cell; ``data`` identifies the prepared split, so that other data are another cell."""
    cells = []
    for arm in arms:
        for seed in seeds:
            resolved = load_recipe(recipe, [*overrides, *arm.overrides, f"seed={seed}"])
            name = f"{arm.name}-seed{seed}-{canonical_hash([to_dict(resolved), data], length=8)}"
            cells.append(Cell(arm, seed, resolved, out / "cells" / name))
    return cells


def run_cells(
    cells: Sequence[Cell], *, jobs: int = 1, say: Callable[[str], None] = print, runner: Runner | None = None
) -> list[CellResult]:
    """Run what is not done yet, ``jobs`` at a time, and collect every cell, failed ones with their error."""
    by_folder = {cell.folder: cell for cell in cells}
    work = [
        Job(
            f"{cell.arm.name}, seed {cell.seed}",
            cell.folder,
            "experiments.cell",
            (str(cell.folder / "recipe.yaml"), str(cell.folder)),
            done=_DONE,
            files={"recipe.yaml": yaml.safe_dump(to_dict(cell.recipe), sort_keys=False)},
        )
        for cell in cells
    ]
    start = None if runner is None else lambda job, environment: runner(by_folder[job.folder], environment)
    run_jobs(work, at_a_time=jobs, say=say, start=start)
    return [_collect(cell, job) for cell, job in zip(cells, work, strict=True)]


def _collect(cell: Cell, job: Job) -> CellResult:
    if not cell.is_done:
        return CellResult(cell, None, None, error_of(job))
    try:
        return CellResult(cell, read_json(cell.folder / _DONE, what="cell"), LinkTable.read(cell.folder / "run"), None)
    except UserError as error:
        return CellResult(cell, None, None, str(error))
