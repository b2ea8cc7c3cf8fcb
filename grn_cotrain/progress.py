"""Progress of countable work: a bar with rate and time left where somebody watches, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

__all__ = ["LINE_EVERY_SECONDS", "Progress", "counted"]

Progress = Callable[[int, int], None]
"""Function that receives the amount that is done and the whole amount."""

LINE_EVERY_SECONDS = 15.0


@contextmanager
def counted(description: str, unit: str, *, console: Console, say: Callable[[str], None]) -> Iterator[Progress]:
    """Yield ``progress(done, total)``.

    Nothing shows until it is called, so that work of an instant stays quiet.

    Parameters
    ----------
    description, unit
        The task, and the unit that is counted: ``reading attention``, ``cells``.
    console
        Where a bar is drawn if it is a terminal; in a notebook a line below the cell is kept up to date.
    say
        Function that receives a line every 15 seconds where no bar is shown.
    """
    show: _Shows = (
        _Notebook(description, unit)
        if console.is_jupyter
        else _Bar(description, unit, console)
        if console.is_terminal
        else _Lines(description, unit, say)
    )
    started = time.monotonic()
    before: int | None = None

    def progress(done: int, total: int) -> None:
        nonlocal started, before
        now = time.monotonic()
        if before is None:  # the clock of the rate starts with the first report, not with the loading before it
            before, started = done, now
        show.show(done, total, (done - before) / max(now - started, 1e-9))

    try:
        yield progress
    finally:
        show.close()


class _Shows(Protocol):
    def show(self, done: int, total: int, rate: float) -> None: ...

    def close(self) -> None: ...


def _words(description: str, unit: str, done: int, total: int, rate: float) -> str:
    left = f"{(total - done) / rate:,.0f} s left" if rate > 0 else "? s left"
    return f"  {description}: {done:,}/{total:,}  {rate:,.0f} {unit}/s  {left}"


class _Bar:
    """A bar on a terminal that vanishes at the end."""

    def __init__(self, description: str, unit: str, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.description, self.unit = description, unit
        self.task: TaskID | None = None
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def show(self, done: int, total: int, rate: float) -> None:
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task(self.description, total=total, rate="")
        self.bar.update(self.task, completed=done, total=total, rate=f"{rate:,.0f} {self.unit}/s")

    def close(self) -> None:
        if self.task is not None:
            self.bar.stop()


class _Notebook:
    """One line below the cell of a notebook, rewritten every second; it needs no widgets."""

    def __init__(self, description: str, unit: str) -> None:
        self.description, self.unit = description, unit
        self.handle: Any = None
        self.last = 0.0

    def show(self, done: int, total: int, rate: float) -> None:
        from IPython.display import Pretty, display

        now = time.monotonic()
        text = Pretty(_words(self.description, self.unit, done, total, rate))
        if self.handle is None:
            self.handle = display(text, display_id=True)
        elif now - self.last >= 1.0:
            self.handle.update(text)
        else:
            return
        self.last = now

    def close(self) -> None:
        if self.handle is not None:
            from IPython.display import Pretty

            self.handle.update(Pretty(""))


class _Lines:
    """A line every 15 seconds, for logs and pipes."""

    def __init__(self, description: str, unit: str, say: Callable[[str], None]) -> None:
        self.description, self.unit, self.say = description, unit, say
        self.last: float | None = None

    def show(self, done: int, total: int, rate: float) -> None:
        now = time.monotonic()
        if self.last is None:
            self.last = now
        elif now - self.last >= LINE_EVERY_SECONDS:
            self.last = now
            self.say(_words(self.description, self.unit, done, total, rate))

    def close(self) -> None:
        pass
