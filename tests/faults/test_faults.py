"""The short form of ``python -m tests.faults``: every class once, on a small run."""

from __future__ import annotations

from pathlib import Path

from tests.faults.__main__ import lines, run
from tests.faults.classes import CLASSES
from tests.faults.hostile import hostile_files


def test_the_short_form(tmp_path: Path) -> None:
    table, bad = run(tmp_path, short=True)
    print("\n".join(lines(table)))
    assert set(table) == set(CLASSES)
    assert not bad, "\n".join(bad)


def test_there_are_at_least_110_hostile_files() -> None:
    assert len(hostile_files()) >= 110
