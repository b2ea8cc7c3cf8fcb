"""Recipes too large to train in a test are parsed, and their encoders built at their published size."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from experiments.encoders.systems import SYSTEMS, encoder_parameters
from grn_cotrain.recipe import load_recipe

CONFIGS = Path(__file__).resolve().parents[3] / "experiments" / "configs"
LARGE = sorted((CONFIGS / "large").glob("*.yaml"))


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_large_recipe_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRN_COTRAIN_DATA", os.sep + "data")
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize(("size", "millions"), [("3m", 3.0), ("10m", 10.0), ("100m", 120.0)])
def test_xtrimogene_recipes_have_their_published_size(
    size: str, millions: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder's own parameters and a row for each of 19,264 genes."""
    monkeypatch.setenv("GRN_COTRAIN_DATA", os.sep + "data")
    name = f"encoder_xtrimogene_{size}.yaml"
    model = load_recipe(next(path for path in (CONFIGS / name, CONFIGS / "large" / name) if path.is_file())).model
    options = model.cell_encoder.options
    own = encoder_parameters("xtrimogene", options, width=model.width, num_bins=16, num_genes=19_264)
    assert (own + 19_264 * model.width) / 1e6 == pytest.approx(millions, rel=0.05)
    # The study times the very same sizes.
    label = f"xtrimogene {size.upper()}"
    (published,) = [one for one in SYSTEMS["xtrimogene"].published if one.name == label]
    assert published.width == model.width
    for key, value in published.options.items():
        assert options[key] == value


def test_every_encoder_of_the_field_has_a_recipe() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in CONFIGS.glob("*.yaml"))
    found = set(re.findall(r"cell_encoder: (?:\{name: )?(\w+)", text))
    assert {system.encoder for system in SYSTEMS.values()} <= found
