"""Which objective reads which view, and the losses of a micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.objectives.base import GeneStates, LossOutput, ModelView, Objective, Step
from grn_cotrain.objectives.view import CLEAN, Encodings, View

__all__ = ["Views", "cell_losses", "draw_views", "score_views", "views_read"]

Views = Mapping[str, tuple[View, ...]]
"""Objective -> the views that it reads."""


def _each(objectives: nn.ModuleDict) -> dict[str, Objective]:
    return {name: module for name, module in objectives.items() if isinstance(module, Objective)}


def views_read(objectives: nn.ModuleDict) -> dict[str, tuple[str, ...]]:
    """Names of the views that each cell objective reads.

    Raises
    ------
    UserError
        An objective asks for the view of one that the recipe lacks, or that hides no values.
    """
    every = _each(objectives)
    cells = {name: module for name, module in every.items() if module.reads_cells}
    read: dict[str, tuple[str, ...]] = {}
    for name, module in cells.items():
        hiding = [other for other, one in cells.items() if one.hides_values and other != name]
        read[name] = module.reads(name, hiding)
        for wanted in read[name]:
            if wanted not in (name, CLEAN, *hiding):
                raise UserError(
                    f"objectives.{name}.view '{wanted}': the recipe has no objective of that name that hides values;"
                    f" choose from {', '.join(['auto', *hiding])}"
                    f"{did_you_mean(wanted, hiding)}"
                )
    return read


def draw_views(
    model: ModelView,
    objectives: nn.ModuleDict,
    tokens: PackedTokens,
    generator: torch.Generator,
    names: Iterable[str],
) -> Views:
    """Draw the views that the objectives ``names`` read, each once, in the order of the recipe."""
    read, chosen = views_read(objectives), set(names)
    wanted = {view for name in chosen for view in read[name]}
    drawn = {CLEAN: View.of(tokens)} if CLEAN in wanted else {}
    for name, module in _each(objectives).items():
        if name in wanted:
            drawn[name] = module.view(model, tokens, generator)
    return {name: tuple(drawn[view] for view in read[name]) for name in read if name in chosen}


def score_views(
    model: ModelView,
    objectives: nn.ModuleDict,
    genes: GeneStates,
    views: Views,
    *,
    before: Callable[[View], None] | None = None,
) -> tuple[dict[str, LossOutput], Encodings]:
    """Losses of a micro-batch by objective; objectives that pool are left out. Each view is encoded once.

    Parameters
    ----------
    before
        See :class:`~grn_cotrain.objectives.view.Encodings`.

    Returns
    -------
    tuple
        The losses, and the encodings they were read from.
    """
    encodings = Encodings(model, genes, before)
    return {
        name: objectives[name](model, Step(genes, read, encodings))
        for name, read in views.items()
        if not objectives[name].pools
    }, encodings


def cell_losses(
    model: ModelView,
    objectives: nn.ModuleDict,
    genes: GeneStates,
    tokens: PackedTokens,
    generator: torch.Generator,
    names: Iterable[str],
) -> dict[str, LossOutput]:
    """Draw, encode and score one micro-batch by itself: for validation and measurements."""
    views = draw_views(model, objectives, tokens, generator, names)
    return score_views(model, objectives, genes, views)[0]
