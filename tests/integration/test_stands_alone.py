"""A run stands alone: every command works from another folder, with raw files gone and the prepared folder moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import data_prep.cli
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.train.run import train
from tests.worlds import tiny_recipe


@pytest.fixture(scope="module")
def place(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run`` was trained from raw files that are gone; ``elsewhere/prep`` is its prepared folder, moved."""
    home = tmp_path_factory.mktemp("home")
    raw = home / "raw"
    raw.mkdir()
    adata = Prep.open(tiny_world).to_anndata()
    adata.obs["cell_type"] = ["a", "b"] * 80
    adata.write_h5ad(raw / "cells.h5ad")
    prep = Prep.open(tiny_world)
    prep.grn.edges[["source", "target", "weight", "sign"]].to_csv(raw / "edges.tsv", sep="\t", index=False)
    block = {
        "counts": str(raw / "cells.h5ad"),
        "grn": str(raw / "edges.tsv"),
        "splits": [{"kind": "unseen-target", "seed": 0}],
    }
    recipe = tiny_recipe(
        home / "prep",
        prep=block,
        objectives={"masked_value": {}, "link_prediction": {}},
        train={"max_steps": 4, "validate_every": 4, "checkpoint_every": 4},
    )
    run = train(recipe, home / "trained").folder
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    shutil.move(home / "prep", elsewhere / "prep")
    shutil.move(run, elsewhere / "run")
    shutil.copyfile(raw / "cells.h5ad", elsewhere / "new.h5ad")  # a user's own file
    shutil.rmtree(raw)
    return elsewhere


def test_every_command_works(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run, prep, cells = place / "run", place / "prep", place / "new.h5ad"
    vocab = Prep.open(prep).vocab
    tf, gene = vocab.symbols[0], vocab.symbols[-1]
    (tmp_path / "pairs.tsv").write_text(f"source\ttarget\n{tf}\t{gene}\n")
    (tmp_path / "features.tsv").write_text("NOBODYS\n")
    shutil.copytree(run, tmp_path / "other")
    where = ["--prep", prep]
    quick = ["--bootstrap", 0, "--controls", "target_degree"]
    commands: list[list[object]] = [
        ["evaluate", "links", run, *where, *quick, "--out", tmp_path / "links"],
        ["evaluate", "cells", run, *where],
        ["evaluate", "attention", run, *where, *quick, "--max-cells", 4, "--no-untrained", "--out", tmp_path / "att"],
        ["score", run, "--pairs", tmp_path / "pairs.tsv", "--out", tmp_path / "scores.tsv"],
        ["export", "genes", run, *where, "--kind", "contextual", "--out", tmp_path / "genes.parquet"],
        ["export", "edges", run, *where, "--top", 5, "--out", tmp_path / "edges.parquet"],
        ["embed", "cells", run, cells, "--out", tmp_path / "embedded.h5ad"],
        ["perturb", run, "--gene", gene, *where, "--max-cells", 4, "--num-controls", 1, "--out", tmp_path / "p.tsv"],
        ["perturb", run, cells, "--gene", gene, "--max-cells", 4, "--num-controls", 1, "--out", tmp_path / "q.tsv"],
        ["generate", run, cells, "--rounds", 1, "--out", tmp_path / "generated.h5ad"],
        ["finetune", run, cells, "--label", "cell_type", "--epochs", 1, "--bootstrap", 0, "--out", tmp_path / "tuned"],
        ["annotate", tmp_path / "tuned", cells, "--out", tmp_path / "annotated.h5ad"],
        ["extend", run, "--features", tmp_path / "features.tsv", "--out", tmp_path / "wide"],
        ["card", run, *where, "--out", tmp_path / "card"],
        ["diff", run, tmp_path / "other", "--no-edges"],
        ["report", run, *where, "--no-card", "--basis", "pca", "--out", tmp_path / "report.html"],
        ["list", "head"],
    ]
    for words in commands:
        assert run_app(app, list(map(str, words))) == 0, (words, capsys.readouterr().err)
        said = capsys.readouterr()
        assert said.out.splitlines()[-1].startswith("next: grn-"), words
        assert "Traceback" not in said.err
    assert sorted(path.name for path in run.parent.iterdir()) == ["new.h5ad", "prep", "run"], "nothing beside the run"


def test_without_the_place_of_the_prepared_folder_it_is_asked_for_by_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(place / "run", tmp_path / "deep" / "run")
    assert run_app(app, ["evaluate", "cells", str(run)]) == 2
    error = capsys.readouterr().err
    assert "name its new place with --prep DIR" in error
    assert "in Python" not in error


def test_preparing_names_the_next_command_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prep = str(tmp_path / "prep")
    for words in (
        ["simulate", "--out", prep, "--genes", "60", "--tfs", "10", "--cells", "80"],
        ["splits", prep, "--kind", "unseen-target"],
    ):
        assert run_app(data_prep.cli.app, words) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("next: grn-")
