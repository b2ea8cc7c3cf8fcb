"""Ctrl-C and SIGTERM: stop where nothing is lost, and report how to continue."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

__all__ = ["Stop", "TrainingStopped", "stop_at_next_step", "stop_cleanly"]

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class TrainingStopped(KeyboardInterrupt):
    """Training ended by a signal, and what was reached is saved.

    It is a :class:`KeyboardInterrupt`, so that code which handles Ctrl-C handles it too.

    Attributes
    ----------
    exit_code
        128 and the number of the signal: 130 after Ctrl-C, 143 after SIGTERM. Never 0: ``train && evaluate`` must not
        continue with a model that is not finished.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


@dataclass
class Stop:
    """Whether somebody asked to stop.

    Attributes
    ----------
    number
        Signal that asked; None while nobody has.
    """

    number: int | None = None

    @property
    def by(self) -> str:
        """The signal as people call it."""
        return "" if self.number is None else _NAMES.get(signal.Signals(self.number), str(self.number))


@contextlib.contextmanager
def stop_at_next_step(done: str = "after this step", *, quiet: bool = False) -> Iterator[Stop]:
    """Yield a :class:`Stop` that the first Ctrl-C or SIGTERM sets; a second one raises KeyboardInterrupt at once.

    Handlers are set in the main thread only, where Python allows it, and only in place of Python's own or the system's:
    a program that handles these signals by itself keeps its handlers. In the end the earlier ones are back.

    Parameters
    ----------
    done
        When training will stop, for the line that the first signal writes to stderr.
    quiet
        Whether to leave out that line.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.number is not None:
            raise KeyboardInterrupt
        stop.number = number
        if quiet:
            return
        # os.write, since the signal may have come in the middle of a print.
        text = f"\n{stop.by}: training stops {done}; a second one stops it at once\n"
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.write(sys.__stderr__.fileno(), text.encode())  # type: ignore[union-attr]

    with _handlers(ask):
        yield stop


@contextlib.contextmanager
def stop_cleanly(text: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM raise :class:`TrainingStopped` with ``text``, so that temporary files are removed."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        del frame
        raise TrainingStopped(number, f"stopped by {_NAMES[signal.Signals(number)]}: {text}")

    with _handlers(raise_it):
        yield


@contextlib.contextmanager
def _handlers(handler: object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = (signal.default_int_handler, signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in _NAMES}
    try:
        for number, old in before.items():
            if old in ours:
                signal.signal(number, handler)  # type: ignore[arg-type]
        yield
    finally:
        for number, old in before.items():
            if old in ours:
                signal.signal(number, old)
