"""Components from outside the package. Each case is a process of its own: registries are shared by all of one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from grn_cotrain import plugins
from grn_cotrain.errors import UserError

COUPLING = '''
"""A coupling of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from grn_cotrain.nn.couplings.base import COUPLINGS, Coupled, Coupling


@COUPLINGS.register("mine", paper="none yet")
class Mine(Coupling):
    """Tokens read the encoded gene alone."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No settings."""

    def __init__(self, config, *, width):
        super().__init__()

    def forward(self, table_GD, graph_GD):
        return Coupled(graph_GD)
'''


def _cli(arguments: list[str], named: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grn_cotrain.cli", *arguments],
        env={**os.environ, plugins.VARIABLE: named, **more},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "my_coupling.py"
    path.write_text(COUPLING, encoding="utf-8")
    return path


def test_a_file_becomes_a_component_and_says_where_it_is_from(own_file: Path) -> None:
    done = _cli(["list", "coupling"], str(own_file))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == ["mine"]]
    assert "Tokens read the encoded gene alone." in line
    assert "[none yet]" in line
    assert "plug-in grn_cotrain_plugin_my_coupling" in " ".join(done.stdout.split())


def test_a_module_on_the_path_works_too_beside_a_file(own_file: Path) -> None:
    other = own_file.with_name("other_coupling.py")
    other.write_text(COUPLING.replace('"mine"', '"theirs"'), encoding="utf-8")
    named = os.pathsep.join([str(own_file), "other_coupling"])
    done = _cli(["list", "coupling"], named, PYTHONPATH=str(own_file.parent))
    assert done.returncode == 0, done.stderr
    assert {"mine", "theirs"} <= {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("import nonsense_that_is_not_there", "no module named 'nonsense_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (COUPLING.replace('"mine"', '"shared"'), "registered twice"),
    ],
)
def test_a_bad_plugin_is_one_line_that_names_it(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = _cli(["list", "coupling"], str(path))
    assert done.returncode == 2
    error = " ".join(done.stderr.split())
    assert "bad.py" in error
    assert message in error
    assert "Traceback" not in error


def test_an_unknown_name_says_how_to_bring_ones_own(tiny_world: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"name: x\ndata: {{prep: {tiny_world}, split: random-seed0}}\nmodel: {{coupling: zzz}}\n", encoding="utf-8"
    )
    done = _cli(["check", str(recipe)], "")
    assert done.returncode == 2
    assert plugins.VARIABLE in done.stderr


def test_installed_packages_announce_modules(own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from inside: the entry point's module is imported once, a broken one names the entry point."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.delenv(plugins.VARIABLE, raising=False)
    (own_file.parent / "announced_by_a_package.py").write_text("IMPORTED = True", encoding="utf-8")
    monkeypatch.syspath_prepend(str(own_file.parent))
    points = [EntryPoint("tools", "announced_by_a_package", plugins.ENTRY_POINTS)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == plugins.ENTRY_POINTS else [])
    plugins.load_plugins()
    plugins.load_plugins()
    assert list(plugins.plugins()) == ["tools = announced_by_a_package"]
    points.append(EntryPoint("gone", "module_that_is_not_there", plugins.ENTRY_POINTS))
    with pytest.raises(UserError, match="'gone = module_that_is_not_there': no module named"):
        plugins.load_plugins()
