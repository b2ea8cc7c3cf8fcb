"""Bad input of ``grn-cotrain``: one line that names the argument, the value and the fix; nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.evaluate.run import evaluate_cells
from grn_cotrain.export.extend import extend_run
from grn_cotrain.model_io import load_model
from grn_cotrain.run_folder import RunFolder
from tests.integration.refusals import refused


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def flip(path: Path) -> Path:
    """Damage one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def edited(path: Path, drop: str = "", **changes: object) -> Path:
    """A JSON file with some keys replaced and one removed."""
    value = {**json.loads(path.read_text()), **changes}
    value.pop(drop, None)
    return text(path, json.dumps(value))


CHECK_OVERRIDES = {
    "misspelt key": ("model.cell_encoder.num_layer=1", "'model.cell_encoder.num_layer' (did you mean 'num_layers'?)"),
    "misspelt deep key": ("train.schedule.nmae=joint", "'train.schedule.nmae' (did you mean 'name'?)"),
    "misspelt block": ("trian.max_steps=1", "unknown key 'trian' (did you mean 'train'?)"),
    "unknown encoder": ("model.graph_encoder=gatv3", "'gatv3' for graph_encoder; choose from gatv2, gcn"),
    "unknown coupling": ("model.coupling=gatd", "did you mean 'gated'?"),
    "unknown objective": ("objectives={masked_valu: {}, link_prediction: {}}", "did you mean 'masked_value'?"),
    "unknown loss": ("objectives.link_prediction.loss=rankng", "did you mean 'ranking'?"),
    "unknown schedule": ("train.schedule.name=jiont", "train.schedule.name: got 'jiont'; choose from joint"),
    "unknown feature": ("model.table.inductive=[expresion]", "did you mean 'expression'?"),
    "wrong type": ("train.max_steps=many", "train.max_steps: got 'many'; it takes int"),
    "no mapping": ("data=3", "data: got 3; it takes a mapping"),
    "out of range": ("data.test_cells=0.9", "data: test_cells: got 0.9; give a share"),
    "infinite": ("train.learning_rate=.inf", "train.learning_rate: got inf"),
    "not a number": ("train.weighting.weights.masked_value=.nan", "weights.masked_value: got nan"),
    "zero interval": ("train.gradient_cosine_every=0", "gradient_cosine_every: got 0; give at least 1"),
    "negative seed": ("seed=-1", "seed: got -1; give 0 to 4294967295"),
    "large seed": ("seed=99999999999999999999999", "give 0 to 4294967295"),
    "threads of no machine": ("train.threads=100000", "threads: got 100000; give 1 to 1024"),
    "control unknown": ("evaluate.controls=degree_prodct", "did you mean 'degree_product'?"),
    "heads do not divide": ("model.cell_encoder.num_heads=3", "num_heads"),
    "unknown device": ("train.device=gpuu", "train.device 'gpuu'"),
    "split absent": ("data.split=unseen-taget-seed0", "did you mean 'unseen-target-seed0'"),
    "prepared folder absent": ("data.prep=/nowhere/at/all", "no such folder"),
    "no cell objective": ("objectives={link_prediction: {}}", "the recipe has no cell objective"),
    "weights of another loss": ("train.weighting.weights={mlm: 1}", "'mlm' is no objective"),
    "no room for tokens": ("model.tokens.zeros_per_cell=5000", "leaves no room"),
}


@pytest.mark.parametrize("case", CHECK_OVERRIDES)
def test_bad_recipes_are_one_line(case: str, recipe_file: Path, tmp_path: Path, capsys) -> None:
    override, message = CHECK_OVERRIDES[case]
    refused(message, "check", recipe_file, "--set", override, capsys=capsys, watch=tmp_path)


@pytest.mark.parametrize("case", ["misspelt key", "unknown device", "split absent", "no cell objective"])
def test_train_makes_no_folder_for_a_bad_recipe(case: str, recipe_file: Path, tmp_path: Path, capsys) -> None:
    override, message = CHECK_OVERRIDES[case]
    arguments = ["train", recipe_file, "--out", tmp_path / "out", "--set", override]
    refused(message, *arguments, capsys=capsys, watch=tmp_path)


FILES = {
    "missing recipe": (lambda p: p / "no.yaml", "no such file; give the path of a YAML recipe"),
    "recipe is a folder": (lambda p: p, "cannot be read"),
    "not YAML": (lambda p: text(p / "r.yaml", "a: [1,\nb"), "not valid YAML"),
    "not a mapping": (lambda p: text(p / "r.yaml", "- a\n"), "must hold a mapping"),
    "missing key": (lambda p: text(p / "r.yaml", "name: x\n"), "missing key 'data'"),
    "a date for a name": (
        lambda p: text(p / "r.yaml", "name: 2020-01-01\ndata: {prep: a, split: b}\n"),
        "name: got datetime.date",
    ),
    "unset environment": (
        lambda p: text(p / "r.yaml", "name: x\ndata: {prep: '${GRN_COTRAIN_DATA}/x', split: y}\n"),
        "set it to the folder of real data sets (export GRN_COTRAIN_DATA=/path/to/data)",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_recipe_files_are_one_line(case: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("GRN_COTRAIN_DATA", raising=False)
    make, message = FILES[case]
    recipe = make(tmp_path)
    refused(message, "check", recipe, capsys=capsys, watch=tmp_path)
    refused(message, "train", recipe, "--out", tmp_path / "out", capsys=capsys, watch=tmp_path)


#: case -> what is done to a copy of a run and to its folder (returning the arguments), and what the error says.
RUNS = {
    "run absent": (lambda p, r: ["evaluate", "links", p / "none"], "no such folder"),
    "score: run absent": (lambda p, r: ["score", p / "none", *pairs(p, "A\tB")], "no run folder"),
    "folder without a run": (lambda p, r: ["evaluate", "links", empty(p)], "no run folder (no recipe.yaml in it)"),
    "run without a model": (lambda p, r: ["evaluate", "links", without_model(r)], "it holds no model yet; finish it"),
    "damaged weights": (
        lambda p, r: ["evaluate", "links", damaged(r, "model.safetensors"), "--controls", "none"],
        "model.safetensors': damaged",
    ),
    "truncated graph": (
        lambda p, r: [cut(r / "model" / "graph.safetensors"), "export", "genes", r][1:],
        "graph.safetensors': damaged",
    ),
    "vocabulary exchanged": (lambda p, r: ["export", "genes", other_vocab(r)], "vocab.json"),
    "config of a newer version": (
        lambda p, r: [edited(r / "model" / "config.json", format_version=99), "export", "genes", r][1:],
        "format_version 99",
    ),
    "config without checksums": (
        lambda p, r: [edited(r / "model" / "config.json", drop="sha256"), "export", "genes", r][1:],
        "config.json lacks sha256",
    ),
    "config cut short": (lambda p, r: [cut(r / "model" / "config.json"), "export", "genes", r][1:], "damaged"),
    "recipe of another version": (
        lambda p, r: [text(r / "recipe.yaml", "name: a\nfuture: 1\n"), "evaluate", "links", r][1:],
        "/run': unknown key 'future'",
    ),
    "recipe of the run damaged": (
        lambda p, r: [text(r / "recipe.yaml", "a: ["), "evaluate", "links", r][1:],
        "not valid YAML",
    ),
    "control unknown": (lambda p, r: ["evaluate", "links", r, "--controls", "degree_prodct"], "did you mean"),
    "control twice": (lambda p, r: ["evaluate", "links", r, "--controls", "random,random"], "is given twice"),
    "bootstrap negative": (lambda p, r: ["evaluate", "links", r, "--bootstrap", "-1"], "--bootstrap '-1'"),
    "evaluate: out is a file": (
        lambda p, r: ["evaluate", "links", r, "--out", text(p / "file", "x")],
        "--out '",
    ),
    "pairs absent": (lambda p, r: ["score", r, "--pairs", p / "no.tsv", "--out", p / "s.tsv"], "no such file"),
    "pairs without a known gene": (lambda p, r: ["score", r, *pairs(p, "AAA\tBBB")], "AAA, BBB"),
    "pairs with one column": (lambda p, r: ["score", r, *pairs(p, "AAA", header="source")], "pairs.tsv"),
    "scores into a folder": (
        lambda p, r: ["score", r, "--pairs", known_pairs(p, r), "--out", p],
        "is a folder; give the name of a file",
    ),
    "kind wrong": (lambda p, r: ["export", "genes", r, "--kind", "statik"], "--kind 'statik': choose from static"),
    "format wrong": (lambda p, r: ["export", "genes", r, "--format", "h5"], "--format 'h5': choose from parquet"),
    "by without contextual": (lambda p, r: ["export", "genes", r, "--by", "cell_type"], "add --kind contextual"),
    "by unknown column": (
        lambda p, r: ["export", "genes", r, "--kind", "contextual", "--by", "celltype"],
        "--by 'celltype': no such column of obs; choose from cell_type",
    ),
    "export into a folder": (lambda p, r: ["export", "genes", r, "--out", p], "is a folder"),
    "cells absent": (lambda p, r: ["embed", "cells", r, p / "no.h5ad", "--out", p / "o.h5ad"], "no such file"),
    "cells truncated": (
        lambda p, r: ["embed", "cells", r, cut(world_cells(p, r)), "--out", p / "o.h5ad"],
        "damaged or cut short",
    ),
    "cells of other genes": (
        lambda p, r: ["embed", "cells", r, foreign_cells(p), "--out", p / "o.h5ad"],
        "genes of the cells",
    ),
    "fine-tune on an unknown device": (
        lambda p, r: [*finetune_words(p, r), "--device", "gpuu"],
        "--device 'gpuu': You selected an invalid accelerator name",
    ),
    "fine-tune on a device of another machine": (
        lambda p, r: [*finetune_words(p, r), "--device", "tpu"],
        "--device 'tpu'",
    ),
    "kind of component unknown": (lambda p, r: ["list", "decoders"], "KIND 'decoders': choose from graph_encoder"),
    "unknown command": (lambda p, r: ["evaluate", "genes", r], "No such command 'genes'"),
    "missing option": (lambda p, r: ["score", r, "--out", p / "s.tsv"], "--pairs"),
}


def pairs(folder: Path, row: str, header: str = "source\ttarget") -> list[object]:
    return ["--pairs", text(folder / "pairs.tsv", f"{header}\n{row}\n"), "--out", folder / "scores.tsv"]


def known_pairs(folder: Path, run: Path) -> Path:
    symbols = json.loads((run / "model" / "vocab.json").read_text())["symbols"]
    return text(folder / "known.tsv", f"source\ttarget\n{symbols[0]}\t{symbols[50]}\n")


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def without_model(run: Path) -> Path:
    shutil.rmtree(run / "model")
    return run


def damaged(run: Path, name: str) -> Path:
    flip(run / "model" / name)
    return run


def other_vocab(run: Path) -> Path:
    model, _ = load_model(run / "model")
    model.vocab.select(list(reversed(range(model.vocab.num_features)))).save(run / "model" / "vocab.json")
    return run


def world_cells(folder: Path, run: Path) -> Path:
    prep = Path(yaml.safe_load((run / "recipe.yaml").read_text())["data"]["prep"])
    Prep.open(prep).to_anndata().write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


def finetune_words(folder: Path, run: Path) -> list[object]:
    return ["finetune", run, world_cells(folder, run), "--label", "cell_type", "--out", folder / "tuned"]


def foreign_cells(folder: Path) -> Path:
    values = np.random.default_rng(0).poisson(2.0, (5, 20)).astype(np.float32)
    var = pd.DataFrame(index=[f"OTHER{i}" for i in range(20)])
    anndata.AnnData(values, var=var).write_h5ad(folder / "foreign.h5ad")
    return folder / "foreign.h5ad"


@pytest.mark.parametrize("case", RUNS)
def test_bad_requests_on_a_run_are_one_line(case: str, run: Path, tmp_path: Path, capsys) -> None:
    make, message = RUNS[case]
    arguments = make(tmp_path, run)
    refused(message, *arguments, capsys=capsys, watch=tmp_path)


def prepared_anew(run: Path, folder: Path, *, num_genes: int = 80, num_cells: int = 160) -> Path:
    """The run, its recipe naming another folder; of the tiny world's own size it would be that world again."""
    from data_prep.simulate import simulate
    from data_prep.splits import prepare_splits

    simulate(folder, num_genes=num_genes, num_tfs=16, num_cells=num_cells)
    prepare_splits(folder, "unseen-target", seed=0)
    of_run = RunFolder.open(run)
    recipe = of_run.recipe()
    of_run.write_recipe(replace(recipe, data=replace(recipe.data, prep=str(folder))))
    return run


#: Commands that read the run's own cells: what they say where the folder has other genes.
READ_THE_FOLDER = {
    "export genes": (["export", "genes", "{run}", "--kind", "contextual"], "has other genes now"),
    "perturb": (["perturb", "{run}", "--gene", "{gene}", "--out", "{out}.tsv"], "has other genes now"),
    "evaluate links": (["evaluate", "links", "{run}"], "has other genes now"),
    "evaluate attention": (["evaluate", "attention", "{run}", "--out", "{out}"], "has other genes now"),
    "evaluate cells": (["evaluate", "cells", "{run}"], "has other genes now"),
    "evaluate cells by sparsity": (["evaluate", "cells", "{run}", "--by-sparsity"], "has other genes now"),
}


@pytest.mark.parametrize("case", READ_THE_FOLDER)
def test_a_folder_prepared_anew_with_other_genes_is_refused(case: str, run: Path, tmp_path: Path, capsys) -> None:
    prepared_anew(run, tmp_path / "other", num_genes=70, num_cells=60)
    words, message = READ_THE_FOLDER[case]
    gene = json.loads((run / "model" / "vocab.json").read_text())["symbols"][0]
    arguments = [word.format(run=run, out=tmp_path / "out", gene=gene) for word in words]
    refused(message, *arguments, capsys=capsys, watch=tmp_path)


@pytest.mark.parametrize("case", READ_THE_FOLDER)
def test_a_folder_prepared_anew_with_other_cells_is_refused(case: str, run: Path, tmp_path: Path, capsys) -> None:
    """Genes and split are the same to the hash: the cells alone tell, and held-out ones may be training cells now."""
    prepared_anew(run, tmp_path / "other", num_cells=150)
    gene = json.loads((run / "model" / "vocab.json").read_text())["symbols"][0]
    arguments = [word.format(run=run, out=tmp_path / "out", gene=gene) for word in READ_THE_FOLDER[case][0]]
    refused("has other cells now", *arguments, capsys=capsys, watch=tmp_path)


def test_a_folder_prepared_anew_as_it_was_is_taken(run: Path, tmp_path: Path) -> None:
    prepared_anew(run, tmp_path / "same")
    assert run_app(app, ["evaluate", "cells", str(run)]) == 0


def test_a_split_made_anew_is_refused(run: Path, tmp_path: Path) -> None:
    """Which cells are held out follows from the split's seed."""
    folder = RunFolder.open(run)
    model, config = load_model(folder.require_model())
    recipe = folder.recipe()
    folder.check_data(load_run_data(recipe), model.vocab, config["meta"])
    other = load_run_data(replace(recipe, data=replace(recipe.data, split="random-seed0")))
    with pytest.raises(UserError, match="has other edges in its split now than the model was trained on"):
        folder.check_data(other, model.vocab, config["meta"])
    with pytest.raises(UserError, match="split 'random-seed0': the model was trained on split 'unseen-target-seed0'"):
        ModelScorer(run).fit(other.split, None)


def test_an_extended_run_is_judged_on_the_data_of_its_training(run: Path, tmp_path: Path) -> None:
    """Rows were appended and none moved: these are its data still, under the same ids."""
    extend_run(
        run, None, tmp_path / "wide", features=text(tmp_path / "features.tsv", "NOBODYS\n"), say=lambda line: None
    )
    extend_run(
        tmp_path / "wide",
        None,
        tmp_path / "wider",
        features=text(tmp_path / "more.tsv", "NOONES\n"),
        say=lambda line: None,
    )
    folder = RunFolder.open(tmp_path / "wider")
    frame = evaluate_cells(folder)
    assert {"joint", "gene_mean"} <= set(frame["scorer"])
    prepared_anew(tmp_path / "wider", tmp_path / "other", num_genes=70)
    with pytest.raises(UserError, match="has other genes now"):
        evaluate_cells(folder)


@pytest.mark.parametrize("arguments", [["check", "no.yaml"], ["evaluate", "links", "nowhere"]])
def test_the_real_program_ends_with_2_and_one_line(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grn_cotrain.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
