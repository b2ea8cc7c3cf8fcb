"""pyproject.toml, environment.yml and constraints.txt say the same, each in its own names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]

# Package index name -> conda name, where they differ.
CONDA_NAMES = {
    "torch": "pytorch",
    "torch-geometric": "pytorch_geometric",
    "torch-scatter": "pytorch_scatter",
    "types-pyyaml": "types-pyyaml",
    "huggingface-hub": "huggingface_hub",
}
# Extras that environment.yml leaves to the user: loggers, the documentation, and peers that repeat other extras.
LEFT_OUT = {"loggers", "docs", "bench"}
CONDA_ONLY = {"python", "pip"}


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _requirements() -> list[Requirement]:
    project = _project()
    lines = list(project["dependencies"])
    for extra, members in project["optional-dependencies"].items():
        if extra not in LEFT_OUT:
            lines += members
    return [Requirement(line) for line in lines]


def _environment() -> tuple[dict[str, str], dict[str, str]]:
    """Versions under conda's names, and those of the pip block."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda: dict[str, str] = {}
    pip: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, dict):
            for line in entry["pip"]:
                requirement = Requirement(line)
                pip[requirement.name.lower()] = str(requirement.specifier)
        else:
            name, version = re.fullmatch(r"([A-Za-z0-9_.-]+?)([<>=].*)?", entry).groups()  # type: ignore[union-attr]
            conda[name] = version or ""
    return conda, pip


def test_environment_lists_every_requirement_with_the_same_version() -> None:
    conda, pip = _environment()
    wrong = []
    for requirement in _requirements():
        name = requirement.name.lower()
        conda_name = CONDA_NAMES.get(name, name)
        found = pip.get(name, conda.get(conda_name))
        if found != str(requirement.specifier):
            wrong.append(f"{name}: pyproject {requirement.specifier}, environment.yml {found}")
    assert not wrong


def test_environment_lists_nothing_else() -> None:
    conda, pip = _environment()
    names = {requirement.name.lower() for requirement in _requirements()}
    conda_names = {CONDA_NAMES.get(name, name) for name in names}
    assert set(conda) - conda_names - CONDA_ONLY == set()
    assert set(pip) - names == set()
    assert conda["python"].startswith("=3.11")


@pytest.mark.parametrize(
    "name", ["pytorch", "pytorch_geometric", "pytorch_scatter", "networkx", "anndata", "pandas", "scanpy"]
)
def test_environment_uses_conda_names(name: str) -> None:
    assert name in _environment()[0]


def test_constraints_pin_every_requirement_within_its_range() -> None:
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[re.sub(r"[-_.]+", "-", name).lower()] = version
    assert pins["torch"] == "2.13.0"
    for requirement in _requirements():
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins, f"{name} is not pinned"
        assert requirement.specifier.contains(Version(pins[name])), (
            f"{name}: {pins[name]} is outside {requirement.specifier}"
        )


def test_extras() -> None:
    extras = _project()["optional-dependencies"]
    assert {"dgl", "scatter", "metrics", "prior", "bench", "dev"} <= set(extras)
    (dgl,) = (Requirement(line) for line in extras["dgl"])
    assert str(dgl.specifier) == "==1.1.3"
    assert dgl.marker is not None
    assert not dgl.marker.evaluate({"python_version": "3.12"})
    assert dgl.marker.evaluate({"python_version": "3.11"})
