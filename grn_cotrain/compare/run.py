"""Run a grid of arms and seeds, score the controls once for each split, and write the table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.compare.grid import make_cells, open_grid, run_cells
from grn_cotrain.compare.table import Comparison, tabulate
from grn_cotrain.compare.vary import Arm, check_arms
from grn_cotrain.config import canonical_hash
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.recipe import Recipe, load_recipe

__all__ = ["compare"]


@dataclass(frozen=True)
class _Data:
    """Data of an arm: the prepared folder, the split, and its content hash."""

    prep: Path
    split: str
    split_hash: str


def compare(
    recipe: str | Path,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    overrides: Sequence[str] = (),
    command: str = "",
    say: Callable[[str], None] = print,
) -> Comparison:
    """Run the grid, score the controls once for each split, and write the table into ``out``.

    Parameters
    ----------
    recipe
        YAML recipe that all arms share.
    arms
        Keys that vary (:func:`~grn_cotrain.compare.vary.make_arms`); others are compared with the first.
    seeds
        Seeds of every arm.
    out
        Folder of the grid. A second call with the same recipe resumes it, and may add arms and seeds.
    jobs
        Number of processes at a time.
    overrides
        Changes of the recipe for all arms, ``a.b=c``.
    command
        The command, for the record.
    say
        Called with each line of progress.

    Raises
    ------
    UserError
        A wrong recipe, arm or override, or a folder that holds something else: nothing is run then. No seed.
    """
    if not seeds:
        raise UserError("--seeds: none given; give for example 0,1,2")
    start = time.perf_counter()
    base = load_recipe(recipe, overrides)
    recipes = [_own_prep(one, base, out) for one in check_arms(recipe, arms, overrides=overrides)]
    data = _data_of(recipes)
    open_grid(out, base, {f"{one.prep}: {one.split}": one.split_hash for one in data})
    cells = make_cells(arms, recipes, seeds, out, splits=[one.split_hash for one in data])
    results = run_cells(cells, jobs=jobs, say=say)
    controls = _controls(base, data, out, say)
    table = tabulate(results, controls, command=command)
    comparison = dataclasses.replace(table, seconds=time.perf_counter() - start)
    comparison.write(out)
    return comparison


def _own_prep(recipe: Recipe, base: Recipe, out: Path) -> Recipe:
    """The recipe, with a prepared folder of its own where its ``prep:`` block is another one than the base's.

    Arms that prepare their cells differently would otherwise replace each other's folder.
    """
    if recipe.prep is None or recipe.prep == base.prep or recipe.data.prep != base.data.prep:
        return recipe
    folder = out.resolve() / "prep" / canonical_hash(recipe.prep, length=8)
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, prep=str(folder)))


def _data_of(recipes: Sequence[Recipe]) -> list[_Data]:
    """Prepare and open what each arm reads, each prepared folder once."""
    from grn_cotrain.data.prep_hook import open_prepared

    opened: dict[tuple[str, str], _Data] = {}
    found = []
    for recipe in recipes:
        key = (canonical_hash([recipe.prep, recipe.data.prep]), recipe.data.split)
        if key not in opened:
            prep = open_prepared(recipe)
            opened[key] = _Data(prep.folder, recipe.data.split, prep.split(recipe.data.split).content_hash)
        found.append(opened[key])
    return found


def _controls(base: Recipe, data: Sequence[_Data], out: Path, say: Callable[[str], None]) -> dict[str, LinkTable]:
    from grn_cotrain.evaluate.run import evaluate_prep

    tables: dict[str, LinkTable] = {}
    for one in data:
        if one.split_hash in tables:
            continue
        say(f"controls on {one.split}")
        tables[one.split_hash] = evaluate_prep(
            one.prep,
            split=one.split,
            controls=base.evaluate.controls,
            out=out / f"controls-{one.split_hash[:8]}",
            bootstrap=base.evaluate.bootstrap,
        )
    return tables
