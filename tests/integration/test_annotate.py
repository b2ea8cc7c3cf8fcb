"""Fine-tune, annotate, extend: from the files of a user to files for a user."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score
from typer.testing import CliRunner

import grn_cotrain as gc
from grn_cotrain.cli import app
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.annotation import FINE_TUNED, PROBE
from grn_cotrain.evaluate.linear_probe import MAJORITY
from grn_cotrain.export.cell_types import UNASSIGNED
from grn_cotrain.export.extend import extend_run, read_features
from grn_cotrain.files import read_json
from grn_cotrain.finetune.fit import EpochReport
from grn_cotrain.finetune.run import finetune_run
from grn_cotrain.jobs.finetune import FinetuneConfig
from grn_cotrain.model_io import load_network
from grn_cotrain.run_folder import RunFolder
from tests.faults.child import run_forked


@pytest.fixture(scope="module")
def labelled(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of the tiny world with a type that their first genes show, a batch, and three cells without a type."""
    adata = Prep.open(tiny_world).to_anndata()
    share_C = np.asarray(adata.X[:, :20].sum(1)).ravel() / np.asarray(adata.X.sum(1)).ravel()
    types_C = np.where(share_C > np.median(share_C), "high", "low").astype(object)
    types_C[:3] = None
    adata.obs["type"] = types_C
    adata.obs["batch"] = [f"b{i % 4}" for i in range(adata.n_obs)]
    path = tmp_path_factory.mktemp("labelled") / "cells.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def finetuned(tiny_run: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A fine-tuned run, and what was said."""
    out = tmp_path_factory.mktemp("finetuned") / "run"
    said: list[str] = []
    config = FinetuneConfig(epochs=3, freeze="embeddings", learning_rate=5e-3)
    finetune_run(
        tiny_run, labelled, out, label="type", config=config, test_by=("batch", "b1"), bootstrap=50, say=said.append
    )
    return out, said


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_model_of_cells_is_fine_tuned(tiny_run: Path, finetuned: tuple[Path, list[str]]) -> None:
    base = json.loads((finetuned[0] / "run.json").read_text())["base"]
    run = RunFolder.open(tiny_run)
    assert run.model_for("cells") != run.model_for("links")
    assert base["weights_sha256"] == digest(run.model_for("cells") / "model.safetensors")


def test_tables_agree_with_each_other_and_with_scikit_learn(finetuned: tuple[Path, list[str]]) -> None:
    folder, said = finetuned
    scores = pd.read_csv(folder / "annotation.tsv", sep="\t").set_index(["scorer", "metric"])
    predictions = pd.read_csv(folder / "predictions.tsv", sep="\t")
    true, found = predictions["true"], predictions["predicted"]
    assert scores.value[(FINE_TUNED, "accuracy")] == pytest.approx(accuracy_score(true, found))
    assert scores.value[(FINE_TUNED, "macro_f1")] == pytest.approx(f1_score(true, found, average="macro"))
    scorers = {scorer for scorer, _ in scores.index}
    assert {FINE_TUNED, PROBE, MAJORITY} < scorers
    assert len(scorers) == 7, "with L1 and L2 on variable genes and on PCA"
    assert (scores.num_test == len(predictions)).all()
    confusion = pd.read_csv(folder / "confusion.tsv", sep="\t", index_col=0)
    assert int(confusion.to_numpy().sum()) == len(predictions)
    assert np.trace(confusion.to_numpy()) == (true == found).sum()
    per_class = pd.read_csv(folder / "per_class.tsv", sep="\t")
    assert int(per_class.num_test.sum()) == len(predictions)
    record = read_json(folder / "run.json")
    assert (record["without_label"], record["split"]) == (3, "batch=b1 held out")
    assert record["num_train"] + record["num_validation"] + record["num_test"] == 157
    assert record["base"]["weights_sha256"]
    assert any("3 cells without a label" in line for line in said)
    held_out = {name for name in predictions["cell"] if int(name.removeprefix("cell")) % 4 != 1}
    assert not held_out, "cells of the batch alone"


def test_annotate_writes_a_copy_and_tl_the_same(
    finetuned: tuple[Path, list[str]], labelled: Path, tmp_path: Path
) -> None:
    folder, _ = finetuned
    before = digest(labelled)
    out = tmp_path / "out.h5ad"
    result = CliRunner().invoke(
        app, ["annotate", str(folder), str(labelled), "--out", str(out)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert digest(labelled) == before
    written, adata = anndata.read_h5ad(out), anndata.read_h5ad(labelled)
    columns = ["predicted_type", "predicted_type_probability"]
    assert [name for name in written.obs if name not in adata.obs] == columns
    assert gc.tl.annotate(adata, folder) is None
    np.testing.assert_array_equal(adata.obs["predicted_type"].astype(str), written.obs["predicted_type"].astype(str))
    assert (adata.obs[columns[1]] >= 0.5).all(), "the better of two classes"
    held = pd.read_csv(folder / "predictions.tsv", sep="\t").set_index("cell")
    assert (adata.obs.loc[held.index, "predicted_type"].astype(str) == held["predicted"]).all()
    np.testing.assert_allclose(adata.obs.loc[held.index, columns[1]], held["probability"], rtol=1e-5)
    assert adata.uns["grn_cotrain"]["predicted_type"]["what"] == "cell types of 'type'"
    with pytest.raises(UserError, match="is there already"):
        gc.tl.annotate(adata, folder)
    threshold = float(adata.obs[columns[1]].median())
    strict = gc.tl.annotate(adata, folder, min_probability=threshold, key_added="strict", copy=True)
    assert strict is not None
    below_C = strict.obs["strict_probability"] < threshold
    assert 0 < below_C.sum() < len(below_C)
    assert ((strict.obs["strict"] == UNASSIGNED) == below_C).all()
    with pytest.raises(UserError, match=r"min_probability=2\.0: give 0 to 1"):
        gc.tl.annotate(adata, folder, min_probability=2.0, key_added="other")


def test_cells_without_a_known_value_have_no_type(finetuned: tuple[Path, list[str]], labelled: Path) -> None:
    adata = anndata.read_h5ad(labelled)[:5].copy()
    extra = anndata.AnnData(np.ones((5, 1), np.float32), obs=adata.obs[[]], var=pd.DataFrame(index=["NOBODYS"]))
    adata = anndata.concat([adata, extra], axis=1, merge="first")
    adata.X[2, :80] = 0
    del adata.obs["size_factor"]
    gc.tl.annotate(adata, finetuned[0], min_mapped=0.1)
    assert adata.obs["predicted_type"].isna().tolist() == [False, False, True, False, False]
    assert np.isnan(adata.obs["predicted_type_probability"].iloc[2])


def test_a_run_without_a_head_and_a_taken_folder_are_refused(
    tiny_run: Path, finetuned: tuple[Path, list[str]], labelled: Path
) -> None:
    with pytest.raises(UserError, match="fine-tune it first"):
        gc.tl.annotate(anndata.read_h5ad(labelled), tiny_run)
    with pytest.raises(UserError, match="folder with content"):
        finetune_run(tiny_run, labelled, finetuned[0], label="type")


def test_an_interrupted_run_leaves_nothing(tiny_run: Path, labelled: Path, tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "runs" / "out"
    with pytest.raises(KeyboardInterrupt):
        finetune_run(tiny_run, labelled, out, label="type", bootstrap=0, say=lambda text: None, on_epoch=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_half_written_run(tiny_run: Path, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def die(report: EpochReport) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        finetune_run(tiny_run, labelled, out, label="type", bootstrap=0, on_epoch=die)
        return 0

    assert run_forked(work, tmp_path, limit=120).code == -signal.SIGKILL
    assert not out.exists()


def test_extended_run_annotates_as_before_and_embeds_new_features(
    finetuned: tuple[Path, list[str]], labelled: Path, tmp_path: Path
) -> None:
    folder, _ = finetuned
    features = tmp_path / "features.tsv"
    features.write_text("# new\nSTAT9\nNOBODYS\tENSG00000999999\n\nchr1:5-10\t\tpeak\n")
    result = CliRunner().invoke(
        app,
        ["extend", str(folder), "--features", str(features), "--out", str(tmp_path / "wide")],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    model = load_network(tmp_path / "wide")
    assert model.vocab.symbols[-3:] == ("STAT9", "NOBODYS", "chr1:5-10")
    assert model.vocab.modality[-1] == "peak"
    adata = anndata.read_h5ad(labelled)
    gc.tl.annotate(adata, folder, key_added="old")
    gc.tl.annotate(adata, tmp_path / "wide", key_added="new")
    np.testing.assert_array_equal(adata.obs["old_probability"], adata.obs["new_probability"])
    gc.tl.embed_cells(adata, tmp_path / "wide", key_added="before")
    extra = anndata.AnnData(
        np.full((adata.n_obs, 1), 5, np.float32), obs=adata.obs[[]], var=pd.DataFrame(index=["NOBODYS"])
    )
    wide = anndata.concat([adata, extra], axis=1, merge="first")
    gc.tl.embed_cells(wide, tmp_path / "wide", key_added="after")
    assert not np.allclose(wide.obsm["after"], adata.obsm["before"])
    cells = tmp_path / "wide.h5ad"
    anndata.AnnData(wide.X, obs=wide.obs[[]], var=wide.var[[]]).write_h5ad(cells)
    said: list[str] = []
    vocab = extend_run(folder, cells, tmp_path / "from_cells", say=said.append)
    assert vocab.symbols[-1] == "NOBODYS"
    assert len(vocab) == 81
    assert "80 of 81 were there already" in said


def test_lists_of_features_are_checked(tmp_path: Path, tiny_run: Path) -> None:
    file = tmp_path / "features.tsv"
    for text, message in (
        ("", "holds no feature"),
        ("A\t\tgenes\n", "modality 'genes'"),
        ("A\tB\tgene\tC\n", "4 columns"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            read_features(file)
    with pytest.raises(UserError, match="give one of them"):
        extend_run(tiny_run, None, tmp_path / "out")
    with pytest.raises(UserError, match="no such file"):
        extend_run(tiny_run, None, tmp_path / "out", features=tmp_path / "none.tsv")
    file.write_text(load_network(tiny_run).vocab.symbols[0] + "\n")
    with pytest.raises(UserError, match="has all 1 of them"):
        extend_run(tiny_run, None, tmp_path / "out", features=file)
    assert not (tmp_path / "out").exists()
