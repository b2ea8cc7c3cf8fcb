"""Progress of figures that take their time: the caller's own, or a bar where somebody watches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from grn_cotrain.progress import Progress, counted

__all__ = ["reported"]

logger = logging.getLogger("grn_cotrain.pl")


@contextmanager
def reported(description: str, unit: str, progress: Progress | None) -> Iterator[Progress]:
    """Yield the receiver of progress: ``progress`` if given, else a bar on stderr, a line in a notebook, or lines in
    the log."""
    if progress is not None:
        yield progress
        return
    from rich.console import Console

    with counted(description, unit, console=Console(stderr=True), say=logger.info) as shown:
        yield shown
