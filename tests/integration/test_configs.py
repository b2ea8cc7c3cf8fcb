"""Every shipped recipe trains on generated data of its kind; every command of the README runs as it is printed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from data_prep.splits import prepare_splits
from grn_cotrain.commandline import run_app
from grn_cotrain.config import to_dict
from grn_cotrain.data.prep import Prep
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.recipe import Recipe, load_recipe
from grn_cotrain.train.run import train
from tests.commands import APPS, ROOT, check_command, readme_commands
from tests.faults.child import start_forked
from tests.worlds import tiny_recipe, write_recipe

CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.yaml"))


def labelled_file(path: Path, prep: Prep, positives_2E: np.ndarray, negatives_2N: np.ndarray) -> Path:
    """Pairs by symbol with labels, as the published splits come."""
    pairs_2M = np.concatenate([positives_2E, negatives_2N], axis=1)
    names = np.array(prep.vocab.symbols)
    labels_M = np.arange(pairs_2M.shape[1]) < positives_2E.shape[1]
    frame = pd.DataFrame({"TF": names[pairs_2M[0]], "Target": names[pairs_2M[1]], "Label": labels_M.astype(int)})
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def world(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world with a published split too."""
    folder = tmp_path_factory.mktemp("configs")
    world = Path(shutil.copytree(tiny_world, folder / "prep"))
    prep = Prep.open(world)
    split = prep.split("random-seed0")
    unlabelled = split.pairs("test")
    negatives_2N = unlabelled.pairs_2M[:, ~unlabelled.labels_M]
    chosen = np.random.default_rng(0).permutation(negatives_2N.shape[1])[:400]
    train = labelled_file(folder / "train.csv", prep, split.train_2E, negatives_2N[:, chosen[:300]])
    test = labelled_file(folder / "test.csv", prep, split.test_2E, negatives_2N[:, chosen[300:]])
    prepare_splits(world, "published", train=train, test=test)
    return world


def shipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setenv("GRN_COTRAIN_DATA", "/data")
    return load_recipe(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipe_trains(path: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shipped(path, monkeypatch)
    small = replace(
        recipe,
        prep=None,
        data=replace(recipe.data, prep=str(world)),
        train=replace(
            recipe.train, max_steps=3, tokens_per_batch=2048, validate_every=2, checkpoint_every=3, threads=1
        ),
    )
    run = train(small, tmp_path / "run")
    assert run.record()["steps"] == 3
    losses = [
        value
        for line in (run.folder / "metrics.jsonl").read_text().splitlines()
        for key, value in json.loads(line).items()
        if key.startswith("loss/")
    ]
    assert losses
    assert all(value is not None for value in losses), "no loss is infinite"
    frame = evaluate_run(run.folder, controls="none", bootstrap=0).frame
    assert set(frame["split"]) == {recipe.data.split}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipe_makes_the_split_that_it_trains_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shipped(path, monkeypatch)
    if recipe.prep is None:  # the demo on the simulated world prepares it by a command
        return
    stems = set()
    for split in recipe.prep.splits:
        track = f"-{split.track}" if split.kind == "unseen-tf" else ""
        stems.add(split.kind if split.kind == "published" else f"{split.kind}{track}-seed{split.seed}")
    assert re.sub(r"-fold[0-4]$", "", recipe.data.split) in stems


def test_shipped_recipes_are_complete() -> None:
    """What matters is written out, not left to defaults that may change."""
    for path in CONFIGS:
        given = set(re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert given >= set(to_dict(tiny_recipe(path))) - {"prep"}, path.name


# ---- README ----------------------------------------------------------------------------------------------------------


def test_readme_shows_every_program() -> None:
    assert {words[0] for words in readme_commands()} == {"grn-prep", "grn-cotrain"}  # studies are of the repository
    shown = {words[1] for words in readme_commands() if words[0] == "grn-cotrain"}
    assert shown >= {"init", "check", "train", "compare", "evaluate", "score", "export", "embed"}


@pytest.mark.parametrize("words", readme_commands(), ids=" ".join)
def test_readme_options_exist(words: list[str]) -> None:
    check_command(words)


def test_readme_commands_run_in_their_order(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The section on one's own data, line by line, in a folder that holds what it names."""
    prep = Prep.open(tiny_world)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("grn_cotrain.compare.processes._start", start_forked)
    cells = Prep.open(tiny_world).to_anndata()
    cells.obs["cell_type"] = ["odd" if index % 2 else "even" for index in range(cells.n_obs)]
    cells.write_h5ad("CELLS.h5ad")
    cells.var_names = [*cells.var_names[:-2], "GATA1", "STAT1"]  # two genes that the model does not know
    cells.write_h5ad("OTHER.h5ad")
    Path("TFS.txt").write_text("\n".join(prep.vocab.symbols[g] for g in prep.tf_index) + "\n")
    prep.grn.edges[["source", "target"]].to_csv("EDGES.tsv", sep="\t", index=False)
    prep.grn.edges[["source", "target"]].head(5).to_csv("PAIRS.tsv", sep="\t", index=False)
    recipe = tiny_recipe(Path("PREP"), train={"max_steps": 2, "validate_every": 2})
    write_recipe(recipe, Path("RECIPE.yaml"))
    # What the text leaves to the reader, or what would take minutes.
    extra = {
        "train": {"a.b=c": "train.accumulate=1"},
        "train PROJECT/recipe.yaml": {"add": ["--set", "train.max_steps=2"]},
        "compare": {
            "train.schedule.name=joint,link_only": "train.schedule.name=joint",
            "0,1,2": "0",
            "add": ["--set", "evaluate.controls=random"],
        },
        "evaluate links": {"add": ["--controls", "random", "--bootstrap", "0"]},
        "perturb": {"STAT1": prep.vocab.symbols[0], "add": ["--num-controls", "2", "--max-cells", "20"]},
        "finetune": {"add": ["--epochs", "1"]},
    }
    ran = []
    for words in readme_commands():
        changes = extra.get(" ".join(words[1:3]), extra.get(words[1], {}))
        arguments = [changes.get(word, word) for word in words[1:]] + list(changes.get("add", []))
        assert run_app(APPS[words[0]], arguments) == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
        ran.append(words[1])
    assert len(ran) >= 10
    files = ["RUN/links.parquet", "RUN/cells_by_sparsity.parquet", "RUN/report.html", "RUN/card.json", "SCORES.tsv"]
    files += ["OUT.h5ad", "SHIFTS.tsv", "GENERATED.h5ad", "ANNOTATED.h5ad", "BIGGER/model/config.json"]
    for name in files:
        assert Path(name).is_file(), name
    for pattern in ("PREP/links/*/links.json", "RUN/genes_graph.*", "RUN/edges*"):
        assert list(Path().glob(pattern)), pattern
    assert "X_grn_cotrain" in anndata.read_h5ad("OUT.h5ad").obsm
