"""Progress of countable work: a bar with rate and time left where somebody watches, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

__all__ = ["LINE_EVERY_SECONDS", "Progress", "counted", "human_size", "quiet"]

Progress = Callable[[int, int], None]
"""Function that receives the amount that is done and the whole amount."""

LINE_EVERY_SECONDS = 15.0


def quiet(text: str) -> None:
    """Take a line that nobody wants to read; the default of ``say`` where a library call should print nothing."""
    del text


def human_size(number: float) -> str:
    """Bytes for people, in powers of ten as disks and web pages count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


@contextmanager
def counted(
    description: str, unit: str, *, console: Console | None, say: Callable[[str], object]
) -> Iterator[Callable[[int, int | None], None]]:
    """Yield ``progress(done, total)``; an unknown ``total`` is None.

    Nothing shows until it is called, so that work of an instant stays quiet.

    Parameters
    ----------
    description, unit
        The task, and the unit that is counted: ``reading attention``, ``cells``. ``bytes`` are shown as people read
        them.
    console
        Where a bar is drawn if it is a terminal; in a notebook a line below the cell is kept up to date. None: lines.
    say
        Function that receives a line every 15 seconds where no bar is shown.
    """
    show: _Shows = (
        _Lines(description, say)
        if console is None or not (console.is_jupyter or console.is_terminal)
        else _Notebook(description)
        if console.is_jupyter
        else _Bar(description, console)
    )
    started = time.monotonic()
    before: int | None = None

    def progress(done: int, total: int | None) -> None:
        nonlocal started, before
        now = time.monotonic()
        if before is None or done < before:  # the rate begins with the first report, and with work that begins again
            before, started = done, now
        show.show(done, total, _words(unit, done, total, (done - before) / max(now - started, 1e-9)))

    try:
        yield progress
    finally:
        show.close()


class _Shows(Protocol):
    def show(self, done: int, total: int | None, words: str) -> None: ...

    def close(self) -> None: ...


def _words(unit: str, done: int, total: int | None, rate: float) -> str:
    """Amounts, rate and, where the whole amount is known, the time left."""
    if unit == "bytes":
        amounts = [human_size(part) for part in (done, total) if part is not None]
        speed = f"{human_size(rate)}/s"
    else:
        amounts = [f"{part:,}" for part in (done, total) if part is not None]
        speed = f"{rate:,.0f} {unit}/s"
    left = "" if total is None else f"  {_duration((total - done) / rate) if rate > 0 else '? s'} left"
    return f"{'/'.join(amounts)}  {speed}{left}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Bar:
    """A bar on a terminal that vanishes at the end."""

    def __init__(self, description: str, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self.description = description
        self.task: TaskID | None = None
        words = [TextColumn(f"{{task.{part}}}", markup=False) for part in ("description", "fields[words]")]
        self.bar = Bar(words[0], BarColumn(), words[1], console=console, transient=True)

    def show(self, done: int, total: int | None, words: str) -> None:
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task(self.description, total=total, words=words)
        self.bar.update(self.task, completed=done, total=total, words=words)

    def close(self) -> None:
        if self.task is not None:
            self.bar.stop()


class _Notebook:
    """One line below the cell of a notebook, rewritten every second; it needs no widgets."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.handle: Any = None
        self.last = 0.0

    def show(self, done: int, total: int | None, words: str) -> None:
        from IPython.display import Pretty, display

        now = time.monotonic()
        text = Pretty(f"  {self.description}: {words}")
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

    def __init__(self, description: str, say: Callable[[str], object]) -> None:
        self.description, self.say = description, say
        self.last: float | None = None

    def show(self, done: int, total: int | None, words: str) -> None:
        now = time.monotonic()
        if self.last is None:
            self.last = now
        elif now - self.last >= LINE_EVERY_SECONDS:
            self.last = now
            self.say(f"  {self.description}: {words}")

    def close(self) -> None:
        pass
