"""The grid: finished cells are skipped, failed ones keep their error, a changed recipe is another cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.arms import parse_arms
from experiments.grid import Cell, make_cells, run_cells
from grn_cotrain.errors import UserError
from grn_cotrain.files import write_json
from tests.unit.experiments.tables import link_table

RECIPE = Path(__file__).resolve().parents[3] / "experiments" / "configs" / "demo_sim.yaml"


class Runner:
    """Stands in for the process: finishes cells, except those of arms that shall fail."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.ran: list[tuple[str, int]] = []

    def __call__(self, cell: Cell, environment: dict[str, str]) -> int:
        self.ran.append((cell.arm.name, cell.seed))
        if cell.arm.name == self.failing:
            (cell.folder / "log.txt").write_text("step 1\nerror: loss is not finite at step 2\n\n")
            return 2
        link_table({"model": ("model", 0.7)}, seed=cell.seed).write(cell.folder / "run")
        write_json(cell.folder / "cell.json", {"scorer": "model", "kind": "model"})
        return 0


def cells_in(out: Path, arms: str = "joint,link_only", overrides: tuple[str, ...] = (), data: str = "d") -> list[Cell]:
    return make_cells(RECIPE, parse_arms(arms), [0, 1], out, overrides=overrides, data=data)


def test_every_cell_has_its_folder_and_its_recipe(tmp_path: Path) -> None:
    cells = cells_in(tmp_path)
    assert len({cell.folder for cell in cells}) == 4
    assert [(cell.arm.name, cell.seed, cell.recipe.seed) for cell in cells] == [
        ("joint", 0, 0),
        ("joint", 1, 1),
        ("link_only", 0, 0),
        ("link_only", 1, 1),
    ]
    assert len({cell.recipe_hash for cell in cells}) == 4


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    first, second, third = Runner(), Runner(), Runner()
    results = run_cells(cells_in(tmp_path), runner=first, say=lambda line: None)
    assert len(first.ran) == 4
    assert all(result.table is not None and result.error is None for result in results)
    run_cells(cells_in(tmp_path), runner=second, say=lambda line: None)
    assert second.ran == []
    run_cells(cells_in(tmp_path, overrides=("train.max_steps=7",)), runner=third, say=lambda line: None)
    assert len(third.ran) == 4


def test_other_data_are_other_cells(tmp_path: Path) -> None:
    old = {cell.folder for cell in cells_in(tmp_path)}
    assert not old & {cell.folder for cell in cells_in(tmp_path, data="e")}


def test_a_failed_cell_keeps_its_error_and_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    results = run_cells(cells_in(tmp_path), runner=Runner("link_only"), say=said.append, jobs=2)
    failed = [result for result in results if result.error]
    assert [result.cell.arm.name for result in failed] == ["link_only", "link_only"]
    assert failed[0].error == "error: loss is not finite at step 2"
    assert failed[0].table is None
    assert any("not finite" in line for line in said)
    again = Runner()
    results = run_cells(cells_in(tmp_path), runner=again, say=said.append)
    assert {name for name, _ in again.ran} == {"link_only"}
    assert not any(result.error for result in results)


def test_a_killed_process_is_named(tmp_path: Path) -> None:
    results = run_cells(cells_in(tmp_path, "joint"), runner=lambda cell, environment: -9, say=lambda line: None)
    assert results[0].error == "killed by signal 9"


def test_a_real_process_that_fails_ends_one_cell_only(tmp_path: Path) -> None:
    cells = cells_in(tmp_path, "joint", overrides=(f"data.prep={tmp_path / 'absent'}",))[:1]
    (result,) = run_cells(cells, say=lambda line: None)
    assert result.error is not None
    assert "absent" in result.error
    assert "\n" not in result.error


def test_jobs_must_be_a_number_of_processes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--jobs '0'"):
        run_cells([], jobs=0)
