"""The grid: finished cells are skipped, failed ones keep their error, a changed recipe is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from grn_cotrain.compare.grid import Cell, make_cells, open_grid, run_cells
from grn_cotrain.compare.run import compare
from grn_cotrain.compare.vary import make_arms, recipe_of
from grn_cotrain.errors import UserError
from grn_cotrain.files import write_json
from grn_cotrain.recipe import load_recipe
from tests.unit.compare.tables import link_table

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
    made = make_arms([f"train.schedule.name={arms}"])
    recipes = [recipe_of(RECIPE, arm, overrides=overrides) for arm in made]
    return make_cells(made, recipes, [0, 1], out, splits=[data] * len(made))


def test_every_cell_has_its_folder_and_its_recipe(tmp_path: Path) -> None:
    cells = cells_in(tmp_path)
    assert len({cell.folder for cell in cells}) == 4
    assert [(cell.arm.name, cell.seed, cell.recipe.seed) for cell in cells] == [
        ("schedule=joint", 0, 0),
        ("schedule=joint", 1, 1),
        ("schedule=link_only", 0, 0),
        ("schedule=link_only", 1, 1),
    ]
    assert len({cell.recipe_hash for cell in cells}) == 4


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    first, second = Runner(), Runner()
    results = run_cells(cells_in(tmp_path), runner=first, say=lambda line: None)
    assert len(first.ran) == 4
    assert all(result.table is not None and result.error is None for result in results)
    run_cells(cells_in(tmp_path), runner=second, say=lambda line: None)
    assert second.ran == []


def test_a_changed_recipe_or_changed_data_are_refused(tmp_path: Path) -> None:
    base = load_recipe(RECIPE)
    open_grid(tmp_path, base, {"p: s": "d"})
    open_grid(tmp_path, base.with_seed(7), {"p: s": "d", "p: t": "e"})
    with pytest.raises(UserError, match=r"another recipe: train\.max_steps is \d+ there and 7 here; give another"):
        open_grid(tmp_path, load_recipe(RECIPE, ["train.max_steps=7"]), {"p: s": "d"})
    with pytest.raises(UserError, match="the split of 'p: t' has changed"):
        open_grid(tmp_path, base, {"p: t": "f"})
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out='.*other': holds other files"):
        open_grid(other, base, {})


def test_a_wrong_grid_writes_nothing(tmp_path: Path) -> None:
    for vary, match in (
        (["model.cell_encodr=scgpt"], r"vary model\.cell_encodr=scgpt: unknown key .*did you mean 'cell_encoder'"),
        (["model.cell_encoder=transformer,scgptt"], r"unknown 'scgptt' for cell_encoder.*did you mean 'scgpt'"),
        (["model.cell_encoder.num_layer=1"], r"unknown key 'model\.cell_encoder\.num_layer'.*did you mean"),
        (["objectives.masked_value.mask_shar=0.1"], r"unknown key 'objectives\.masked_value\.mask_shar'"),
        (["train.max_steps=0"], "max_steps: got 0"),
        (["model.encoders={rna: {name: transformer}}"], r"encoders \(rna\) are both given"),
        (["graph.messages=true,rewird"], "did you mean 'rewired'"),
        (["train.schedule.name=joint", "train.schedule=joint"], "train.schedule"),
    ):
        with pytest.raises(UserError, match=match):
            compare(RECIPE, make_arms(vary), [0], tmp_path / "out")
    with pytest.raises(UserError, match="are the same recipe"):
        compare(RECIPE, make_arms(["train.learning_rate=0.001,1.0e-3"]), [0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_data_are_other_cells(tmp_path: Path) -> None:
    old = {cell.folder for cell in cells_in(tmp_path)}
    assert not old & {cell.folder for cell in cells_in(tmp_path, data="e")}


def test_a_failed_cell_keeps_its_error_and_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    results = run_cells(cells_in(tmp_path), runner=Runner("schedule=link_only"), say=said.append, jobs=2)
    failed = [result for result in results if result.error]
    assert [result.cell.arm.name for result in failed] == ["schedule=link_only", "schedule=link_only"]
    assert failed[0].error == "error: loss is not finite at step 2"
    assert failed[0].table is None
    assert any("not finite" in line for line in said)
    again = Runner()
    results = run_cells(cells_in(tmp_path), runner=again, say=said.append)
    assert {name for name, _ in again.ran} == {"schedule=link_only"}
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
    with pytest.raises(UserError, match="jobs=0"):
        run_cells([], jobs=0)
