"""Traces of training calls in a model: counters and running statistics, whichever process made the calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["CallCounters", "CountsCalls", "TakesNotes", "notes_of", "replay_notes"]


@runtime_checkable
class CountsCalls(Protocol):
    """A module that does something by the number of its training calls, such as drawing random features again."""

    def calls_so_far(self) -> int:
        """Training calls so far."""
        ...

    def count_to(self, calls: int) -> None:
        """Stand as after ``calls`` training calls."""
        ...


@runtime_checkable
class TakesNotes(Protocol):
    """A module whose running statistics are made of one note a micro-batch."""

    def take_notes(self) -> dict[int, Tensor]:
        """Notes since the last call, by the number of the training call."""
        ...

    def replay(self, noted: Mapping[int, Tensor]) -> None:
        """Set the statistics as if all these micro-batches had been seen here, in order."""
        ...


class CallCounters:
    """Counters of a model at the start of a step. Micro-batch ``i`` of the step is call ``start + i`` everywhere."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [module for module in model.modules() if isinstance(module, CountsCalls)]
        self._start = self.now()

    def now(self) -> list[int]:
        """Number of calls of each module."""
        return [module.calls_so_far() for module in self._modules]

    def set(self, calls: Sequence[int]) -> None:
        """Stand at what :meth:`now` gave."""
        for module, number in zip(self._modules, calls, strict=True):
            module.count_to(number)

    def at(self, micro_batch: int) -> None:
        """Stand where micro-batch ``micro_batch`` of the step begins."""
        self.set([start + micro_batch for start in self._start])


def notes_of(model: nn.Module) -> list[dict[int, Tensor]]:
    """Notes of every module that takes some, in the order of the modules."""
    return [module.take_notes() for module in _noting(model)]


def replay_notes(model: nn.Module, by_process: Iterable[Sequence[Mapping[int, Tensor]]]) -> None:
    """Give every module the notes of all processes."""
    for module, noted in zip(_noting(model), zip(*by_process, strict=True), strict=True):
        module.replay({call: note for part in noted for call, note in part.items()})


def _noting(model: nn.Module) -> list[TakesNotes]:
    return [module for module in model.modules() if isinstance(module, TakesNotes)]
