"""Training never receives a test pair: reading one raises, and exchanging them all changes no weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import grn_cotrain.train.run
from grn_cotrain.data.edge_split import EdgeSplit, LabelledPairs, Part
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.run_data import RunData, load_run_data
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe

POISON = ("test_2E", "withheld_2E", "test_negatives_2N", "test_targets_N")


class PoisonedSplit(EdgeSplit):
    """Raises where test pairs are read. Which TFs may be asked about later (``test_sources_S``) is no secret."""

    @classmethod
    def of(cls, split: EdgeSplit) -> PoisonedSplit:
        """The split with its test part poisoned; what is known beforehand is kept."""
        poisoned = object.__new__(cls)
        # Validation candidates leave out known positives; that is done here, where the honest split is still at hand.
        known = {"_validation": split.pairs("validation"), "_hash": split.content_hash, "_labelled": split.labelled}
        vars(poisoned).update(vars(split) | known)
        return poisoned

    def __getattribute__(self, name: str) -> Any:
        if name in POISON:
            raise AssertionError(f"training reads {name}")
        return super().__getattribute__(name)

    def pairs(self, part: Part) -> LabelledPairs:
        """Candidates of training and validation."""
        return vars(self)["_validation"] if part == "validation" else super().pairs(part)

    @property
    def labelled(self) -> bool:
        """Whether the pairs come from files of labels."""
        return bool(vars(self)["_labelled"])

    @property
    def content_hash(self) -> str:
        """Computed before the poison."""
        return str(vars(self)["_hash"])


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training receives poisoned data: no test pairs, and no whole network."""

    def load(recipe: Recipe, prep: Prep | None = None) -> RunData:
        data = load_run_data(recipe, prep)
        folder: Any = SimpleNamespace(folder=data.prep.folder, content_hash=data.prep.content_hash, grn=data.prep.grn)
        return replace(data, prep=folder, split=PoisonedSplit.of(data.split))

    monkeypatch.setattr(grn_cotrain.train.run, "load_run_data", load)


@pytest.mark.parametrize("name", POISON)
def test_the_poison_works(tiny_world: Path, name: str) -> None:
    split = PoisonedSplit.of(Prep.open(tiny_world).split("random-seed0"))
    with pytest.raises(AssertionError, match=f"training reads {name}"):
        getattr(split, name)
    with pytest.raises(AssertionError, match="training reads"):
        split.pairs("test")
    with pytest.raises(AssertionError, match="training reads test_2E"):
        split.all_positives()


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize(
    ("split", "schedule", "decoder", "loss"),
    [
        ("unseen-target-seed0", "joint", "residual", "ranking"),
        ("random-seed0", "joint", "bilinear", "balanced_bce"),
        ("unseen-tf-visible-seed0-fold0", "mlm_only", "mlp", "all_pairs"),
        ("unseen-both-seed0", "link_only", "residual", "all_pairs"),
    ],
)
def test_training_reads_no_test_pair(
    tiny_world: Path, tmp_path: Path, split: str, schedule: str, decoder: str, loss: str
) -> None:
    recipe = tiny_recipe(
        tiny_world,
        data={"split": split},
        model={"link_decoder": decoder},
        objectives={"masked_value": {}, "link_prediction": {"loss": loss}},
        train={"schedule": {"name": schedule}, "max_steps": 3, "validate_every": 2},
    )
    assert train(recipe, tmp_path / "run").is_finished


def test_other_test_pairs_give_the_same_weights(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tiny_world, model={"link_decoder": "residual"}, train={"max_steps": 4})
    honest = train(recipe, tmp_path / "honest").record()

    def load(recipe: Recipe, prep: Prep | None = None) -> RunData:
        data = load_run_data(recipe, prep)
        split = data.split
        targets_E = np.random.default_rng(0).permutation(split.test_2E[1])
        return replace(data, split=replace(split, test_2E=np.stack([split.test_2E[0], targets_E])))

    monkeypatch.setattr(grn_cotrain.train.run, "load_run_data", load)
    other = train(recipe, tmp_path / "other").record()
    assert other["split_hash"] != honest["split_hash"], "the test pairs are others"
    assert other["weights_sha256"] == honest["weights_sha256"]
