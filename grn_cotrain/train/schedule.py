"""Schedules: which objectives act at a step, and which parts keep their initial weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grn_cotrain.recipe import ScheduleConfig

__all__ = ["Schedule"]

_CELLS = "cells"
_LINKS = "links"


@dataclass(frozen=True)
class Schedule:
    """Plan of a run.

    ============================= ======================================================================
    ``joint``                     every objective at every step
    ``alternating``               cell objectives and link objectives take turns of ``alternate_every`` steps
    ``mlm_only``                  cell objectives alone; links are scored by a decoder fitted afterwards
    ``link_only``                 link objectives alone
    ``pretrain_then_link``        cell objectives for ``pretrain_share`` of the steps, then link objectives
    ``frozen_graph``              joint, but the graph encoder keeps its initial weights
    ``frozen_cells``              joint, but the cell encoder keeps its initial weights
    ============================= ======================================================================

    Attributes
    ----------
    config
        Name and shares.
    max_steps
        Length of the run; equal in every arm of a comparison.
    cell_objectives, link_objectives
        Names of the recipe's objectives by the side they read.
    """

    config: ScheduleConfig
    max_steps: int
    cell_objectives: tuple[str, ...]
    link_objectives: tuple[str, ...]

    @property
    def pretrain_steps(self) -> int:
        """Steps of the first phase of ``pretrain_then_link``; 0 for the others."""
        if self.config.name != "pretrain_then_link":
            return 0
        return max(1, round(self.config.pretrain_share * self.max_steps))

    def _sides(self, step: int) -> Sequence[str]:
        name = self.config.name
        if name == "mlm_only":
            return (_CELLS,)
        if name == "link_only":
            return (_LINKS,)
        if name == "alternating":
            return (_CELLS,) if (step // self.config.alternate_every) % 2 == 0 else (_LINKS,)
        if name == "pretrain_then_link":
            return (_CELLS,) if step < self.pretrain_steps else (_LINKS,)
        return (_CELLS, _LINKS)

    def active(self, step: int) -> frozenset[str]:
        """Names of the objectives that act at ``step`` (from 0)."""
        sides = self._sides(step)
        names = (self.cell_objectives if _CELLS in sides else ()) + (self.link_objectives if _LINKS in sides else ())
        return frozenset(names)

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Attributes of the model that keep their initial weights."""
        return {"frozen_graph": ("graph_encoder",), "frozen_cells": ("cell_encoder",)}.get(self.config.name, ())

    @property
    def trains_cells(self) -> bool:
        """Whether any step trains masked values, so that a held-out R2 means something."""
        return self.config.name != "link_only" and bool(self.cell_objectives)

    @property
    def trains_links(self) -> bool:
        """Whether any step trains the link decoder; if not, links are scored by a probe."""
        return self.config.name != "mlm_only" and bool(self.link_objectives)

    def may_stop(self, step: int) -> bool:
        """Early stopping waits for the phase whose metric selects the checkpoint."""
        return step >= self.pretrain_steps
