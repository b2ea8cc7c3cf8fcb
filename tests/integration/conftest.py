"""Fixtures of the command-line tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.worlds import tiny_recipe, write_recipe


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run that may be written to."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def recipe_file(tiny_world: Path, tmp_path: Path) -> Path:
    """A recipe of two steps as a user's file."""
    return write_recipe(tiny_recipe(tiny_world, train={"max_steps": 2}), tmp_path / "recipe.yaml")
