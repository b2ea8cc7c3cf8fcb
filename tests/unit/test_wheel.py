"""A wheel holds one top-level package, with preparing, recipes and contract cases under its name."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RENAMED = {"data_prep": "data_prep", "tests/cases": "tests"}


@pytest.mark.parametrize("folder", RENAMED)
def test_renamed_folders_import_their_own_modules_relatively(folder: str) -> None:
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            wrong += [f"{path.name}: {name}" for name in names if name.split(".")[0] == RENAMED[folder]]
    assert not wrong, "write `from .module import name`: the folder has another name once installed"


@pytest.mark.slow
def test_the_wheel_has_one_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ("grn_cotrain", "data_prep", "experiments/configs", "tests/cases"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run([*command, "-w", str(tmp_path / "out"), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"grn_cotrain"}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "grn_cotrain").rglob("*.py")}
    assert here <= names
    for place, folder, ending in (
        ("preparing", "data_prep", "*.py"),
        ("preparing", "data_prep", "*.tsv"),
        ("preparing", "data_prep", "*.yaml"),
        ("recipes", "experiments/configs", "*.yaml"),
        ("testing", "tests/cases", "*.py"),
    ):
        expected = {f"grn_cotrain/{place}/{path.relative_to(ROOT / folder)}" for path in (ROOT / folder).rglob(ending)}
        assert expected
        assert expected <= names
    check = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from importlib.metadata import distribution; import grn_cotrain.testing.couplings;"
        "found = {point.name: point.load().__module__ for point in distribution('grn-cotrain').entry_points};"
        "print(sorted(found.items()), 'data_prep' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path / "site")], capture_output=True, text=True, cwd=tmp_path
    )
    assert (
        done.stdout.strip()
        == str(
            [
                ("default", "grn_cotrain.preparing.ensure"),
                ("grn-cotrain", "grn_cotrain.cli"),
                ("grn-prep", "grn_cotrain.preparing.cli"),
            ]
        )
        + " False"
    ), done.stderr[-2000:]
