"""Loss weights: fixed, scheduled, or learned from each loss's uncertainty. The one place where losses are summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.recipe import WeightingConfig

__all__ = ["FixedWeighting", "LossWeighting", "ScheduledWeighting", "UncertaintyWeighting", "build_weighting"]


class LossWeighting(nn.Module, ABC):
    """Weights of the named losses at a step."""

    @abstractmethod
    def weight(self, name: str, step: int) -> Tensor | float:
        """Factor of loss ``name``."""

    def penalty(self, name: str) -> Tensor | float:
        """Term added to the weighted loss (uncertainty weighting's log-variance)."""
        del name
        return 0.0

    def combine(self, name: str, loss: Tensor, step: int, *, share: float = 1.0) -> Tensor:
        """``weight * loss + share * penalty``; ``share`` is the part of the step that ``loss`` is of."""
        return self.weight(name, step) * loss + share * self.penalty(name)

    def current(self, names: Sequence[str], step: int) -> dict[str, float]:
        """Plain numbers, for the record."""
        return {name: float(torch.as_tensor(self.weight(name, step)).detach()) for name in names}


class FixedWeighting(LossWeighting):
    """Constant weights; 1 where none is given."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)

    def weight(self, name: str, step: int) -> float:
        """Factor of loss ``name``, whatever the step."""
        del step
        return self.weights.get(name, 1.0)


class ScheduledWeighting(LossWeighting):
    """Linear from ``start`` to ``weights`` over ``steps`` optimiser steps, then constant."""

    def __init__(self, start: Mapping[str, float], weights: Mapping[str, float], steps: int) -> None:
        super().__init__()
        self.start, self.weights, self.steps = dict(start), dict(weights), steps

    def weight(self, name: str, step: int) -> float:
        """Factor of loss ``name`` at ``step``."""
        last = self.weights.get(name, 1.0)
        first = self.start.get(name, last)
        return first + (last - first) * min(1.0, step / max(1, self.steps))


class UncertaintyWeighting(LossWeighting):
    """Homoscedastic uncertainty weighting (Kendall, Gal & Cipolla 2018, eq. 7).

    .. math:: L = \\sum_i \\tfrac12 e^{-s_i} L_i + \\tfrac12 s_i, \\qquad s_i = \\log \\sigma_i^2

    Every ``s_i`` is trained with the model and saved in its checkpoints.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def weight(self, name: str, step: int) -> Tensor:
        """``exp(-s) / 2``."""
        del step
        return 0.5 * torch.exp(-self.log_variance[name])

    def penalty(self, name: str) -> Tensor:
        """``s / 2``."""
        return 0.5 * self.log_variance[name]


def build_weighting(config: WeightingConfig, names: Sequence[str]) -> LossWeighting:
    """Build the weighting of a recipe; weights of unknown losses are refused."""
    for key in (*config.weights, *config.start):
        if key not in names:
            raise UserError(
                f"train.weighting: '{key}' is no objective of this recipe; choose from {', '.join(names)}"
                f"{did_you_mean(key, names)}"
            )
    if config.name == "scheduled":
        return ScheduledWeighting(config.start, config.weights, config.steps)
    if config.name == "uncertainty":
        return UncertaintyWeighting(names)
    return FixedWeighting(config.weights)
