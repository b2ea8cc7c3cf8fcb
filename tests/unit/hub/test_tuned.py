"""Fine-tuned runs on a hub: the classifier goes along, and the card says what it is for and how it did."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain import hub, tl
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.run import evaluate_cells
from grn_cotrain.finetune.run import finetune_run
from grn_cotrain.jobs.finetune import FinetuneConfig
from grn_cotrain.run_folder import RunFolder
from tests.unit.hub.fake_hub import FakeHub

REPO = "someone/tiny-tuned"


@pytest.fixture(scope="module")
def labelled(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of the tiny world with a type; one of the names begins like a path."""
    adata = Prep.open(tiny_world).to_anndata()
    share_C = np.asarray(adata.X[:, :20].sum(1)).ravel() / np.asarray(adata.X.sum(1)).ravel()
    adata.obs["type"] = np.where(share_C > np.median(share_C), "high", "/low")
    path = tmp_path_factory.mktemp("labelled") / "typed.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def tuned(tiny_run: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, fine-tuned for the types of ``labelled``. Read only."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    finetune_run(
        tiny_run, labelled, out, label="type", config=FinetuneConfig(epochs=1), bootstrap=20, say=lambda line: None
    )
    return out


def test_of_a_fine_tuned_run_the_classifier_leaves_too(tuned: Path, labelled: Path, tmp_path: Path) -> None:
    staged = hub.stage_run(tuned, tmp_path / "staged")
    assert {"classes.json", "head.safetensors"} < set(staged.sizes)
    assert not any(name.endswith(".tsv") for name in staged.sizes), "predictions name cells"
    # Names of classes are no paths, whatever they look like: cells are annotated with them.
    assert (staged.folder / "classes.json").read_bytes() == (tuned / "classes.json").read_bytes()
    assert set(RunFolder(staged.folder).record()["classes"]) == {"high", "/low"}
    for path in staged.folder.rglob("*"):
        assert path.is_dir() or str(labelled.parent).encode() not in path.read_bytes(), path
    run = Path(shutil.copytree(tuned, tmp_path / "run"))
    (run / "head.safetensors").unlink()
    with pytest.raises(UserError, match=r"head\.safetensors': missing"):
        hub.stage_run(run, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_card_says_what_was_tuned_for_beside_baselines(tuned: Path, tmp_path: Path) -> None:
    text = hub.model_card(tuned, repo_id=REPO)
    assert text.split("---")[2].strip().startswith("# tiny-finetuned\n")
    assert "fine-tuned for `type`" in text
    section = text.split("## Cell types")[1].split("## Intended")[0]
    record = RunFolder(tuned).record()
    assert "`type` of `typed.h5ad` with head `cls_mlp`; 2 classes: /low, high." in section
    assert f"Trained on {record['num_train']:,} cells" in section
    assert f"judged on {record['num_test']:,} that neither has seen" in section
    scores = pd.read_csv(tuned / "annotation.tsv", sep="\t")
    for scorer, rows in scores.groupby("scorer"):
        starts = (f"| **{scorer}** |", f"| {scorer} (baseline) |")
        (line,) = [line for line in section.splitlines() if line.startswith(starts)]
        for row in rows.to_dict("records"):
            shown = " [".join(f"{row[name]:.3f}" for name in ("value", "low"))
            assert shown.replace("0.", ".") in line.replace("0.", "."), (row, line)
    macro = scores[scores["metric"] == "macro_f1"].set_index("scorer")["value"]
    above = macro["fine-tuned"] > macro.drop("fine-tuned").max()
    assert f"By macro F1 it {'is above' if above else 'is not above'} the best baseline, " in section
    assert "160 cells x 80 genes" in text, "of the training before it"
    assert "grn-cotrain annotate tiny-finetuned" in text
    run = Path(shutil.copytree(tuned, tmp_path / "run"))
    record.pop("annotation")
    RunFolder(run).write_record(record)
    assert "**missing from this run's record**" in hub.model_card(run)


def test_the_card_of_a_run_that_was_not_tuned_speaks_of_no_cell_types(tiny_run: Path) -> None:
    text = hub.model_card(tiny_run)
    assert "## Cell types" not in text
    assert "annotate" not in text


def test_evaluation_leaves_the_origin_of_a_fine_tuned_run(tuned: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tuned, tmp_path / "run"))
    before = RunFolder(run).record()
    assert before["cells_file"] == "typed.h5ad"
    evaluate_cells(RunFolder(run))
    after = RunFolder(run).record()
    assert after.pop("cells")["r2"] is not None
    assert after == before
    assert "Masked values of held-out cells, R2" in hub.model_card(run)


def test_a_fetched_classifier_annotates_as_at_home(
    tuned: Path, labelled: Path, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    staged = hub.stage_run(tuned, tmp_path / "staged", repo_id=REPO)
    hub.push_run(tuned, REPO, say=lambda line: None)
    out = tmp_path / "out.h5ad"
    assert run_app(app, ["annotate", f"hf://{REPO}", str(labelled), "--out", str(out)]) == 0
    home, copy, fetched = anndata.read_h5ad(labelled), anndata.read_h5ad(labelled), anndata.read_h5ad(out)
    tl.annotate(home, tuned)
    tl.annotate(copy, staged.folder)
    for adata in (copy, fetched):
        assert (adata.obs["predicted_type"].astype(str) == home.obs["predicted_type"].astype(str)).all()
        np.testing.assert_array_equal(
            adata.obs["predicted_type_probability"], home.obs["predicted_type_probability"].to_numpy()
        )
    assert set(home.obs["predicted_type"]) <= {"high", "/low"}
    # Pushed on, it is the same run still, results included.
    again = hub.stage_run(hub.resolve_run(f"hf://{REPO}"), tmp_path / "again", repo_id=REPO)
    sections = [
        (folder / "README.md").read_text().split("## Cell types")[1] for folder in (again.folder, staged.folder)
    ]
    assert sections[0] == sections[1]
