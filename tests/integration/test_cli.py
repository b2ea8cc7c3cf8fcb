"""``grn-cotrain`` as a user meets it: every command in the words of its help, on a tiny world and a tiny run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from grn_cotrain.apply import OpenRun
from grn_cotrain.cli import app, registries
from grn_cotrain.commandline import run_app
from grn_cotrain.config import canonical_hash
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder
from tests.integration.refusals import refused
from tests.worlds import tiny_recipe, write_recipe

LINK_COLUMNS = [
    *("split", "scorer", "metric", "value", "low", "high", "num_tfs", "num_pairs", "prevalence", "seconds"),
    *("seed", "track", "candidates", "split_hash", "recipe_hash", "commit"),
]
CHEAP = "random,degree_product"


def ok(*arguments: object) -> None:
    """Run a command that must succeed."""
    assert run_app(app, [str(argument) for argument in arguments]) == 0


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# ---- check, train ----------------------------------------------------------------------------------------------------


def test_check_says_what_a_run_will_cost_and_keeps_nothing(recipe_file: Path, tiny_world: Path, capsys) -> None:
    before = names(recipe_file.parent)
    ok("check", recipe_file, "--set", "train.max_steps=5")
    out = capsys.readouterr().out
    tokens = Tokenizer(Prep.open(tiny_world).cells, tiny_recipe(tiny_world).model.tokens).lengths_C
    held = load_run_data(tiny_recipe(tiny_world)).cell_split.train_C
    assert "160 cells x 80 genes" in out
    assert f"{tokens[held].sum():,} an epoch" in out
    for word in ("tokens", "MiB", "minutes expected", "unseen-target-seed0", "parameters", "audit"):
        assert word in out, word
    assert names(recipe_file.parent) == before


def test_train_refuses_an_existing_run_and_resumes_it(recipe_file: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    ok("train", recipe_file, "--out", out, "--set", "train.max_steps=3", "--set", "model.graph_encoder=gcn")
    said = capsys.readouterr().out
    assert "3 steps" in said
    assert f"grn-cotrain evaluate links {out}" in said
    recipe = RunFolder.open(out).recipe()
    assert (recipe.train.max_steps, recipe.model.graph_encoder.name) == (3, "gcn")
    assert (out / "metrics.csv").is_file()
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["recipe_hash"] == canonical_hash(recipe)
    assert f"model kept: step {record['best_step']} of 3 (" in said
    weights = (out / "model" / "model.safetensors").read_bytes()

    refused("holds a run already; add --resume", "train", recipe_file, "--out", out, capsys=capsys)
    refused("made by another recipe", "train", recipe_file, "--out", out, "--resume", capsys=capsys)
    ok("train", out / "recipe.yaml", "--out", out, "--resume")
    assert "nothing to do" in capsys.readouterr().out
    assert (out / "model" / "model.safetensors").read_bytes() == weights


# ---- evaluate --------------------------------------------------------------------------------------------------------


def test_evaluate_links_of_a_run(run: Path, capsys) -> None:
    ok("evaluate", "links", run, "--controls", CHEAP, "--bootstrap", 20)
    out = capsys.readouterr().out
    for word in ("joint", "degree_product", "prevalence", "macro AUROC", "audit", "masked values", "links.parquet",
                 "links_per_tf.parquet", "links_curves.parquet"):  # fmt: skip
        assert word in out, word
    record = json.loads((run / "run.json").read_text())
    assert f"model kept: step {record['best_step']} of {record['steps']} (" in out
    assert "Probabilities of joint " in out
    frame = pd.read_parquet(run / "links.parquet")
    assert [column for column in frame.columns if column != "kind"] == LINK_COLUMNS
    assert {"joint", "random", "degree_product"} <= set(frame["scorer"])
    assert not frame.duplicated(["split", "scorer", "metric", "candidates"]).any()
    recipe = RunFolder.open(run).recipe()
    split = load_run_data(recipe).split
    assert set(frame["recipe_hash"]) == {canonical_hash(recipe)}
    assert set(frame["split_hash"]) == {split.content_hash}
    assert set(frame["track"]) == {"visible"}
    pooled = frame[(frame["metric"] == "auroc") & (frame["candidates"] == "all")]
    assert set(pooled["num_pairs"]) == {split.pairs("test").num_pairs}
    assert pooled["prevalence"].iloc[0] == pytest.approx(split.prevalence("test"))
    assert (pooled["low"] <= pooled["value"]).all()
    assert (pooled["value"] <= pooled["high"]).all()
    rows = json.loads((run / "links.json").read_text())["rows"]
    assert [list(row) for row in rows[:1]] == [list(frame.columns)]
    assert [row["value"] for row in rows] == [None if np.isnan(value) else value for value in frame["value"]]
    cells = json.loads((run / "run.json").read_text())["cells"]
    assert {"r2", "gene_mean_r2", "factor_analysis_r2"} <= set(cells)


def test_evaluate_links_of_a_prepared_folder_needs_no_model(tiny_world: Path, tmp_path: Path, capsys) -> None:
    options = ["--controls", CHEAP, "--bootstrap", 0, "--out", tmp_path / "table"]
    ok("evaluate", "links", tiny_world, "--split", "unseen-tf-visible-seed0", *options)
    assert "degree_product" in capsys.readouterr().out
    frame = pd.read_parquet(tmp_path / "table" / "links.parquet")
    assert set(frame["kind"]) == {"control"}
    folds = {f"unseen-tf-visible-seed0-fold{fold}" for fold in range(5)}
    assert folds <= set(Prep.open(tiny_world).split_names())
    assert set(frame["num_tfs"]) != {0}
    refused("has 4 splits", "evaluate", "links", tiny_world, *options, capsys=capsys)


def test_a_prepared_folder_keeps_one_table_a_split(tiny_world: Path, tmp_path: Path, capsys) -> None:
    prep = shutil.copytree(tiny_world, tmp_path / "prep")
    for split, name in (
        ("random-seed0", "random-seed0"),
        ("unseen-tf-visible-seed0", "unseen-tf-visible-seed0-5folds"),
    ):
        ok("evaluate", "links", prep, "--split", split, "--controls", "random,degree_product", "--bootstrap", 0)
        place = prep / "links" / name
        assert str(place / "links.json") in capsys.readouterr().out
        for file in ("links.json", "links.parquet", "links_per_tf.parquet", "links_curves.parquet"):
            assert (place / file).is_file(), file
        assert json.loads((place / "links.json").read_text())["headline_split"] == name
    assert not (prep / "links.json").exists()


def test_folds_of_one_run_only_are_its_own(run: Path, capsys) -> None:
    refused("was trained on 'unseen-target-seed0'", "evaluate", "links", run, "--split", "random-seed0", capsys=capsys)


# ---- score -----------------------------------------------------------------------------------------------------------


def score(run: Path, folder: Path, pairs: list[tuple[str, str]]) -> pd.DataFrame:
    (folder / "pairs.tsv").write_text("source\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in pairs))
    ok("score", run, "--pairs", folder / "pairs.tsv", "--out", folder / "scores.tsv")
    return pd.read_csv(folder / "scores.tsv", sep="\t")


def test_score_names_unknown_genes_and_gives_probabilities(run: Path, tmp_path: Path, capsys) -> None:
    model, _ = load_model(run / "model")
    symbols = model.vocab.symbols
    pairs = [(symbols[i], symbols[40 + 3 * i]) for i in range(12)]
    given = [*pairs, ("NO-SUCH-TF", symbols[3]), (symbols[2].lower(), symbols[40])]
    frame = score(run, tmp_path, given)
    said = capsys.readouterr().out
    assert "NO-SUCH-TF" in said
    assert "13 of 14" in said
    assert list(frame.columns) == ["source", "target", "score", "probability"]
    assert list(zip(frame["source"], frame["target"], strict=True)) == given
    assert frame["score"].isna().tolist() == [name == "NO-SUCH-TF" for name, _ in given]
    index_2M = np.array([[model.vocab.index(name) for name in side] for side in zip(*pairs, strict=True)])
    expected_M = model.link_logits(model.encode_graph(), index_2M)
    np.testing.assert_allclose(frame["score"][:12], expected_M, rtol=1e-4)
    known = frame.dropna()
    assert known["probability"].between(0, 1).all()
    assert (known.sort_values("score")["probability"].diff().dropna() >= 0).all() or (
        known.sort_values("score")["probability"].diff().dropna() <= 0
    ).all()


def test_score_without_validation_has_no_probability(tiny_world: Path, tmp_path: Path, capsys) -> None:
    world = Path(shutil.copytree(tiny_world, tmp_path / "world"))
    split = Prep.open(world).split("random-seed0")
    bare = replace(
        split,
        name="no-validation",
        train_2E=np.concatenate([split.train_2E, split.validation_2E], axis=1),
        validation_2E=split.validation_2E[:, :0],
    )
    bare.save(world / "splits")
    recipe = tiny_recipe(world, data={"split": "no-validation"}, train={"max_steps": 2})
    ok("train", write_recipe(recipe, tmp_path / "recipe.yaml"), "--out", tmp_path / "bare")
    symbols = Prep.open(world).vocab.symbols
    frame = score(tmp_path / "bare", tmp_path, [(symbols[0], symbols[50])])
    assert list(frame.columns) == ["source", "target", "score"]
    assert "no probabilities" in capsys.readouterr().out


# ---- export ----------------------------------------------------------------------------------------------------------


def read_export(path: Path) -> tuple[pd.DataFrame, np.ndarray, str]:
    """Names, vectors and the vocabulary's hash of an exported file."""
    if path.suffix == ".h5ad":
        data = anndata.read_h5ad(path)
        return data.obs.reset_index(drop=True), np.asarray(data.X), str(data.uns["grn_cotrain"]["vocab_hash"])
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        vocab_hash = pq.read_schema(path).metadata[b"grn_cotrain.vocab_hash"].decode()
    else:
        first = path.read_text().split("\n", 1)[0]
        assert first.startswith("# ")
        vocab_hash = first.rpartition("vocab_hash=")[2]
        frame = pd.read_csv(path, sep="\t", comment="#", keep_default_na=False)
    columns = [name for name in frame.columns if name[0] == "d" and name[1:].isdigit()]
    return frame.drop(columns=columns), frame[columns].to_numpy(np.float32), vocab_hash


@pytest.mark.parametrize("kind", ["static", "graph", "contextual"])
def test_export_genes_in_every_format(run: Path, kind: str, capsys) -> None:
    model, _ = load_model(run / "model")
    exports = {}
    for format in ("parquet", "tsv", "h5ad"):
        ok("export", "genes", run, "--kind", kind, "--format", format)
        path = run / f"genes_{kind}.{format}"
        assert str(path) in capsys.readouterr().out
        exports[format] = read_export(path)
    frame, rows_GD, vocab_hash = exports["parquet"]
    assert vocab_hash == model.vocab.content_hash
    assert rows_GD.shape == (len(frame), 16)
    if kind != "contextual":
        genes = model.encode_graph()
        expected_GD = (genes.table_GD if kind == "static" else genes.graph_GD).detach().numpy()
        np.testing.assert_array_equal(rows_GD, expected_GD)
        assert tuple(frame["symbol"]) == model.vocab.symbols
        assert tuple(frame["id"]) == model.vocab.ids
    else:
        assert set(frame["symbol"]) <= set(model.vocab.symbols)
        assert (frame["n"] > 0).all()
    for other, others_GD, other_hash in (exports["tsv"], exports["h5ad"]):
        assert other_hash == vocab_hash
        assert other["symbol"].tolist() == frame["symbol"].tolist()
        assert other["id"].tolist() == frame["id"].tolist()
        np.testing.assert_allclose(others_GD, rows_GD, rtol=1e-5, atol=1e-7)


def brute_force_means(run: Path, gene: int) -> dict[str, tuple[int, np.ndarray]]:
    """Cell type -> how many of its cells have the gene as a token, and the mean final state there; cell by cell."""
    model, _ = load_model(run / "model")
    recipe = RunFolder.open(run).recipe()
    cells = load_run_data(recipe).cells
    tokenizer, genes = Tokenizer(cells, recipe.model.tokens), model.encode_graph()
    states: dict[str, list[np.ndarray]] = {}
    for cell in range(cells.num_cells):
        batch = tokenizer.batch(np.array([cell])).pack()
        place = np.flatnonzero(batch.feature_ids_T.numpy() == gene + NUM_SPECIAL)
        if place.size:
            state_TD = model.encode_cells(batch, genes).tokens_TD.detach().numpy()
            states.setdefault(str(cells.obs["cell_type"].iloc[cell]), []).append(state_TD[place[0]])
    return {group: (len(rows), np.mean(rows, axis=0)) for group, rows in states.items()}


def test_contextual_embeddings_are_means_over_the_cells_that_hold_the_gene(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grn_cotrain.apply.cells.TOKENS_PER_BATCH", 400)  # several batches
    ok("export", "genes", run, "--kind", "contextual", "--by", "cell_type", "--out", tmp_path / "by.parquet")
    ok("export", "genes", run, "--kind", "contextual", "--out", tmp_path / "all.parquet")
    frame, rows_KD, _ = read_export(tmp_path / "by.parquet")
    whole, whole_GD, _ = read_export(tmp_path / "all.parquet")
    prep = Prep.open(RunFolder.open(run).recipe().data.prep)
    detected_G = np.diff(prep.cells.values_CG.tocsc().indptr)
    assert whole.set_index("symbol")["n"].to_dict() == {
        name: int(count) for name, count in zip(prep.vocab.symbols, detected_G, strict=True) if count
    }
    gene = int(np.argsort(detected_G)[len(detected_G) // 2])
    expected = brute_force_means(run, gene)
    mine = frame["symbol"] == prep.vocab.symbols[gene]
    assert dict(zip(frame["group"][mine], frame["n"][mine], strict=True)) == {k: n for k, (n, _) in expected.items()}
    for group, row_D in zip(frame["group"][mine], rows_KD[mine.to_numpy()], strict=True):
        np.testing.assert_allclose(row_D, expected[group][1], rtol=1e-4, atol=1e-5)
    total = sum(n * mean_D for n, mean_D in expected.values()) / detected_G[gene]
    here = int(np.flatnonzero(whole["symbol"] == prep.vocab.symbols[gene])[0])
    np.testing.assert_allclose(whole_GD[here], total, rtol=1e-4, atol=1e-5)


# ---- embed -----------------------------------------------------------------------------------------------------------


def write_cells(source: Path, path: Path, columns: np.ndarray) -> Path:
    """Cells 0 to 29 of a prepared folder as a user's file with other columns."""
    data = Prep.open(source).to_anndata()[:30, columns].copy()
    data.X = data.X.tocsr()
    data.layers["mine"] = data.X * 2
    data.obsm["X_umap"] = np.ones((30, 2))
    data.write_h5ad(path)
    return path


def test_embed_cells_of_another_file(run: Path, tiny_world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("grn_cotrain.apply.cells.TOKENS_PER_BATCH", 400)  # several batches
    every = np.arange(80)
    files = {
        "same": write_cells(tiny_world, tmp_path / "same.h5ad", every),
        "shuffled": write_cells(tiny_world, tmp_path / "shuffled.h5ad", np.random.default_rng(0).permutation(80)),
        "fewer": write_cells(tiny_world, tmp_path / "fewer.h5ad", every[10:]),
    }
    before = {name: path.read_bytes() for name, path in files.items()}
    embedded = {}
    for name, path in files.items():
        ok("embed", "cells", run, path, "--out", tmp_path / f"{name}_out.h5ad")
        embedded[name] = anndata.read_h5ad(tmp_path / f"{name}_out.h5ad")
    assert "30 cells embedded in 16 dimensions" in capsys.readouterr().out
    assert {name: path.read_bytes() for name, path in files.items()} == before
    rows = {name: data.obsm["X_grn_cotrain"] for name, data in embedded.items()}
    assert rows["same"].shape == (30, 16)
    np.testing.assert_allclose(rows["shuffled"], rows["same"], rtol=1e-4, atol=1e-5)
    assert not np.allclose(rows["fewer"], rows["same"], atol=1e-3)
    assert np.isfinite(rows["fewer"]).all()
    assert list(embedded["fewer"].obs["cell_type"]) == list(embedded["same"].obs["cell_type"])
    # The same cells as in training: their states are those of the model itself.
    model, config = load_model(RunFolder.open(run).model_for("cells"))
    recipe = RunFolder.open(run).recipe()
    batch = Tokenizer(Prep.open(tiny_world).cells, recipe.model.tokens).batch(np.arange(30)).pack()
    expected_BD = model.encode_cells(batch, model.encode_graph()).cells_BD.detach().numpy()
    depth = OpenRun(run, side="cells").depth
    assert depth is not None
    np.testing.assert_allclose(rows["same"], depth.removed(expected_BD), rtol=1e-4, atol=1e-5)
    ok("embed", "cells", run, files["same"], "--keep-depth", "--out", tmp_path / "kept.h5ad")
    kept_BD = anndata.read_h5ad(tmp_path / "kept.h5ad").obsm["X_grn_cotrain"]
    np.testing.assert_allclose(kept_BD, expected_BD, rtol=1e-4, atol=1e-5)
    # What the file held is still there.
    assert (embedded["shuffled"].layers["mine"] != 2 * embedded["shuffled"].X).nnz == 0
    assert embedded["shuffled"].obsm["X_umap"].shape == (30, 2)
    assert list(embedded["shuffled"].var.columns) == list(anndata.read_h5ad(files["shuffled"]).var.columns)
    assert embedded["same"].uns["grn_cotrain"]["X_grn_cotrain"]["vocab_hash"] == config["vocab_hash"]

    ok("embed", "cells", run, files["same"], "--out", tmp_path / "key.h5ad", "--key-added", "X_mine")
    assert "X_mine" in anndata.read_h5ad(tmp_path / "key.h5ad").obsm


# ---- list ------------------------------------------------------------------------------------------------------------


def test_list_names_every_component(capsys) -> None:
    ok("list")
    out = capsys.readouterr().out
    for kind, registry in registries().items():
        assert f"\n{kind}\n" in "\n" + out
        for component in registry.components():
            assert f"  {component.name} " in out
            assert component.paper in out
    ok("list", "link-decoder")
    out = capsys.readouterr().out
    assert "bilinear" in out
    assert "gatv2" not in out
