"""Progress on a terminal: a bar with loss or rate and time left; plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from grn_cotrain.commandline import console, say
from grn_cotrain.progress import LINE_EVERY_SECONDS
from grn_cotrain.progress import counted as counted_on

__all__ = ["TerminalReporter", "counted"]


class TerminalReporter:
    """Implements :class:`grn_cotrain.train.progress.Reporter`."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._total = 0
        self._started = self._last = 0.0
        self._first = 0

    def start(self, description: str, *, total: int, done: int) -> None:
        """Open the bar, or print a line."""
        self._total, self._first = total, done
        self._started = self._last = time.monotonic()
        if not console().is_terminal:
            say(f"{description}: {total} steps" + (f", {done} done" if done else ""))
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console(),
        )
        self._progress.start()
        self._task = self._progress.add_task(description, total=total, completed=done, rate="", losses="")

    def step(self, step: int, record: dict[str, Any]) -> None:
        """Advance."""
        rate = record.get("cells_per_second") or 0.0
        speed = f"{rate:.0f} cells/s" if rate else ""
        losses = "  ".join(f"{k[5:]} {v:.3f}" for k, v in record.items() if k.startswith("loss/"))
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=step, rate=speed, losses=losses)
            return
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_SECONDS:
            self._last = now
            left = (now - self._started) / max(1, step - self._first) * (self._total - step)
            say(f"  step {step}/{self._total}  {speed}  {left:.0f} s left  {losses}")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        say(f"  {text}")

    def close(self) -> None:
        """Close the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextmanager
def counted(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield ``progress(done, total)`` as :func:`grn_cotrain.progress.counted` does, on the console for results."""
    with counted_on(description, unit, console=console(), say=say) as progress:
        yield progress
