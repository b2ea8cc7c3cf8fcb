"""A resumable grid: arms x seeds; each cell is a process of its own, so that a crash ends one cell.

A cell's folder is named after arm, seed and a hash of its resolved recipe and split. A finished cell is not run again;
a changed recipe gets another folder; a cell that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.arms import Arm
from grn_cotrain.config import canonical_hash, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.files import read_json, write_text
from grn_cotrain.recipe import Recipe, load_recipe

__all__ = ["Cell", "CellResult", "make_cells", "run_cells"]

Runner = Callable[["Cell", dict[str, str]], int]


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
        return (self.folder / "cell.json").is_file()


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
    if jobs < 1:
        raise UserError(f"--jobs '{jobs}': no number of processes; give at least 1")
    run = runner or _run_in_a_process
    environment = dict(os.environ)
    if jobs > 1:  # processes that share the cores must not each start a thread a core
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))

    def one(numbered: tuple[int, Cell]) -> None:
        number, cell = numbered
        label = f"[{number}/{len(cells)}] {cell.arm.name}, seed {cell.seed}"
        if cell.is_done:
            say(f"{label}: done before")
            return
        say(f"{label}: running")
        write_text(cell.folder / "recipe.yaml", yaml.safe_dump(to_dict(cell.recipe), sort_keys=False))
        code = run(cell, environment)
        say(f"{label}: {'done' if cell.is_done else _error_of(cell, code)}")
        if not cell.is_done:
            write_text(cell.folder / "error.txt", _error_of(cell, code) + "\n")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, enumerate(cells, 1)))
    return [_collect(cell) for cell in cells]


def _run_in_a_process(cell: Cell, environment: dict[str, str]) -> int:
    with (cell.folder / "log.txt").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "experiments.cell", str(cell.folder / "recipe.yaml"), str(cell.folder)]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False
        ).returncode


def _error_of(cell: Cell, code: int) -> str:
    """The last line of the log that says what went wrong."""
    if code < 0:
        return f"killed by signal {-code}"
    log = cell.folder / "log.txt"
    lines = (
        [line.strip() for line in log.read_text(encoding="utf-8").splitlines() if line.strip()] if log.is_file() else []
    )
    return lines[-1] if lines else f"ended with exit code {code} and no word"


def _collect(cell: Cell) -> CellResult:
    if not cell.is_done:
        text = (cell.folder / "error.txt").read_text(encoding="utf-8").strip()
        return CellResult(cell, None, None, text)
    try:
        return CellResult(
            cell, read_json(cell.folder / "cell.json", what="cell"), LinkTable.read(cell.folder / "run"), None
        )
    except UserError as error:
        return CellResult(cell, None, None, str(error))
