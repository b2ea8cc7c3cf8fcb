"""How a run reports itself: to nobody, as plain lines, or as a live bar with cells/s and time left."""

from __future__ import annotations

import logging
from typing import Any, Protocol

__all__ = ["LogReporter", "Reporter"]

logger = logging.getLogger(__name__)


class Reporter(Protocol):
    """Receives what a run does; never changes it."""

    def start(self, description: str, *, total: int, done: int) -> None:
        """``total`` steps, of which ``done`` are behind us (a resumed run)."""
        ...

    def step(self, step: int, record: dict[str, Any]) -> None:
        """A step is done; ``record`` holds losses, ``cells_per_second``, ``tokens_per_second``."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def close(self) -> None:
        """The run has ended or failed."""
        ...


class LogReporter:
    """Writes notes to the module's logger; the command line brings a richer one."""

    def start(self, description: str, *, total: int, done: int) -> None:
        """Log the start."""
        logger.info("%s: %d steps, %d done", description, total, done)

    def step(self, step: int, record: dict[str, Any]) -> None:
        """Log at debug level."""
        logger.debug("step %d: %s", step, record)

    def note(self, text: str) -> None:
        """Log."""
        logger.info("%s", text)

    def close(self) -> None:
        """Nothing to close."""
