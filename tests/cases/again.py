"""A second run, in a fuller environment, of what may end in another way there.

``--passed-to FILE`` writes the unit tests that passed and that could not notice an optional package: in none of them
was a module or a distribution looked for that is absent, and none started a process, whose imports would not be seen.
``--but-for FILE`` leaves these out. Every other test runs: what was skipped, what asked for something absent, what
started a process, and all of `tests/contract`, `tests/integration` and `tests/real`.

A choice that a library makes once, at its import, is not seen. torch_geometric makes one for torch_scatter; on a CPU it
then uses it for segments that are given by pointers, which the package does not use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

__all__ = ["Absent"]

_FREE = "no optional package"  # a property of a report, so that it reaches the controller of xdist
_PROCESSES = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system")
_reached: list[str] = []  # since the test began
_files: set[Path] = set()  # files with a fixture that reached for something: other tests may share it


class Absent(DistributionFinder):
    """The last finder of imports: it is asked for what no other finder has found."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Note the name of the module, and find nothing."""
        _reached.append(name)
        return None

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterator[Distribution]:
        """Note the name of a distribution that is absent, and find nothing."""
        if context is not None and context.name and not any(MetadataPathFinder.find_distributions(context)):
            _reached.append(context.name)
        return iter(())


def _note_process(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _PROCESSES:
        _reached.append(event)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two files, one for each run."""
    parser.addoption("--passed-to", metavar="FILE", help="write the unit tests that need no second run")
    parser.addoption("--but-for", metavar="FILE", help="leave out the tests of a file of --passed-to")


class _Keeper:
    """Keeps what passed, where the reports of all workers arrive, and writes it at the end."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.called: set[str] = set()
        self.free: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test passed if its call did, and it is over if its end did too."""
        if report.when == "call" and report.passed:
            self.called.add(report.nodeid)
        ended = report.when == "teardown" and report.passed and report.nodeid in self.called
        if ended and report.nodeid.startswith("tests/unit/") and (_FREE, True) in map(tuple, report.user_properties):
            self.free.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """One name a line."""
        self.file.write_text("".join(f"{name}\n" for name in self.free), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Listen where somebody asked for it."""
    file = config.getoption("--passed-to")
    if file:
        sys.meta_path.append(Absent())
        sys.addaudithook(_note_process)
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(_Keeper(Path(file)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test begins."""
    _reached.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """A test has ended: say in its last report whether it was free."""
    if call.when == "setup" and _reached:
        _files.add(item.path)
    if call.when == "teardown" and not _reached and item.path not in _files:
        item.user_properties.append((_FREE, True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what passed elsewhere."""
    file = config.getoption("--but-for")
    if file:
        known = set(Path(file).read_text(encoding="utf-8").splitlines())
        out = [item for item in items if item.nodeid in known]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item.nodeid not in known]
