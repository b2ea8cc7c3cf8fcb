"""A second run leaves out what cannot end in another way, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import contextlib, importlib.metadata, importlib.util, os, subprocess, sys
import pytest

def test_free(): import json; importlib.metadata.version("numpy")
def test_import():
    with contextlib.suppress(ImportError): import a_module_that_is_absent
def test_looks(): assert importlib.util.find_spec("a_module_that_is_absent") is None
def test_distribution():
    with contextlib.suppress(importlib.metadata.PackageNotFoundError): importlib.metadata.version("absent-one")
def test_process(): subprocess.run([sys.executable, "-c", ""], check=True)
def test_fork():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
def test_skipped(): pytest.skip("today")
@pytest.fixture
def broken():
    yield
    import a_module_that_is_absent
def test_ends_badly(broken): pass
def test_fails(): assert not os.environ.get("FIRST")
"""
SHARED = """
import pytest

@pytest.fixture(scope="module")
def shared():
    with pytest.raises(ImportError):
        import a_module_that_is_absent

def test_first(shared): pass
def test_second(shared): pass
"""


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """The end of what pytest prints."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.cases.again", "--rootdir", "."]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_only_what_passed_and_reached_for_nothing_is_left_out(tmp_path: Path) -> None:
    for room in ("unit", "integration"):
        file = tmp_path / "tests" / room / f"test_{room}.py"
        file.parent.mkdir(parents=True)
        file.write_text(TESTS)
    (tmp_path / "tests" / "unit" / "test_fixture.py").write_text(SHARED)
    passed = tmp_path / "passed"
    assert "2 failed, 16 passed, 2 skipped, 2 errors" in run(tmp_path, "-n", "1", "--passed-to", "passed", FIRST="yes")
    assert passed.read_text() == "tests/unit/test_unit.py::test_free\n"
    again = run(tmp_path, "--but-for", "passed", "-k", "not badly")
    assert "15 passed, 2 skipped, 3 deselected" in again
    assert "No such file" in run(tmp_path, "--but-for", "elsewhere")
