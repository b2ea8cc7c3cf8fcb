"""The processes that train one model together: they agree on what failed, exchange counts, and add up gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from grn_cotrain.errors import UserError
from grn_cotrain.train.launchers import PeerFailed

__all__ = ["ALONE", "Group"]

T = TypeVar("T")


class Group:
    """``size`` processes, of which this is number ``rank``; number 0 writes, reports and validates.

    Parameters
    ----------
    rank, size
        Place of this process; torch's process group must be running where ``size`` is above 1.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    @property
    def takes_links(self) -> bool:
        """Whether this process computes the supervised pairs of a step: the last one has the fewest micro-batches."""
        return self.rank == self.size - 1

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        self._exchange(lambda: dist.all_gather_object(found, value))
        return found

    def together(self, work: Callable[[], T]) -> T:
        """Do ``work`` in every process; where it fails in one, it fails in all.

        Raises
        ------
        UserError
            In process 0, with the message of the process that failed.
        PeerFailed
            In the other processes, so that one line is printed and no more. An error that is no UserError keeps its
            traceback in the process where it came up.
        """
        if self.size == 1:
            return work()
        failure: Exception | None = None
        result: Any = None
        try:
            result = work()
        except Exception as error:
            failure = error
        told = self.gather(None if failure is None else (isinstance(failure, UserError), str(failure)))
        first = next((one for one in told if one is not None), None)
        if first is None:
            return result
        is_user_error, text = first
        if failure is not None and (self.is_first or not isinstance(failure, UserError)):
            raise failure
        if self.is_first and is_user_error:
            raise UserError(text)
        raise PeerFailed(2 if is_user_error else 1, text)

    def first(self, work: Callable[[], T]) -> T:
        """Do ``work`` in process 0 alone; every process gets what it returned."""
        return self.gather(self.together(lambda: work() if self.is_first else None))[0]  # type: ignore[return-value]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do ``work`` in every process, first in process 0: the others then find what it has written."""
        mine = self.together(lambda: work() if self.is_first else None)
        others = self.together(lambda: None if self.is_first else work())
        return mine if self.is_first else others  # type: ignore[return-value]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum ``.grad`` over the processes. A parameter that no process has a gradient of keeps None."""
        if self.size == 1:
            return
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        has = self.gather([parameter.grad is not None for parameter in wanted])
        used = [parameter for i, parameter in enumerate(wanted) if any(one[i] for one in has)]
        if not used:
            return
        flat = torch.cat([_gradient(parameter).flatten() for parameter in used])
        self._exchange(lambda: dist.all_reduce(flat))
        for parameter, part in zip(used, flat.split([parameter.numel() for parameter in used]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def _exchange(self, call: Callable[[], object]) -> None:
        try:
            call()
        except RuntimeError as error:  # the connection is closed: a process is gone
            text = "training: another process of this run has ended; see what it reported"
            if self.is_first:
                raise UserError(text) from error
            raise PeerFailed(2, text) from None


ALONE = Group()
"""One process."""


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
