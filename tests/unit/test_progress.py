"""Progress tells a rate and the time left wherever it is shown, and nothing before it is called."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest
from rich.console import Console

from grn_cotrain import progress as module
from grn_cotrain.progress import counted


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def test_lines_come_every_fifteen_seconds_with_rate_and_time_left(clock: Clock) -> None:
    said: list[str] = []
    with counted("reading", "cells", console=Console(file=io.StringIO()), say=said.append) as progress:
        for done in range(0, 41, 10):  # ten cells every ten seconds
            progress(done, 100)
            clock.now += 10
    assert said == ["  reading: 20/100  1 cells/s  80 s left", "  reading: 40/100  1 cells/s  60 s left"]


def test_nothing_is_shown_of_work_that_reports_nothing() -> None:
    said: list[str] = []
    out = io.StringIO()
    with counted("reading", "cells", console=Console(file=out, force_terminal=True), say=said.append):
        pass
    assert (said, out.getvalue()) == ([], "")


def test_a_terminal_has_a_bar() -> None:
    out = io.StringIO()
    with counted("reading", "cells", console=Console(file=out, force_terminal=True, width=120), say=print) as progress:
        progress(0, 20)
        progress(20, 20)
    assert "reading" in out.getvalue()
    assert "20/20" in out.getvalue()


def test_a_notebook_has_one_line_that_changes_and_goes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, text: str) -> None:
            shown.append(f"again: {text}")

    def display(text: str, *, display_id: bool) -> Handle:
        assert display_id
        shown.append(text)
        return Handle()

    fake: Any = types.ModuleType("IPython.display")
    fake.Pretty, fake.display = str, display
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    console = Console(file=io.StringIO(), force_jupyter=True)
    with counted("reading", "cells", console=console, say=print) as progress:
        for done in range(0, 31, 10):
            progress(done, 30)
            clock.now += 0.6
    assert shown[0] == "  reading: 0/30  0 cells/s  ? s left"
    assert shown[1] == "again:   reading: 20/30  17 cells/s  1 s left"
    assert shown[-1] == "again: "
    assert len(shown) == 3
