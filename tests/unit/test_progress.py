"""Progress tells a rate and the time left wherever it is shown, and nothing before it is called."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest
from rich.console import Console

from grn_cotrain import progress as module
from grn_cotrain.progress import counted, human_size


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


def test_bytes_are_shown_as_people_read_them_and_no_time_is_promised_without_a_total(clock: Clock) -> None:
    said: list[str] = []
    with counted("thing", "bytes", console=None, say=said.append) as progress:
        for done in (20_000_000, 60_000_000):
            progress(done, 100_000_000)
            clock.now += 20
        progress(0, None)  # the server sends the file from its start
        clock.now += 20
        progress(1_000_000, None)
    assert said == ["  thing: 60.0 MB/100 MB  2.0 MB/s  20 s left", "  thing: 0 B  0 B/s", "  thing: 1.0 MB  50.0 kB/s"]


@pytest.mark.parametrize(("left", "text"), [(99, "99 s left"), (600, "10 min left"), (9000, "2.5 h left")])
def test_long_times_are_told_in_minutes_and_hours(clock: Clock, left: int, text: str) -> None:
    said: list[str] = []
    with counted("reading", "cells", console=None, say=said.append) as progress:
        progress(0, left + 20)
        clock.now += 20
        progress(20, left + 20)
    assert said[0].endswith(f"  1 cells/s  {text}")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (262e6, "262 MB"), (1.7e9, "1.7 GB"), (3e12, "3.0 TB")],
)
def test_human_size(size: float, text: str) -> None:
    assert human_size(size) == text


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
