"""Schedules: which objectives act at a step, and which parts keep their initial weights."""

from __future__ import annotations

from dataclasses import dataclass

from grn_cotrain.recipe_train import ScheduleConfig

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Plan of a run.

    ============================= ======================================================================
    ``joint``                     every objective at every step
    ``loop``                      ``rounds`` of links and regulon factors that support each other, then joint
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
        return max(1, round(self.config.pretrain_share * self.max_steps)) if self.config.plan.pretrains else 0

    def _cells_act(self, step: int) -> bool:
        plan = self.config.plan
        if plan.takes_turns:
            return (step // self.config.alternate_every) % 2 == 0
        return step < self.pretrain_steps if plan.pretrains else plan.trains_cells

    def _links_act(self, step: int) -> bool:
        plan = self.config.plan
        return not self._cells_act(step) if plan.takes_turns or plan.pretrains else plan.trains_links

    def active(self, step: int) -> frozenset[str]:
        """Names of the objectives that act at ``step`` (from 0)."""
        cells = self.cell_objectives if self._cells_act(step) else ()
        links = self.link_objectives if self._links_act(step) else ()
        return frozenset(cells + links)

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Attributes of the model that keep their initial weights."""
        return self.config.plan.frozen_parts

    @property
    def trains_cells(self) -> bool:
        """Whether any step trains masked values, so that a held-out R2 means something."""
        return self.config.plan.trains_cells and bool(self.cell_objectives)

    @property
    def trains_links(self) -> bool:
        """Whether any step trains the link decoder; if not, links are scored by a probe."""
        return self.config.plan.trains_links and bool(self.link_objectives)

    def may_stop(self, step: int) -> bool:
        """Early stopping waits for the phase whose metric selects the checkpoint."""
        return step >= self.pretrain_steps
