"""``grn-cotrain card`` and ``diff``: what they write and refuse, and what a run without its data still says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from grn_cotrain.apply import OpenRun
from grn_cotrain.card import GeneCard, build_card, diff_runs
from grn_cotrain.card.inputs import read_inputs
from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.link_table import COLUMNS, LinkTable
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.export.known_edges import known_edges
from grn_cotrain.model_io import load_model, save_model
from grn_cotrain.run_folder import RunFolder
from tests.integration.refusals import refused


def quiet(text: str) -> None:
    del text


def changed_recipe(run: Path, **changes: object) -> None:
    """Replace top-level keys, or leaves ``block__key``, of the run's recipe."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    for key, value in changes.items():
        *blocks, leaf = key.split("__")
        part = recipe
        for block in blocks:
            part = part[block]
        part[leaf] = value
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    RunFolder(run).write_recipe(RunFolder(run).recipe())  # a run of these settings, as it were


def with_noise(run: Path, scale: float = 0.5) -> None:
    """Another seed, as it were: the model's table moved at random."""
    model, config = load_model(run / "model")
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        model.table.id_GD += scale * torch.randn(model.table.id_GD.shape, generator=generator)
    save_model(run / "model", model, backend=config["backend"], meta=config["meta"])
    changed_recipe(run, seed=1)


@pytest.fixture
def other(run: Path, tmp_path: Path) -> Path:
    """A second run of the same recipe under another seed."""
    folder = Path(shutil.copytree(run, tmp_path / "other"))
    with_noise(folder)
    return folder


@pytest.fixture(scope="module")
def card(tiny_run: Path) -> GeneCard:
    return build_card(tiny_run, replicates=20, say=quiet)


def test_the_card_is_plain_json_and_reads_back(card: GeneCard, tmp_path: Path) -> None:
    paths = card.write(tmp_path / "out")
    assert [path.name for path in paths] == ["card.json", "card.md"]
    content = json.loads(paths[0].read_text())
    assert content == card.to_dict()
    again = GeneCard.read(tmp_path / "out")
    assert again.sections() == card.sections()
    assert again.to_markdown() == paths[1].read_text()


def test_a_card_depends_on_its_seed_and_nothing_else(card: GeneCard, tiny_run: Path) -> None:
    assert build_card(tiny_run, replicates=20, say=quiet).to_dict() == card.to_dict()
    assert build_card(tiny_run, replicates=20, seed=1, say=quiet).to_dict()["probes"] != card.to_dict()["probes"]


def test_hashes_are_the_runs(card: GeneCard, tiny_run: Path) -> None:
    content = card.to_dict()
    record = json.loads((tiny_run / "run.json").read_text())
    config = json.loads((tiny_run / "model" / "config.json").read_text())
    hashes = content["identity"]["hashes"]
    assert hashes["vocabulary"] == record["vocab_hash"]
    assert hashes["cells"] == record["cells_hash"]
    assert hashes["split"] == record["split_hash"]
    assert hashes["recipe"] == record["recipe_hash"]
    assert hashes["weights_sha256"] == config["sha256"]["model.safetensors"]
    assert content["identity"]["num_message_edges"] == record["message_edges"]
    assert content["identity"]["trained_with"]["packages"] == record["environment"]["packages"]
    assert content["missing"] == ""
    assert str(tiny_run.parent) not in json.dumps(content)  # no path of any machine


def test_sections_answer_first(card: GeneCard) -> None:
    sections = card.sections()
    assert [section.key for section in sections] == [
        *("summary", "neighbours", "degree-expression", "probes", "stability", "health", "identity")
    ]
    answers = {line["question"]: line["answer"] for line in card.to_dict()["summary"]}
    assert "give --annotation" in answers["Does the negative control hold?"]
    assert "give --others" in answers["Would another seed give the same?"]
    names = {probe["name"]: probe["status"] for probe in card.to_dict()["probes"]}
    assert names["pathways"] == names["chromosome"] == "not run"
    assert names["regulons_training"] == "run"


def test_degree_is_of_message_edges(tiny_run: Path) -> None:
    inputs = read_inputs(tiny_run, say=quiet)
    model, _ = load_model(tiny_run / "model")
    expected = np.bincount(model.inputs.message_2E.ravel(), minlength=inputs.num_genes)
    np.testing.assert_array_equal(inputs.degree_G, expected)
    assert inputs.split is not None
    pair = inputs.split.test_2E[:, 0]
    assert inputs.edge_label(pair[1], pair[0]).startswith("test: ")


@pytest.mark.parametrize("kind", ["static", "contextual"])
def test_every_kind_has_a_card(tiny_run: Path, kind: str) -> None:
    content = build_card(tiny_run, kind=kind, replicates=5, say=quiet).to_dict()
    assert content["identity"]["kind"] == kind
    assert content["identity"]["num_genes"] <= 80


def test_without_its_prepared_folder_a_run_says_what_is_missing(run: Path) -> None:
    changed_recipe(run, data__prep="gone", prep=None)
    said: list[str] = []
    card = build_card(run, replicates=5, say=said.append)
    content = card.to_dict()
    assert any("no such folder" in line for line in said)
    assert "prepared folder" in content["missing"]
    probes = {probe["name"]: probe for probe in content["probes"]}
    assert probes["regulons_held_out"]["status"] == "not run"
    assert probes["regulons_training"]["status"] == "run"
    assert list(content["encoding"]["share"]) == ["degree", "network"]
    assert content["neighbours"]["genes"][0]["pca"] == []
    assert "Parts are missing" in card.to_markdown()


def test_a_prepared_folder_that_changed_is_not_used(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "cells_hash": "other"}))
    said: list[str] = []
    assert build_card(run, replicates=5, say=said.append).to_dict()["missing"]
    assert any("other cells" in line for line in said)


def test_a_card_prepares_nothing(run: Path, tiny_world: Path) -> None:
    """A recipe whose prep: block would make the folder anew must not do so for a reader."""
    changed_recipe(run, prep={"counts": "nowhere.h5ad"})
    before = {path: path.stat().st_mtime_ns for path in tiny_world.rglob("*")}
    assert build_card(run, replicates=5, say=quiet).to_dict()["missing"] == ""
    assert {path: path.stat().st_mtime_ns for path in tiny_world.rglob("*")} == before


def test_rows_that_are_no_numbers_are_left_out_and_counted(run: Path) -> None:
    model, config = load_model(run / "model")
    with torch.no_grad():
        model.table.id_GD[3] = float("nan")
    save_model(run / "model", model, backend=config["backend"], meta=config["meta"])
    content = build_card(run, kind="static", replicates=5, say=quiet).to_dict()
    assert content["health"]["num_not_finite"] == 1
    assert content["identity"]["num_genes"] == 79
    assert "not finite" in content["summary"][0]["answer"]


def test_stability(run: Path, other: Path, tmp_path: Path) -> None:
    same = Path(shutil.copytree(run, tmp_path / "same"))
    content = build_card(run, others=[other, same], replicates=5, say=quiet).to_dict()
    moved, equal = content["stability"]
    assert moved["seed"] == 1
    assert moved["num_shared"] == 80
    assert moved["num_dropped"] == 0
    assert moved["differs_in"] == []
    assert 0 < moved["chance"]["neighbours_10"] < moved["values"]["neighbours_10"] < 1
    assert 0 < moved["values"]["procrustes_r2"] < 1
    assert not moved["same_weights"]
    assert equal["same_weights"]
    start = content["neighbours"]["summary"]["overlap_with_pca"]
    answer = content["summary"][-1]["answer"]
    assert ("another seed does not find again" in answer) == (moved["values"]["neighbours_10"] <= start)
    assert equal["values"]["procrustes_r2"] == pytest.approx(1)
    changed_recipe(other, train__max_steps=9)
    again = build_card(run, others=[other], replicates=5, say=quiet)
    assert again.to_dict()["stability"][0]["differs_in"] == ["train.max_steps"]
    assert "differs in more than the seed: train.max_steps" in again.to_markdown()


def test_the_command_writes_three_files(run: Path, other: Path, tmp_path: Path, capsys) -> None:
    symbols = json.loads((run / "model" / "vocab.json").read_text())["symbols"]
    gmt, annotation = tmp_path / "sets.gmt", tmp_path / "places.tsv"
    gmt.write_text("SET\tx\t" + "\t".join(symbols[:30]) + "\n")
    annotation.write_text("gene\tchrom\n" + "".join(f"{name}\tchr{i % 2}\n" for i, name in enumerate(symbols)))
    command = ["card", run, "--others", other, "--genes", f"{symbols[0]},{symbols[40]}", "--pathways", gmt]
    command += ["--annotation", annotation, "--out", tmp_path / "card"]
    assert run_app(app, [str(part) for part in command]) == 0
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["card.html", "card.json", "card.md"]
    content = GeneCard.read(tmp_path / "card").to_dict()
    assert [gene["gene"] for gene in content["neighbours"]["genes"]] == [symbols[0], symbols[40]]
    assert {probe["name"] for probe in content["probes"] if probe["status"] == "run"} >= {"pathways", "chromosome"}
    page = (tmp_path / "card" / "card.html").read_text()
    assert "Would another seed give the same?" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "In short" in capsys.readouterr().out


def test_refusals_of_card(run: Path, other: Path, tmp_path: Path, capsys) -> None:
    symbol = json.loads((run / "model" / "vocab.json").read_text())["symbols"][0]
    bad = tmp_path / "bad.txt"
    bad.write_text("no tabs here\n")
    places = tmp_path / "places.tsv"
    places.write_text("gene\tstart\nA\t1\n")
    for message, *arguments in (
        ("no run folder", tmp_path),
        (f"gene '{symbol}x': not among", run, "--genes", f"{symbol}x"),
        (f"did you mean '{symbol}'?", run, "--genes", f"{symbol}x"),
        ("no such file", run, "--pathways", tmp_path / "absent.gmt"),
        ("line 1 is not a GMT line", run, "--pathways", bad),
        ("no such file", run, "--annotation", tmp_path / "absent.tsv"),
        ("no column 'chrom'", run, "--annotation", places),
        ("no run folder", run, "--others", tmp_path / "absent"),
        ("grpah", run, "--kind", "grpah"),
        ("is a file; give a folder", run, "--out", bad),
        ("--seed '-1'", run, "--seed", "-1"),
    ):
        refused(message, "card", *arguments, capsys=capsys, watch=run)


def test_a_run_on_other_genes_is_refused(run: Path, other: Path, capsys) -> None:
    model, config = load_model(other / "model")
    renamed = FeatureVocab.from_symbols([f"X{name}" for name in model.vocab.symbols], species="human")
    model.inputs = replace(model.inputs, vocab=renamed)
    save_model(other / "model", model, backend=config["backend"], meta=config["meta"])
    refused("another vocabulary", "card", run, "--others", other, capsys=capsys, watch=run)


def test_other_files_are_no_cards(tmp_path: Path, card: GeneCard) -> None:
    path = tmp_path / "card.json"
    for content, message in (
        ("{}", "not a gene-embedding card"),
        ("[1]", "not a gene-embedding card"),
        ("{", "damaged"),
        (json.dumps({**card.to_dict(), "schema_version": 99}), "schema_version 99"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            GeneCard.read(path)
    with pytest.raises(UserError, match="no such file"):
        GeneCard.read(tmp_path / "absent.json")


# ---------------------------------------------------------------------------------------------------------- diff


def table(value: float, key: str, scorer: str = "joint") -> LinkTable:
    """Two rows, with replicates around their values."""
    generator = np.random.default_rng(0)
    base = dict.fromkeys(COLUMNS, 0) | {"split": "s", "track": "visible", "candidates": "all", "metric": "macro_auroc"}
    base |= {"split_hash": "", "recipe_hash": "", "commit": ""}
    rows = [base | {"scorer": scorer, "kind": "model", "value": value}]
    rows += [base | {"scorer": "random", "kind": "control", "value": 0.5}]
    frame = pd.DataFrame(rows)[list(COLUMNS)]
    frame = frame.astype({name: kind for name, kind in COLUMNS.items() if kind != "str"})
    noise = 0.01 * generator.standard_normal((1, 50))
    replicates = np.concatenate([value + noise, 0.5 + noise]).astype(np.float32)
    return LinkTable(frame=frame, replicates_LB=replicates, keys={"s": key}, two_way=False, headline_split="s")


def test_a_copy_differs_in_nothing(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    content = diff_runs(run, copy).to_dict()
    assert content["recipe"] == []
    assert all(row["equal"] for part in ("inputs", "environment", "training") for row in content[part])
    assert content["embedding"]["agreement"]["same_weights"]
    assert content["embedding"]["agreement"]["values"]["neighbours_10"] == 1
    assert content["edges"]["spearman"] == pytest.approx(1)
    assert content["edges"]["shared_top"] == 1
    assert all(row["rank_a"] == row["rank_b"] for row in content["edges"]["rows"])
    assert content["links"]["status"] == "not run"


def test_differences_are_found(run: Path, other: Path) -> None:
    changed_recipe(other, train__learning_rate=0.5)
    content = diff_runs(run, other).to_dict()
    assert [(row["key"], row["a"], row["b"]) for row in content["recipe"]] == [
        ("seed", 0, 1),
        ("train.learning_rate", 0.002, 0.5),
    ]
    inputs = {row["what"]: row["equal"] for row in content["inputs"]}
    assert inputs["vocabulary"]
    assert inputs["graph"]
    assert not inputs["model"]
    edges = content["edges"]
    assert edges["num_pairs"] == edges["num_tfs"] * (edges["num_genes"] - 1)
    assert edges["spearman"] < 1
    change = [abs(np.log(row["rank_a"] / row["rank_b"])) for row in edges["rows"]]
    assert change == sorted(change, reverse=True)
    assert len(edges["rows"]) == 20
    # The first row's ranks, counted by hand.
    row = edges["rows"][0]
    for folder, rank in ((run, row["rank_a"]), (other, row["rank_b"])):
        scorer = ModelScorer(folder)
        vocab = scorer.model.vocab
        sources = np.array(sorted({vocab.index(name) for name in _tfs(run)}))
        pairs = np.array([(s, t) for s in sources for t in range(len(vocab)) if s != t]).T
        scores = scorer.score(pairs).astype(np.float32)
        mine = (pairs[0] == vocab.index(row["source"])) & (pairs[1] == vocab.index(row["target"]))
        assert int((scores > scores[mine]).sum()) + 1 == rank


def _tfs(run: Path) -> list[str]:
    opened = OpenRun(run)
    known, _ = known_edges(opened)
    return [opened.vocab.symbols[i] for i in known.sources_S]


def test_link_tables_are_paired_where_they_may_be(run: Path, other: Path) -> None:
    table(0.7, "k").write(run)
    table(0.8, "k").write(other)
    links = diff_runs(run, other, edges=False).to_dict()["links"]
    assert links["status"] == "paired"
    (model, control) = links["rows"]
    assert model["scorer"] == "joint"
    assert model["difference"]["value"] == pytest.approx(0.1)
    # The same draws: the noise cancels, so the interval is the difference.
    assert model["difference"]["low"] == pytest.approx(0.1, abs=1e-6)
    assert control["difference"]["value"] == 0
    table(0.8, "another", "link_only").write(other)
    links = diff_runs(run, other, edges=False).to_dict()["links"]
    assert links["status"] == "unpaired"
    assert links["rows"][0]["scorer"] == "joint | link_only"
    assert links["rows"][0]["difference"] == {"value": pytest.approx(0.1), "low": None, "high": None}


def test_a_run_without_a_model_is_compared_as_far_as_it_goes(run: Path, other: Path) -> None:
    shutil.rmtree(other / "model")
    content = diff_runs(run, other).to_dict()
    assert content["embedding"]["status"] == content["edges"]["status"] == "not run"
    assert "no model" in content["edges"]["reason"]


def test_the_diff_command(run: Path, other: Path, tmp_path: Path, capsys) -> None:
    assert run_app(app, ["diff", str(run), str(other), "--json", str(tmp_path / "diff.json")]) == 0
    out = capsys.readouterr().out
    for words in ("Recipe", "seed", "Inputs", "Gene embeddings", "Edges whose rank changed most"):
        assert words in out
    assert json.loads((tmp_path / "diff.json").read_text())["schema"] == "grn_cotrain.run_diff"


def test_refusals_of_diff(run: Path, other: Path, tmp_path: Path, capsys) -> None:
    refused("no run folder", "diff", run, tmp_path, capsys=capsys)
    refused("is the same folder", "diff", run, run, capsys=capsys)
    refused("is a folder; give a file", "diff", run, other, "--json", tmp_path, capsys=capsys)
    refused("grpah", "diff", run, other, "--kind", "grpah", capsys=capsys)
