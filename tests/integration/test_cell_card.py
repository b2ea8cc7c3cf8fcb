"""The cell card of a run: its numbers, its controls, its files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.card import CellCard, build_cell_card
from grn_cotrain.card.cell_measures import factor_columns, knn_accuracy_C, nearest_CK, variance_explained
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.io.counts import counts_from_anndata
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.cells import cell_embeddings
from grn_cotrain.report import write_report
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.run import train
from tests.integration.refusals import refused
from tests.worlds import make_batched_world, tiny_recipe


def quiet(text: str) -> None:
    del text


@pytest.fixture(scope="module")
def run(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    world = make_batched_world(tiny_world, folder / "prep")
    return train(tiny_recipe(world), folder / "run").folder


@pytest.fixture(scope="module")
def cells(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's cells as a file, with another embedding and two cells that have no token."""
    adata = RunFolder(run).require_prep().to_anndata()
    adata.X = adata.X.copy()
    adata.X[3:5] = 0
    adata.X.eliminate_zeros()
    adata.obsm["X_other"] = np.random.default_rng(0).standard_normal((adata.n_obs, 3))
    path = tmp_path_factory.mktemp("file") / "cells.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def card(run: Path) -> CellCard:
    return build_cell_card(run, None, replicates=20, say=quiet)


def test_labels_are_read_from_the_model_and_from_both_controls(card: CellCard, run: Path) -> None:
    content = card.to_dict()
    assert set(content["labels"]) == {"batch", "cell_type", "donor"}
    batch = content["labels"]["batch"]
    assert set(batch["embeddings"]) == {"embedding", "with_depth", "pca", "log_counts"}
    prep = Prep.open(RunFolder(run).require_prep().folder)
    found = cell_embeddings(run, counts_from_anndata(prep.to_anndata()))
    labels_C = prep.cells.obs["batch"].to_numpy()
    right_C = knn_accuracy_C(nearest_CK(found.values_CD, 15), labels_C)
    assert batch["embeddings"]["embedding"]["knn"]["value"] == pytest.approx(right_C.mean(), abs=0.01)
    assert batch["commonest"] == pytest.approx(pd.Series(labels_C).value_counts(normalize=True).iloc[0])
    for one in batch["embeddings"].values():
        assert one["knn"]["low"] <= one["knn"]["value"] <= one["knn"]["high"]
        assert 0 <= one["probe"]["value"] <= 1
    # The paired difference is the difference of the two accuracies.
    difference = batch["embeddings"]["embedding"]["minus_pca"]["value"]
    values = [batch["embeddings"][name]["knn"]["value"] for name in ("embedding", "pca")]
    assert difference == pytest.approx(values[0] - values[1])
    assert batch["embeddings"]["pca"]["minus_pca"] is None


def test_depth_genes_and_groups_explain_each_embedding(card: CellCard, run: Path) -> None:
    factors = card.to_dict()["factors"]
    assert list(factors) == ["depth", "detected genes", "cell_type", "batch", "donor"]
    for factor, rows in factors.items():
        for one in rows.values():
            assert 0 <= one["variance"] <= 1
            assert len(one["components"]) == 5
            assert ("readable" in one) is (factor in ("depth", "detected genes"))
    prep = RunFolder(run).require_prep()
    found = cell_embeddings(run, counts_from_anndata(prep.to_anndata()))
    depth_C = np.log1p(prep.cells.size_factor_C)
    for name, values_C in (("depth", depth_C), ("batch", prep.cells.obs["batch"].to_numpy(dtype=str))):
        expected = variance_explained(found.values_CD, factor_columns(values_C))
        assert factors[name]["embedding"]["variance"] == pytest.approx(expected, abs=1e-3)


def test_a_file_of_cells_may_bring_another_embedding(run: Path, cells: Path) -> None:
    made = build_cell_card(run, cells, labels=["donor"], against=["X_other"], replicates=20, say=quiet).to_dict()
    assert list(made["labels"]) == ["donor"]
    assert list(made["agreement"]) == ["with_depth", "pca", "log_counts", "X_other"]
    assert made["agreement"]["X_other"] < made["agreement"]["pca"]
    assert made["identity"]["num_cells"] == 158
    assert any("2 cells" in note for note in made["notes"]), made["notes"]


def test_a_sample_is_reported_and_the_same_again(run: Path) -> None:
    first, second = (build_cell_card(run, None, max_cells=60, replicates=5, say=quiet) for _ in range(2))
    assert first.to_dict() == second.to_dict()
    assert first.to_dict()["identity"]["num_cells"] == 60
    assert "a sample of 60 of 160 cells, drawn with seed 0" in first.to_markdown()


def test_a_card_is_read_again_and_another_file_is_refused(card: CellCard, tmp_path: Path) -> None:
    card.write(tmp_path)
    assert CellCard.read(tmp_path).to_dict() == json.loads(json.dumps(card.to_dict()))
    (tmp_path / "cell_card.json").write_text("{}")
    with pytest.raises(UserError, match="not a cell-embedding card; make one with `grn-cotrain card RUN --cells FILE`"):
        CellCard.read(tmp_path)


def test_the_command_writes_three_files_and_the_report_shows_the_card(run: Path, tmp_path: Path, capsys) -> None:
    assert run_app(app, ["card", str(run), "--kind", "cells", "--replicates", "20"]) == 0
    assert all((run / f"cell_card.{suffix}").is_file() for suffix in ("json", "md", "html"))
    assert "accuracy of neighbours" in capsys.readouterr().out
    page = (run / "cell_card.html").read_text()
    assert page.count("<svg") == 3  # two labels and depth
    report = write_report([run], tmp_path / "report.html", basis="pca").read_text()
    assert "Cell-embedding card" in report
    assert "Map of the cell embedding, coloured by log depth" in report


def test_refusals_of_the_cell_card(run: Path, cells: Path, tmp_path: Path, capsys) -> None:
    for message, *arguments in (
        ("--labels 'donr': no such column of obs", run, "--kind", "cells", "--labels", "donr"),
        ("did you mean 'donor'?", run, "--cells", cells, "--labels", "donr"),
        (
            "--against 'X_scVI': a key of obsm; give the file that has it by --cells FILE",
            run,
            "--kind",
            "cells",
            "--against",
            "X_scVI",
        ),
        ("--against 'X_othr': no such key of obsm; the file has X_other", run, "--cells", cells, "--against", "X_othr"),
        ("--max-cells '10'", run, "--kind", "cells", "--max-cells", "10"),
        ("--genes: belongs to the card of the gene embedding", run, "--cells", cells, "--genes", "A"),
        ("--labels: belongs to the card of the cell embedding; add --kind cells", run, "--labels", "donor"),
        ("no such file", run, "--cells", tmp_path / "absent.h5ad"),
    ):
        refused(message, "card", *arguments, capsys=capsys, watch=run)
