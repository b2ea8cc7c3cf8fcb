"""Plain numbers of a step: sums and counts of losses, and means of metrics, added over micro-batches and processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from grn_cotrain.objectives import LossOutput

__all__ = ["StepReport", "Tally"]


@dataclass
class StepReport:
    """Losses of a step, their parts and metrics (``OBJECTIVE/NAME``), and the cells and tokens read."""

    losses: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    num_cells: int = 0
    num_tokens: int = 0


@dataclass
class Tally:
    """Sums that can be added.

    Attributes
    ----------
    sums
        Objective -> part -> sum, count and weight in the loss.
    metrics
        Objective -> metric -> sum over items, and number of items.
    num_cells, num_tokens
        Cells and tokens that were read.
    """

    sums: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)
    metrics: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    num_cells: int = 0
    num_tokens: int = 0

    def add(self, losses: Mapping[str, LossOutput]) -> None:
        """Add what a micro-batch gave. A metric that is not a finite number there has no weight."""
        for name, output in losses.items():
            for key, part in output.parts.items():
                self._add_sum(name, key, (float(part.sum.detach()), part.count, part.weight))
            for key, value in output.metrics.items():
                if math.isfinite(value):
                    self._add_metric(name, key, (value * output.count, output.count))

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Tally:
        """All of them together."""
        whole = cls()
        for tally in tallies:
            for name, parts in tally.sums.items():
                for key, part in parts.items():
                    whole._add_sum(name, key, part)
            for name, metrics in tally.metrics.items():
                for key, metric in metrics.items():
                    whole._add_metric(name, key, metric)
            whole.num_cells += tally.num_cells
            whole.num_tokens += tally.num_tokens
        return whole

    def _add_sum(self, name: str, key: str, part: tuple[float, float, float]) -> None:
        before = self.sums.setdefault(name, {}).get(key, (0.0, 0.0, part[2]))
        self.sums[name][key] = (before[0] + part[0], before[1] + part[1], part[2])

    def _add_metric(self, name: str, key: str, metric: tuple[float, float]) -> None:
        before = self.metrics.setdefault(name, {}).get(key, (0.0, 0.0))
        self.metrics[name][key] = (before[0] + metric[0], before[1] + metric[1])

    @property
    def losses(self) -> dict[str, float]:
        """Loss by objective: the weighted means of its parts, added up."""
        return {
            name: sum(weight * total / (count or 1.0) for total, count, weight in parts.values())
            for name, parts in self.sums.items()
        }

    @property
    def metric_means(self) -> dict[str, float]:
        """Mean of each metric over the items that have it, by ``OBJECTIVE/METRIC``."""
        return {
            f"{name}/{key}": total / (count or 1.0)
            for name, metrics in self.metrics.items()
            for key, (total, count) in metrics.items()
        }

    def report(self) -> StepReport:
        """Means, divided once."""
        parts = {
            f"{name}/{key}": total / (count or 1.0)
            for name, found in self.sums.items()
            for key, (total, count, _) in found.items()
        }
        return StepReport(self.losses, parts | self.metric_means, self.num_cells, self.num_tokens)
