"""``grn-cotrain init``: two files become a project folder with a recipe and its prepared data.

The files are prepared once with all genes, to look at them. Choices follow from what was found. Then the data are
prepared as the recipe states, and the steps of a run are measured on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, write_text
from grn_cotrain.recipe import PrepConfig, Recipe
from grn_cotrain.start.choose import Choice
from grn_cotrain.start.plan import RECIPE_FILE, prepare_plan

__all__ = ["Project", "check_place", "start_project"]

_PREP = "prep"
_SECONDS = 300.0
_FEWEST, _MOST = 20, 5000
_PROBED = 60  # steps of the recipe that is tried, so that its validations are part of the estimate


@dataclass(frozen=True)
class Project:
    """The new project: the place of the recipe, and lines on what was found and chosen."""

    recipe: Path
    lines: tuple[str, ...]


def start_project(
    cells: str | Path, edges: str | Path, out: str | Path, *, say: Callable[[str], None] = lambda text: None
) -> Project:
    """Look at cells and edges, choose settings, prepare the data, and write ``OUT/recipe.yaml`` and ``OUT/prep``.

    Parameters
    ----------
    cells
        File or folder of cells, as ``grn-prep counts`` reads it.
    edges
        Edge list, as ``grn-prep grn`` reads it.
    out
        Folder to make; it must be new or empty.
    say
        Called with each line of progress.

    Raises
    ------
    UserError
        A folder with content, a file that cannot be read, cells and edges without common genes, a network that cannot
        be split. Nothing is written then.
    """
    out = Path(out)
    check_place(out)
    base = PrepConfig(counts=_absolute(cells, "CELLS"), grn=_absolute(edges, "EDGES"))
    with atomic_folder(out) as temporary:
        say("looking at the files and preparing them")
        plan, prep = prepare_plan(base, temporary / _PREP)
        say("fitting the baseline that links start from, and trying a few steps")
        plan = replace(plan, steps=_steps(plan.recipe(temporary / _PREP, steps=_PROBED)))
        plan.recipe(temporary / _PREP)  # it is read back before it is written
        write_text(temporary / RECIPE_FILE, plan.text(out.resolve() / _PREP))
        for left in temporary.glob(".*.lock*"):
            left.unlink()
    assert plan.tokens is not None
    assert plan.steps is not None
    lines = [
        *plan.found,
        *(f"columns   {role}: {', '.join(names)}" for role, names in (plan.columns or {}).items()),
        f"split     {plan.split.value}: {plan.split.why}",
        f"genes     {plan.genes.value}: {plan.genes.why}",
        *(f"genes     {note}" for note in prep.meta["notes"] if plan.genes.value != "all" and " kept (" in note),
        "encoder   transformer: the plain encoder; compare others with grn-cotrain compare",
        f"tokens    {plan.tokens.value} values of a cell at most: {plan.tokens.why}",
        f"steps     {plan.steps.value}: {plan.steps.why}",
    ]
    return Project(out / RECIPE_FILE, tuple(lines))


def check_place(out: Path) -> None:
    """Refuse a place for a new folder that is a file or has content."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out '{out}': is a file; give a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out '{out}': is a folder with content; give a new or empty folder")


def _absolute(given: str | Path, argument: str) -> str:
    """The path from any working folder; names and addresses that ``grn-prep fetch`` knows are kept unchanged."""
    text = str(given)
    if "${" in text:
        raise UserError(f"{argument} '{text}': holds '${{', which recipes read as a variable; rename the file")
    file, colon, selector = text.partition(":")
    for path, rest in ((text, ""), (file, f"{colon}{selector}")):
        if Path(path).exists():
            return f"{Path(path).resolve()}{rest}"
    if "/" in text and "://" not in text:  # a path, for names that can be fetched have no folders
        raise UserError(f"{argument} '{text}': no such file; correct the path")
    return text


def _steps(recipe: Recipe) -> Choice:
    """Steps for about five minutes, from steps and a validation that are timed here."""
    from grn_cotrain.train.check import check_recipe

    report = check_recipe(recipe)
    seconds = report.minutes * 60 / recipe.train.max_steps
    steps = int(np.clip(_SECONDS / seconds, _FEWEST, _MOST))
    steps = max(_FEWEST, steps // 10 * 10)
    why = f"about {steps * seconds / 60:.1f} minutes at {seconds:.2f} s a step, measured on this machine"
    return Choice(str(steps), why)
