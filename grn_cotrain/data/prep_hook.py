"""Asks whoever is registered for it to prepare a recipe's data.

Preparation lives in a package above this one; the entry point group ``grn_cotrain.prepare`` turns the arrow round.
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from pathlib import Path

from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.recipe import Recipe

__all__ = ["open_prepared"]

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
