"""Every random draw of a run is a function of (seed, step, purpose).

No generator is carried from step to step, so a resumed run draws what an uninterrupted one would have drawn, and
validation cannot disturb training.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch

__all__ = ["Purpose", "numpy_generator", "step_seed", "torch_generator"]


class Purpose(IntEnum):
    """Purpose of a draw; each purpose has a stream of its own."""

    SUPERVISION = 1
    TABLE = 2
    CELLS = 3
    DROPOUT = 4
    VALIDATION = 5
    PROBE = 6
    STEP_DROPOUT = 7


def step_seed(seed: int, step: int, purpose: Purpose, micro_batch: int = 0) -> int:
    """A 63-bit seed."""
    state = np.random.SeedSequence((seed, step, int(purpose), micro_batch)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def numpy_generator(seed: int, step: int, purpose: Purpose) -> np.random.Generator:
    """A numpy generator for one purpose of one step."""
    return np.random.default_rng(step_seed(seed, step, purpose))


def torch_generator(
    seed: int, step: int, purpose: Purpose, micro_batch: int = 0, *, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator for one purpose of one micro-batch."""
    generator = torch.Generator(device=device)
    generator.manual_seed(step_seed(seed, step, purpose, micro_batch))
    return generator
