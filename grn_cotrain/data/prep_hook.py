"""Finds the prepared folder of a recipe or of a run; asks the registered preparer to prepare a recipe's data.

Preparation lives in a package above this one; the entry point group ``grn_cotrain.prepare`` turns the arrow round.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json
from grn_cotrain.recipe import Recipe

__all__ = ["find_prepared", "not_found", "open_prepared", "place_for", "prepared_place"]

logger = logging.getLogger(__name__)


def open_prepared(recipe: Recipe) -> Prep:
    """Open the recipe's prepared folder; its ``prep:`` block, if any, makes it first where it is missing or stale."""
    folder = Path(recipe.data.prep)
    if recipe.prep is not None:
        preparers = list(entry_points(group="grn_cotrain.prepare"))
        if not preparers:
            raise UserError("prep: no preparer is installed; install the whole project, or remove the block")
        preparers[0].load()(recipe.prep, folder)
    elif not folder.is_dir():
        raise UserError(f"data.prep '{folder}': no such folder; make it with grn-prep, or add a prep: block")
    return Prep.open(folder)


def prepared_place(prep: Prep, run: Path, recipe: Recipe) -> dict[str, str]:
    """Where the prepared folder of a run is, for run.json: its paths, and its content."""
    place = prep.folder.resolve()
    return {
        "given": recipe.data.prep,
        "absolute": str(place),
        "relative": Path(os.path.relpath(place, run.resolve())).as_posix(),
        "content_hash": prep.content_hash,
    }


def place_for(record: Mapping[str, Any]) -> dict[str, Any]:
    """Reference to the prepared folder in the record of a run made from another: ``prep`` without the path.

    Empty where the other has no reference.
    """
    recorded = record.get("prep")
    if not isinstance(recorded, Mapping):
        return {}
    return {"prep": {key: value for key, value in recorded.items() if key != "relative"}}


def find_prepared(run: Path, recipe: Recipe, record: Mapping[str, Any], given: str | Path | None = None) -> Prep | None:
    """Open the prepared folder of a run, from any working folder; None if none is found.

    It is looked for at its path from the run folder, at the absolute path of training, at the recipe's path from the
    working folder, and from the folders above the run; where somebody wrote a new place into the recipe, there alone.
    The first with the content of training is taken; without one, the first that there is, whose differences the reader
    then reports.

    Parameters
    ----------
    run
        Run folder.
    recipe, record
        Its recipe and run.json.
    given
        The only place to look at, where the user names one.

    Raises
    ------
    UserError
        ``given`` is not a prepared folder; the folder that was found is damaged.
    """
    if given is not None:
        return Prep.open(given)
    there = [place for place, _ in _places(run, recipe, record) if (place / "prep.json").is_file()]
    same = _same_content(record)
    return next((prep for place in there if (prep := same(place)) is not None), Prep.open(there[0]) if there else None)


def not_found(run: Path, recipe: Recipe, record: Mapping[str, Any]) -> UserError:
    """The error that lists where a prepared folder was looked for, relative to what, and how to name its new place."""
    looked = "; ".join(f"'{place}' ({what})" for place, what in _places(run, recipe, record)[:4])
    return UserError(
        f"run '{run}': its prepared folder (data.prep '{recipe.data.prep}') is not found: no such folder at {looked};"
        " name its new place with --prep DIR"
    )


def _places(run: Path, recipe: Recipe, record: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Where to look, the likeliest first, and what each place is."""
    recorded = record.get("prep")
    given, home = Path(recipe.data.prep), run.resolve()
    if isinstance(recorded, Mapping) and recorded.get("given", recipe.data.prep) != recipe.data.prep:
        return [(Path.cwd() / given, "the recipe's path, which was changed after training")]
    places: list[tuple[Path, str]] = []
    if isinstance(recorded, Mapping) and isinstance(recorded.get("relative"), str):
        places.append((Path(os.path.normpath(home / recorded["relative"])), "as it was from the run folder"))
    if isinstance(recorded, Mapping) and isinstance(recorded.get("absolute"), str):
        places.append((Path(recorded["absolute"]), "where it was in training"))
    if given.is_absolute():
        places.append((given, "the recipe's path"))
    else:
        places.append((Path.cwd() / given, "the recipe's path from the working folder"))
        places += [(above / given, "the recipe's path from a folder above the run") for above in home.parents]
    first: dict[Path, str] = {}
    for place, what in places:
        first.setdefault(place, what)
    return list(first.items())


def _same_content(record: Mapping[str, Any]) -> Callable[[Path], Prep | None]:
    """Opens a folder if it holds what the run was trained on, as far as the run recorded it."""
    recorded = record.get("prep")
    content = recorded.get("content_hash") if isinstance(recorded, Mapping) else None
    vocab_hash = record.get("vocab_hash")

    def opened(place: Path) -> Prep | None:
        try:
            if content is None and vocab_hash is not None:  # runs of earlier versions
                meta = read_json(place / "prep.json", what="prepared folder")
                return Prep.open(place) if meta.get("vocab_hash") == vocab_hash else None
            prep = Prep.open(place)
            return prep if content in (None, prep.content_hash) else None
        except UserError:
            return None

    return opened
