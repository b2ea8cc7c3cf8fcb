"""Training from Python: six lines, unchanged objects, the numbers of the command line, nothing left on disk."""

from __future__ import annotations

import gc as collector
import hashlib
import json
import pickle
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import mudata
import networkx
import numpy as np
import pandas as pd
import pytest

import grn_cotrain as gc
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import UserError
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.recipe import PrepConfig, Recipe, SplitConfig, load_recipe
from grn_cotrain.run_folder import RunFolder
from tests.worlds import tiny_recipe, write_recipe


@pytest.fixture(scope="module")
def adata(tiny_world: Path) -> anndata.AnnData:
    """Counts of genes, with columns that a file cannot hold unchanged."""
    prep = Prep.open(tiny_world)
    genes = [i for i, modality in enumerate(prep.vocab.modality) if modality == "gene"]
    names = [prep.vocab.symbols[i] for i in genes]
    cells = anndata.AnnData(X=prep.cells.values_CG[:, genes].copy(), var=pd.DataFrame(index=names))
    cells.obs["donor"] = ["a" if i % 2 else "b" for i in range(cells.n_obs)]
    cells.obs["mixed"] = [1 if i % 2 else "one" for i in range(cells.n_obs)]
    cells.uns["function"] = len
    return cells


@pytest.fixture(scope="module")
def edges(tiny_world: Path) -> pd.DataFrame:
    """The network as a frame."""
    return Prep.open(tiny_world).grn.edges[["source", "target"]].copy()


@pytest.fixture
def recipe(tiny_world: Path) -> Recipe:
    """A recipe of seconds."""
    return tiny_recipe(tiny_world, train={"max_steps": 4}, evaluate={"controls": "degree_product,random"})


def digest(value: Any) -> str:
    """Hash of all that an object holds."""
    if isinstance(value, mudata.MuData):
        parts = [digest(part) for part in value.mod.values()] + [pickle.dumps(value.obs), pickle.dumps(value.var)]
        return hashlib.sha256(b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest()
    if isinstance(value, anndata.AnnData):
        X = value.X
        parts = [
            X.data.tobytes(),
            X.indices.tobytes(),
            X.indptr.tobytes(),
            pickle.dumps(value.obs),
            pickle.dumps(value.var),
        ]
        parts += [repr(sorted(value.uns)).encode(), repr(sorted(value.layers)).encode(), str(X.dtype).encode()]
        return hashlib.sha256(b"".join(parts)).hexdigest()
    if isinstance(value, networkx.Graph):
        return repr((sorted(value.edges(data=True)), sorted(value.nodes)))
    return hashlib.sha256(pickle.dumps(value)).hexdigest()


def losses(run: RunFolder) -> list[dict[str, float]]:
    """Losses of every logged step."""
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in one.items() if k.startswith(("loss/", "validation/"))} for one in records]


def test_the_command_line_gives_the_same_numbers(
    adata: anndata.AnnData, edges: pd.DataFrame, recipe: Recipe, tmp_path: Path
) -> None:
    before = digest(adata), digest(edges)
    model = gc.CoTrainModel.setup(adata, edges, recipe=recipe)
    model.train()
    table = model.evaluate_links(split="unseen-target")
    genes, cells = model.embed_genes(), model.embed_cells()
    assert (digest(adata), digest(edges)) == before

    plain = anndata.AnnData(X=adata.X, obs=adata.obs[["donor"]], var=adata.var)
    plain.write_h5ad(tmp_path / "cells.h5ad")
    edges.to_csv(tmp_path / "edges.tsv", sep="\t", index=False)
    block = PrepConfig(
        counts=str(tmp_path / "cells.h5ad"),
        grn=str(tmp_path / "edges.tsv"),
        splits=(SplitConfig(kind="unseen-target"),),
    )
    same = replace(recipe, prep=block, data=replace(recipe.data, prep=str(tmp_path / "prep")))
    write_recipe(same, tmp_path / "recipe.yaml")
    run = tmp_path / "run"
    assert run_app(app, ["train", str(tmp_path / "recipe.yaml"), "--out", str(run)]) == 0
    assert run_app(app, ["evaluate", "links", str(run)]) == 0
    assert model._run is not None
    mine, theirs = losses(model._run), losses(RunFolder(run))
    assert len(mine) >= 4
    assert mine == theirs
    stored = pd.read_parquet(run / "links.parquet")
    stored = stored[(stored["candidates"] == "all") & (stored["metric"] == "macro_auroc")].set_index("scorer")
    assert set(table.index) == {"joint", "degree_product", "random"}
    for scorer in table.index:
        assert table.loc[scorer, "macro_auroc"] == stored.loc[scorer, "value"]
        assert table.loc[scorer, "macro_auroc_low"] == stored.loc[scorer, "low"]
    assert table["kind"].tolist()[1:] == ["control", "control"]
    assert table.attrs["best_control"] in table.index
    out = tmp_path / "genes.parquet"
    assert run_app(app, ["export", "genes", str(run), "--format", "parquet", "--out", str(out)]) == 0
    exported = pd.read_parquet(out).set_index("symbol")
    np.testing.assert_array_equal(genes.to_numpy(), exported[list(genes.columns)].to_numpy())
    assert list(genes.index) == list(exported.index)
    embedded = tmp_path / "embedded.h5ad"
    assert run_app(app, ["embed", "cells", str(run), str(tmp_path / "cells.h5ad"), "--out", str(embedded)]) == 0
    found = anndata.read_h5ad(embedded)
    np.testing.assert_array_equal(cells.to_numpy(), found.obsm["X_grn_cotrain"])
    assert list(cells.index) == list(found.obs_names)
    np.testing.assert_array_equal(model.embed_cells(adata[:7]).to_numpy(), cells.to_numpy()[:7])


def test_nothing_is_written_unless_it_is_saved(
    adata: anndata.AnnData, edges: pd.DataFrame, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, work = tmp_path / "scratch", tmp_path / "work"
    scratch.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    model = gc.CoTrainModel.setup(adata, edges, recipe=recipe, settings={"train.max_steps": 2})
    assert model.recipe.train.max_steps == 2
    model.train(max_steps=3, schedule="link_only")
    assert (model.recipe.train.max_steps, model.recipe.train.schedule.name) == (3, "link_only")
    assert list(work.iterdir()) == []
    first = model.evaluate_links()
    saved = model.save("mine")
    assert sorted(path.name for path in saved.iterdir()) == ["prep", "recipe.yaml", "run"]
    with pytest.raises(UserError, match="path='mine': is a folder with content"):
        model.save("mine")
    del model
    collector.collect()
    assert list(scratch.iterdir()) == []

    moved = saved.rename(tmp_path / "moved")
    again = gc.CoTrainModel.load(moved)
    pd.testing.assert_frame_equal(again.evaluate_links(), first)
    assert len(again.embed_cells(adata)) == adata.n_obs
    with pytest.raises(UserError, match="give an AnnData"):
        again.embed_cells()
    assert run_app(app, ["evaluate", "links", str(moved / "run"), "--controls", "random", "--bootstrap", "0"]) == 0
    assert load_recipe(moved / "recipe.yaml").prep is None


def test_the_folder_of_a_run_loads(adata: anndata.AnnData, tiny_run: Path, tmp_path: Path) -> None:
    """As documents and the card of a published run show it; its prepared folder is needed for links alone."""
    model = gc.CoTrainModel.load(tiny_run)
    assert model.recipe == RunFolder(tiny_run).recipe()
    pd.testing.assert_frame_equal(model.embed_genes(), gene_frame(tiny_run))
    assert len(model.embed_cells(adata)) == adata.n_obs
    alone = tmp_path / "alone"
    shutil.copytree(tiny_run, alone)
    links = gc.CoTrainModel.load(alone).evaluate_links(controls="random", bootstrap=0)
    assert links.index[0] == "joint"
    saved = model.save(tmp_path / "project")
    pd.testing.assert_frame_equal(gc.CoTrainModel.load(saved).embed_genes(), model.embed_genes())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"is not a saved model .*, or a run$"):
        gc.CoTrainModel.load(tmp_path / "empty")


def gene_frame(run: Path) -> pd.DataFrame:
    """Graph embeddings as ``export genes`` gives them."""
    frame = gene_embeddings(run).frame
    values = frame.loc[:, [name for name in frame.columns if name[0] == "d" and name[1:].isdigit()]]
    return values.set_axis(pd.Index(frame["symbol"], name="gene"), axis=0)


def test_every_kind_of_object(adata: anndata.AnnData, edges: pd.DataFrame, recipe: Recipe, tmp_path: Path) -> None:
    graph = networkx.from_pandas_edgelist(edges, create_using=networkx.DiGraph)
    rna = anndata.AnnData(X=adata.X, obs=adata.obs[["donor"]], var=adata.var)
    mdata = mudata.MuData({"rna": rna})
    edges.to_csv(tmp_path / "edges.csv", index=False)
    before = digest(mdata), digest(graph)
    reference = gc.CoTrainModel.setup(adata, edges, recipe=recipe)
    expected = Prep.open(reference.recipe.data.prep)
    for cells, grn in ((mdata, graph), (rna, tmp_path / "edges.csv"), (adata, expected.grn)):
        found = gc.CoTrainModel.setup(cells, grn, recipe=recipe)
        prep = Prep.open(found.recipe.data.prep)
        assert prep.vocab.content_hash == expected.vocab.content_hash
        assert prep.grn.content_hash == expected.grn.content_hash
        assert prep.split(found.recipe.data.split).content_hash == expected.split(recipe.data.split).content_hash
    assert (digest(mdata), digest(graph)) == before


def test_a_recipe_is_chosen_and_can_be_read_back(adata: anndata.AnnData, edges: pd.DataFrame, tmp_path: Path) -> None:
    model = gc.CoTrainModel.setup(adata, edges, split="unseen-tf", settings={"model.width": 16})
    assert model.recipe.data.split == "unseen-tf-visible-seed0-fold0"
    assert any(line.startswith("split unseen-tf") for line in model.notes)
    assert repr(model) == "CoTrainModel(cells, unseen-tf-visible-seed0-fold0, not trained)"
    (tmp_path / "recipe.yaml").write_text(model.recipe.to_yaml())
    assert load_recipe(tmp_path / "recipe.yaml") == model.recipe


def test_wrong_input_is_named_in_words_of_python(adata: anndata.AnnData, edges: pd.DataFrame, recipe: Recipe) -> None:
    def setup(cells: Any = adata, grn: Any = edges, **options: Any) -> gc.CoTrainModel:
        return gc.CoTrainModel.setup(cells, grn, **{"recipe": recipe, **options})

    for make, match in (
        (lambda: setup(cells=[1, 2]), r"^cells: got list; give an AnnData"),
        (lambda: setup(grn={"a": "b"}), r"^grn: got dict; give a DataFrame"),
        (lambda: setup(grn=networkx.Graph([("a", "b")])), "give a DiGraph"),
        (lambda: setup(grn=edges.iloc[:0]), "^grn: has no edge"),
        (lambda: setup(grn=pd.DataFrame({"source": ["x"], "target": ["y"]})), "^grn"),
        (lambda: setup(layer="cuonts"), r"^layer='cuonts': cells has no such layer"),
        (lambda: setup(split="unseen-targets"), r"^split='unseen-targets': .*did you mean 'unseen-target'"),
        (lambda: setup(settings={"model.cell_encodr": "scgpt"}), "did you mean 'cell_encoder'"),
        (lambda: setup().evaluate_links(), r"call model\.train\(\) first"),
        (lambda: gc.CoTrainModel.load("absent"), "path 'absent': is not a saved model"),
    ):
        with pytest.raises(UserError, match=match) as raised:
            make()
        assert "grn-cotrain-" not in str(raised.value), "a private path"
    model = setup().train(max_steps=2)
    with pytest.raises(UserError, match=r"^split='random': the model was trained with 'unseen-target-seed0'"):
        model.evaluate_links(split="random")


def test_the_six_lines_of_the_readme(
    adata: anndata.AnnData, edges: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    block = next(part for part in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "setup(" in part)
    assert len([line for line in block.splitlines() if line.startswith(("model", "links", "genes", "cells"))]) == 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"adata": adata, "grn": edges}
    block = block.replace("max_steps=300", "max_steps=2").replace(
        'split="unseen-target")  #', 'split="unseen-target", controls="random")  #'
    )
    exec(block, names)
    assert names["links"].index[0] == "joint"
    assert (len(names["genes"]), len(names["cells"])) == (adata.n_vars, adata.n_obs)
    assert (tmp_path / "PROJECT" / "run" / "model").is_dir()
