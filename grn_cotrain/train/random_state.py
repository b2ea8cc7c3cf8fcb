"""torch's global random state, from which dropout draws: kept and put back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["RandomState"]


class RandomState:
    """The state on the CPU, and on ``device`` where that is another one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None

    def get(self) -> tuple[Tensor, Tensor | None]:
        """The state now."""
        there = None if self._device is None else torch.cuda.get_rng_state(self._device)
        return torch.get_rng_state(), there

    def set(self, state: tuple[Tensor, Tensor | None]) -> None:
        """Go back to a state."""
        torch.set_rng_state(state[0])
        if self._device is not None and state[1] is not None:
            torch.cuda.set_rng_state(state[1], self._device)
