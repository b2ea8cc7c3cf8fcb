"""How far a download is: a bar with rate and time left on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grn_cotrain import commandline

from .catalogue import human_size

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["PlainMeter", "download_meter"]


class PlainMeter:
    """A line every ``interval`` seconds: bytes, share, rate, time left."""

    def __init__(
        self,
        label: str,
        say: Callable[[str], object],
        *,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.say = say
        self.interval = interval
        self.clock = clock
        self.begin(0, None)

    def begin(self, offset: int, total: int | None) -> None:
        self.offset, self.done, self.total = offset, offset, total
        self.started = self.told = self.clock()

    def advance(self, number: int) -> None:
        self.done += number
        now = self.clock()
        if now - self.told < self.interval:
            return
        self.told = now
        rate = (self.done - self.offset) / (now - self.started)
        text = f"{self.label}: {human_size(self.done)}"
        if self.total:
            left = (self.total - self.done) / rate if rate else float("inf")
            text += f" of {human_size(self.total)} ({100 * self.done / self.total:.0f} %)"
            self.say(f"{text}, {human_size(rate)}/s, {_duration(left)} left")
        else:
            self.say(f"{text}, {human_size(rate)}/s")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Bar(PlainMeter):
    """A bar of rich in the place of lines."""

    def __init__(self, progress: Progress, label: str) -> None:
        self.progress, self.task = progress, progress.add_task(label, total=None)

    def begin(self, offset: int, total: int | None) -> None:
        self.progress.reset(self.task, total=total, completed=offset)

    def advance(self, number: int) -> None:
        self.progress.advance(self.task, number)


@contextmanager
def download_meter(label: str, say: Callable[[str], object]) -> Iterator[PlainMeter]:
    """A bar if ``say`` is the command line's and its output is a terminal, else :class:`PlainMeter`."""
    console = commandline.console()
    if say is not commandline.say or not console.is_terminal:
        yield PlainMeter(label, say)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    label_column = TextColumn("{task.description}", markup=False)
    with Progress(label_column, *columns, console=console, transient=True) as progress:
        yield _Bar(progress, label)
