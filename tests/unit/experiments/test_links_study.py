"""The study of links: every part of every size is a recipe that loads, with the split that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.studies.links import TIERS, Part, app, overrides, parts
from grn_cotrain.commandline import run_app
from grn_cotrain.compare.vary import check_arms, make_arms


@pytest.mark.parametrize("name", TIERS)
def test_every_part_is_a_recipe(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRN_COTRAIN_DATA", str(tmp_path))
    tier = TIERS[name]
    arms = make_arms(tier.vary)
    found = parts(tier)
    assert len({part.name for part in found}) == len(found)
    for part in found:
        for recipe in check_arms(part.template, arms, overrides=overrides(part, tier, tmp_path)):
            assert recipe.prep is not None
            assert recipe.prep.splits[0].kind == part.kind
            assert recipe.prep.splits[0].seed == part.seed
            assert recipe.data.split.startswith(f"{part.kind}-")
            assert f"seed{part.seed}" in recipe.data.split
            assert recipe.model.link_decoder.options["evidence"] == ["boosting_all"]


def test_cells_of_a_network_come_from_its_own_template() -> None:
    assert Part("hesc-string", "unseen-tf", 0).template.stem == "hesc_string"
    assert Part("trrust", "unseen-tf", 0).template.stem == "kang_collectri"


def test_one_size_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["--out", str(tmp_path / "out")]) == 2
    assert "--quick, --core, --all: got 0 of them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
