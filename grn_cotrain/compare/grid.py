"""A resumable grid: arms x seeds; each cell is a process of its own, so that a crash ends one cell.

``grid.json`` holds the recipe of the grid and the hashes of its splits: a folder is one grid, and resumes with the same
recipe and data only. A cell's folder is named after arm, seed and a hash of its resolved recipe and split. A finished
cell is not run again; a cell that was interrupted continues from its last checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grn_cotrain.compare.processes import Job, error_of, run_jobs
from grn_cotrain.compare.vary import Arm
from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.files import read_json, refuse_file, write_json
from grn_cotrain.recipe import Recipe
from grn_cotrain.recipe_diff import recipe_differences

__all__ = ["GRID_FILE", "Cell", "CellResult", "make_cells", "open_grid", "run_cells"]

Runner = Callable[["Cell", dict[str, str]], int]
GRID_FILE = "grid.json"
_FORMAT = 1
_DONE = "cell.json"  # written last of all
_SHAPE = {"format_version": int, "recipe": {str: None}, "splits": {str: str}}


@dataclass(frozen=True)
class Cell:
    """One arm under one seed; ``split_hash`` is the content hash of its split."""

    arm: Arm
    seed: int
    recipe: Recipe
    folder: Path
    split_hash: str = ""

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
    """Result of a cell: ``facts`` and ``table``, or ``error``."""

    cell: Cell
    facts: dict[str, Any] | None
    table: LinkTable | None
    error: str | None


def open_grid(out: Path, base: Recipe, splits: Mapping[str, str]) -> None:
    """Begin a grid in ``out``, or check that the grid there has this recipe and these data.

    Parameters
    ----------
    out
        Folder of the grid.
    base
        The recipe before any arm; its seed does not count.
    splits
        Data of an arm -> content hash of its split.

    Raises
    ------
    UserError
        ``out`` is a file, holds other files, or holds a grid of another recipe or of other data.
    """
    recipe = {key: value for key, value in to_dict(base).items() if key != "seed"}
    file = out / GRID_FILE
    if not file.is_file():
        refuse_file(out)
        if out.is_dir() and any(path.name != "prep" for path in out.iterdir()):
            raise UserError(f"--out '{out}': holds other files; give a new or empty folder")
        write_json(file, {"format_version": _FORMAT, "recipe": recipe, "splits": dict(splits)})
        return
    stored = read_json(file, what="grid", shape=_SHAPE)
    changed = recipe_differences(stored["recipe"], recipe)
    if changed:
        key, before, now = changed[0]
        more = f" (and {len(changed) - 1} more keys)" if len(changed) > 1 else ""
        raise UserError(
            f"--out '{out}': holds the grid of another recipe: {key} is {before} there and {now} here{more}; give"
            " another folder, or the recipe of that grid"
        )
    for name, split_hash in splits.items():
        if stored["splits"].get(name, split_hash) != split_hash:
            raise UserError(
                f"--out '{out}': the split of '{name}' has changed since the grid began; give another folder, or"
                " prepare the data as they were"
            )
    if not splits.keys() <= stored["splits"].keys():
        write_json(file, {**stored, "splits": {**stored["splits"], **splits}})


def make_cells(
    arms: Sequence[Arm], recipes: Sequence[Recipe], seeds: Sequence[int], out: Path, *, splits: Sequence[str]
) -> list[Cell]:
    """Cells of all arms and seeds.

    Parameters
    ----------
    arms, recipes, splits
        Arms, the resolved recipe of each, and the content hash of the split of each: other data are another cell.
    seeds
        Seeds of each arm.
    out
        Folder of the grid.
    """
    cells = []
    for arm, recipe, split_hash in zip(arms, recipes, splits, strict=True):
        for seed in seeds:
            resolved = recipe.with_seed(seed)
            slug = re.sub(r"[^\w.=+-]+", "_", arm.name)[:60].strip("_")
            name = f"{slug}-seed{seed}-{canonical_hash([to_dict(resolved), split_hash], length=8)}"
            cells.append(Cell(arm, seed, resolved, out / "cells" / name, split_hash))
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
            "grn_cotrain.compare.cell",
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
