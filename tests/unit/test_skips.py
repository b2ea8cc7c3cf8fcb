"""Skips: one helper names the extra, and a run may skip for listed reasons only."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cases.skips import EXTRAS, LISTED, extra, unlisted

ROOT = Path(__file__).resolve().parents[2]
HELPER = ROOT / "tests" / "cases" / "skips.py"
DECOUPLER = "needs the extra 'prior' (decoupler): run make setup-ci"


def test_an_extra_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decoupler", None)
    with pytest.raises(pytest.skip.Exception) as caught:
        extra("decoupler")
    assert str(caught.value) == DECOUPLER


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


def test_reasons_of_a_full_environment() -> None:
    reasons = [LISTED["data"], DECOUPLER, "no time today", DECOUPLER]
    assert unlisted(reasons, extras_required=False) == ["no time today"]
    assert unlisted(reasons, extras_required=True) == [DECOUPLER, "no time today"]


def test_no_test_skips_in_another_way() -> None:
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path in {HELPER, Path(__file__).resolve()}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            if name in {"importorskip", "skipif", "xfail", "skipTest"} or (
                name == "skip" and isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"pytest", "mark"}
            ):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


@pytest.mark.parametrize(("required", "code"), [("", 0), ("required", 1)])
def test_a_run_fails_on_a_skip_that_is_not_allowed(tmp_path: Path, required: str, code: int) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\nfrom tests.conftest import _keep_reason\n")
    (tmp_path / "test_it.py").write_text(
        "import sys\nfrom tests.cases.skips import extra\n"
        "def test_it():\n    sys.modules['decoupler'] = None\n    extra('decoupler')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "GRN_COTRAIN_EXTRAS": required},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("does not allow" in done.stderr and DECOUPLER in done.stderr) == bool(code)
