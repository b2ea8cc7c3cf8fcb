"""A mosaic set, end to end: prepare, check, train, evaluate by assay, embed; and what was not measured has no say."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy import sparse
from typer.testing import CliRunner

from data_prep.counts import prepare_counts
from data_prep.grn import prepare_grn
from data_prep.splits import prepare_splits
from grn_cotrain.cli import app
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore, cell_split
from grn_cotrain.data.prep import Prep, write_prep
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.cells import ValuesAndZeros, masked_value_table
from grn_cotrain.evaluate.hidden import hidden_cells
from grn_cotrain.evaluate.open_features import OpenEntries
from grn_cotrain.evaluate.run import evaluate_cells
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.check import check_recipe
from grn_cotrain.train.run import train
from tests.integration.test_several_processes import finish, start
from tests.unit.test_model_encoders import with_encoders
from tests.worlds import tiny_recipe, write_recipe

GENES = [f"GENE{i}" for i in range(24)]
PEAKS = [f"chr1:{1000 * i + 1}-{1000 * i + 500}" for i in range(40)]
ALONE, SHARED = 40, 40
OBJECTIVES: dict[str, Any] = {"masked_value": {"mask_zeros": True}, "modality": {}, "link_prediction": {}}
TOKENS = {"zeros_per_cell": 8, "max_tokens": 64}
ONE = {"name": "transformer", "num_layers": 1, "num_heads": 2}


def part(names: list[str], number: int, prefix: str, seed: int) -> anndata.AnnData:
    """Genes: counts; peaks: 0 or 1, open in a share of the cells of their own."""
    draw = np.random.default_rng(seed)
    values = draw.poisson(1.5, (number, len(names))).astype(np.float32)
    if names is PEAKS:
        values = (draw.random((number, len(names))) < np.linspace(0.1, 0.6, len(names))).astype(np.float32)
    values[:, 0] = 1
    obs = pd.DataFrame(
        {"type": np.where(np.arange(number) % 2, "x", "y")}, index=[f"{prefix}{i}" for i in range(number)]
    )
    return anndata.AnnData(sparse.csr_matrix(values), obs=obs, var=pd.DataFrame(index=names))


def network(folder: Path) -> Path:
    rows = [(GENES[s], GENES[(s + 1 + 2 * k) % 24]) for s in range(5) for k in range(12)]
    pd.DataFrame(rows, columns=["source", "target"]).to_csv(folder / "edges.tsv", sep="\t", index=False)
    return folder / "edges.tsv"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``m.h5mu`` with 40 cells of each kind, and ``rna.h5ad`` and ``atac.h5ad`` of new cells."""
    import mudata

    folder = tmp_path_factory.mktemp("mosaic")
    shared = [part(names, SHARED, "b", seed) for names, seed in ((GENES, 3), (PEAKS, 4))]
    rna = anndata.concat([part(GENES, ALONE, "r", 0), shared[0]])
    atac = anndata.concat([part(PEAKS, ALONE, "a", 1), shared[1]])
    mudata.MuData({"rna": rna, "atac": atac}).write(folder / "m.h5mu")
    part(GENES, 9, "n", 7).write(folder / "rna.h5ad")
    part(PEAKS, 9, "n", 8).write(folder / "atac.h5ad")
    network(folder)
    return folder


@pytest.fixture(scope="module")
def world(files: Path) -> Path:
    prepare_counts(files / "m.h5mu", files / "prep")
    prepare_grn(files / "edges.tsv", files / "prep")
    prepare_splits(files / "prep", "random", seed=0)
    return files / "prep"


def recipe(world: Path, **model: Any) -> Recipe:
    changes = {"data": {"split": "random-seed0"}, "objectives": OBJECTIVES}
    return tiny_recipe(world, **changes, model={"tokens": TOKENS, **model})


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


NAMED = {"rna": {**ONE, "reads": ["rna"]}, "atac": {**ONE, "reads": ["atac"]}}


@pytest.fixture(scope="module")
def runs(world: Path, files: Path) -> dict[str, Path]:
    """One encoder that reads all, and one for each assay."""
    one = recipe(world)
    for name, chosen in (("one", one), ("named", with_encoders(one, NAMED))):
        train(chosen, files / name)
    return {name: files / name for name in ("one", "named")}


def test_the_summary_of_each_assay_is_in_check_and_counts_cells_with_both(world: Path) -> None:
    notes = check_recipe(recipe(world), timed_steps=0).notes
    assert "cells with rna and atac: 40 of 120" in notes
    assert any(note.startswith("assay rna: 24 genes, counts, measured in 80 of 120 cells") for note in notes)
    assert any(note.startswith("assay atac: 40 peaks, binary, measured in 80 of 120 cells") for note in notes)


@pytest.mark.parametrize("name", ["one", "named"])
def test_masked_values_are_evaluated_by_assay(runs: dict[str, Path], name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = evaluate_cells(runs[name])
    prep = Prep.open(RunFolder.open(runs[name]).recipe().data.prep)
    test_C = RunFolder.open(runs[name]).load_data().cell_split.test_C
    by_assay = {str(key): rows for key, rows in frame.groupby("assay")}
    assert set(by_assay) == {"rna", "atac"}
    assert set(by_assay["rna"]["metric"]) == {"r2", "r2_pooled"}
    assert set(by_assay["atac"]["metric"]) == {"auroc", "auprc"}
    assert set(by_assay["rna"]["scorer"]) == {"joint", "gene_mean", "gene_and_cell", "factor_analysis"}
    assert set(by_assay["atac"]["scorer"]) == {"joint", "feature_frequency", "frequency_and_depth"}
    for assay, rows in by_assay.items():
        assert set(rows["num_cells"]) == {int(prep.cells.present(assay)[test_C].sum())}
    assert np.isfinite(frame["value"]).all()
    # Peaks are open in 10 to 60 % of the cells: their frequency alone ranks well.
    atac = by_assay["atac"].set_index(["scorer", "metric"])["value"]
    assert 0.6 < atac["feature_frequency", "auroc"] < 0.8
    record = RunFolder.open(runs[name]).record()
    assert record["cells_by_assay"]["atac"]["metric"] == "auroc"
    assert record["cells"]["r2"] == record["cells_by_assay"]["rna"]["joint"]
    out = invoke("evaluate", "cells", str(runs[name])).output
    assert "atac: open features among hidden entries" in out
    assert invoke("report", str(runs[name])).exit_code == 0
    assert "rna and atac" in (runs[name] / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["one", "named"])
def test_cells_of_either_assay_and_of_both_are_embedded(runs: dict[str, Path], files: Path, name: str) -> None:
    for cells, number in (("m.h5mu", 120), ("rna.h5ad", 9), ("atac.h5ad", 9)):
        out = files / f"{name}-{cells}"
        result = invoke("embed", "cells", str(runs[name]), str(files / cells), "--out", str(out))
        assert result.exit_code == 0, result.output
        assert "warning" not in result.output
        if cells.endswith("h5ad"):
            values = anndata.read_h5ad(out).obsm["X_grn_cotrain"]
            assert values.shape == (number, 16)
            assert np.isfinite(values).all()


@pytest.mark.parametrize("name", ["one", "named"])
def test_contextual_embeddings_have_the_names_of_their_own_features(runs: dict[str, Path], name: str) -> None:
    """Each row is the mean state of one feature over the cells that show it, peaks as well as genes."""
    result = gene_embeddings(runs[name], kind="contextual")
    data = RunFolder.open(runs[name]).load_data()
    model = CoTrainNetwork.load(runs[name])
    assert result.frame["modality"].value_counts().to_dict() == {"gene": 24, "peak": 40}
    assert result.frame["symbol"].tolist() == list(data.vocab.symbols)
    with torch.no_grad():
        batch = model.tokenizer(data.cells).batch(np.arange(data.cells.num_cells)).pack()
        states_TD = model.encode_cells(batch, model.encode_graph()).tokens_TD
    for feature in (0, 5, 24, 63):
        mine_T = (batch.feature_ids_T == feature + 3) & (batch.bins_T > 0)
        assert result.frame["n"].iloc[feature] == int(mine_T.sum())
        expected_D = states_TD[mine_T].mean(dim=0).numpy()
        np.testing.assert_allclose(result.matrix()[feature], expected_D, atol=1e-5)


@pytest.mark.parametrize("name", ["one", "named"])
def test_attention_is_read_in_the_cells_that_have_rna(runs: dict[str, Path], name: str, tmp_path: Path) -> None:
    out = tmp_path / "attention"
    result = invoke(
        "evaluate", "attention", str(runs[name]), "--out", str(out), "--controls", "none", "--bootstrap", "5"
    )
    assert result.exit_code == 0, result.output
    assert "40 of 120 cells have no RNA and were left out" in result.output
    edges = pd.read_parquet(out / "attention_edges.parquet")
    assert len(edges)
    assert set(edges["source"]) | set(edges["target"]) <= set(GENES)
    assert set(pd.read_parquet(out / "attention_genes.parquet")["gene"]) <= set(GENES)
    other = invoke("evaluate", "attention", str(runs[name]), "--out", str(out), "--encoder", "atac")
    assert isinstance(other.exception, UserError)
    assert ("reads no genes" if name == "named" else "no such encoder; choose from cells") in str(other.exception)
    assert pd.read_parquet(out / "attention_edges.parquet").equals(edges)


def test_two_processes_with_an_encoder_for_each_assay_are_one(world: Path, tmp_path: Path) -> None:
    """Some micro-batches may lack an assay on one process alone."""
    chosen = with_encoders(recipe(world), NAMED)
    steps = replace(chosen.train, max_steps=4, accumulate=2, tokens_per_batch=256, cells_per_batch=4)
    chosen = replace(chosen, train=steps)
    train(chosen, tmp_path / "alone")
    path = write_recipe(chosen, tmp_path / "recipe.yaml")
    arguments = ["-m", "grn_cotrain", "train", str(path), "--out", str(tmp_path / "two")]
    for code, _, err in finish(start(arguments)):
        assert code == 0, err
    alone, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("alone", "two"))
    assert set(alone) == set(two)
    for name, value in alone.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_statistics_and_losses_do_not_see_what_was_not_measured(world: Path, tmp_path: Path) -> None:
    whole = Prep.open(world).cells
    rna_C = np.flatnonzero(whole.present("rna"))
    alone = Statistics(whole.take(rna_C))[Moments()]
    every = Statistics(whole)[Moments()]
    for name in ("count_G", "mean_G", "square_G"):
        assert np.array_equal(getattr(alone, name)[:24], getattr(every, name)[:24])
    assert every.num_cells_G.tolist() == [80] * 64
    scale = every.nonzero()
    assert np.array_equal(scale.mean_G[:24], alone.nonzero().mean_G[:24])


def test_a_closed_entry_is_ranked_with_the_open_ones_in_the_same_cells(world: Path) -> None:
    """A predictor that knows the truth has AUROC 1 and one that knows nothing 0.5; entries are of measured cells."""
    prep = Prep.open(world)
    split = cell_split(prep.cells.num_cells, seed=0)

    def truth(batch: PackedTokens) -> torch.Tensor:
        return batch.values_T[batch.hidden_T]

    def nothing(batch: PackedTokens) -> torch.Tensor:
        return torch.zeros(int(batch.hidden_T.sum()))

    found = masked_value_table(
        {"truth": ValuesAndZeros(truth, truth), "nothing": ValuesAndZeros(truth, nothing)},
        prep.cells,
        split,
        bootstrap=0,
    )
    value = found[found["metric"] == "auroc"].set_index("scorer")["value"]
    assert value["truth"] == 1
    assert value["nothing"] == 0.5
    test = hidden_cells(prep.cells, split.test_C, seed=0)
    columns_G = np.arange(64) >= 24
    rows_C = np.flatnonzero(prep.cells.present("atac")[split.test_C])
    entries = OpenEntries.of(test, columns_G, rows_C, seed=0, share=0.15)
    stored = prep.cells.rows(split.test_C)["atac"].toarray()
    assert np.array_equal(stored[entries.cell_N, entries.gene_N - 24] != 0, entries.open_N)
    assert set(entries.cell_N) <= set(rows_C.tolist())
    share = len(entries.cell_N) / (len(rows_C) * 40)
    assert 0.1 < share < 0.2
    # The numbers of a predictor stand beside the entries that they are of.
    scores = entries.scores("ids", lambda batch: batch.feature_ids_T[batch.hidden_T], 16)
    assert np.array_equal(scores - 3, entries.gene_N)


def test_counts_that_are_all_one_are_read_as_the_model_was_trained(world: Path, files: Path, tmp_path: Path) -> None:
    """A few cells of an assay of counts may hold ones alone; the scale is the model's, not the file's."""
    prep = Prep.open(world)
    values = prep.cells.values_CG.toarray()
    values[0:80:3, 40] *= 3
    cells = MemoryStore.build(
        prep.vocab,
        values,
        kind={"rna": "counts", "atac": "counts"},
        present={name: prep.cells.present(name) for name in ("rna", "atac")},
    )
    write_prep(tmp_path / "prep", prep.vocab, cells, grn=prep.grn)
    prepare_splits(tmp_path / "prep", "random", seed=0)
    train(recipe(tmp_path / "prep"), tmp_path / "run")
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["meta"]["kinds"] == {"rna": "counts", "atac": "counts"}
    result = invoke(
        "embed", "cells", str(tmp_path / "run"), str(files / "atac.h5ad"), "--out", str(tmp_path / "out.h5ad")
    )
    assert "atac: taken as counts, as the model was trained; the file alone looked like binary" in result.output
    assert "scales may differ" not in result.output
