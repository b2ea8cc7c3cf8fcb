"""Components from outside. What registers one runs in a process of its own: registries are shared by all tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from grn_cotrain import plugins
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.errors import UserError
from grn_cotrain.nn.couplings.base import COUPLINGS

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


def test_a_file_and_a_module_become_components_and_say_where_they_are_from(own_file: Path) -> None:
    other = own_file.with_name("other_coupling.py")
    other.write_text(COUPLING.replace('"mine"', '"theirs"'), encoding="utf-8")
    named = os.pathsep.join([str(own_file), "other_coupling"])
    done = _cli(["list", "coupling"], named, PYTHONPATH=str(own_file.parent))
    assert done.returncode == 0, done.stderr
    assert {"mine", "theirs"} <= {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == ["mine"]]
    assert "Tokens read the encoded gene alone." in line
    assert "[none yet]" in line
    assert "plug-in grn_cotrain_plugin_my_coupling" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("import nonsense_that_is_not_there", "no module named 'nonsense_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (COUPLING.replace('"mine"', '"shared"'), "registered twice"),
    ],
)
def test_a_bad_plugin_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, message: str
) -> None:
    """Seen from inside: nothing of a bad file is kept, so one process can read them all."""
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    before = COUPLINGS.names()
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    with pytest.raises(UserError, match="bad.py.*" + re.escape(message)) as caught:
        plugins.load_plugins()
    assert "\n" not in str(caught.value)
    assert COUPLINGS.names() == before
    assert "grn_cotrain_plugin_bad" not in sys.modules


def test_a_bad_plugin_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    done = _cli(["list", "coupling"], str(tmp_path / "bad.py"))
    assert done.returncode == 2
    error = " ".join(done.stderr.split())
    assert "bad.py': no such file" in error
    assert "Traceback" not in error


def test_an_unknown_name_says_how_to_bring_ones_own(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"name: x\ndata: {{prep: {tiny_world}, split: random-seed0}}\nmodel: {{coupling: zzz}}\n", encoding="utf-8"
    )
    assert run_app(app, ["check", str(recipe)]) == 2
    assert plugins.VARIABLE in capsys.readouterr().err


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
