"""Each schedule and ablation trains what it must and nothing else, on a tiny world."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.data.loadings import gene_loadings
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.model_scorer import ModelScorer
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.nn.node_table import fit_to_width
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.build import build_model
from grn_cotrain.train.run import train
from grn_cotrain.train.schedule import Schedule
from grn_cotrain.train.trainer import Trainer
from tests.worlds import tiny_recipe

PARTS = ("table", "graph_encoder", "coupling", "cell_encoder", "link_decoder", "objectives")


@dataclass(frozen=True)
class Trained:
    """Weights before the first step and after the last one, and what was recorded between them."""

    recipe: Recipe
    run: RunFolder
    before: dict[str, Tensor]
    after: dict[str, Tensor]

    def changed(self) -> set[str]:
        """Parts of the model in which any weight moved."""
        return {
            part
            for part in PARTS
            if any(not torch.equal(self.after[k], v) for k, v in self.before.items() if k.startswith(f"{part}."))
        }

    def records(self, kind: str = "train") -> list[dict[str, Any]]:
        lines = (self.run.folder / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["kind"] == kind]

    def losses(self) -> dict[int, dict[str, float]]:
        """Step -> loss by objective."""
        return {
            record["step"]: {key[5:]: value for key, value in record.items() if key.startswith("loss/")}
            for record in self.records()
        }


def train_tiny(world: Path, folder: Path, **changes: Any) -> Trained:
    recipe = tiny_recipe(world, **changes)
    model = build_model(recipe, load_run_data(recipe))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    run = train(recipe, folder / "run")
    after = load_file(sorted(run.checkpoints.glob("step-*"))[-1] / "model.safetensors")
    assert after.keys() == before.keys()
    return Trained(recipe, run, before, after)


LOOP = {"link_decoder": {"name": "residual", "evidence": ["knn_family", "regulon_loop.partial"]}}


def test_a_loop_starts_the_decoder_from_its_own_evidence(tiny_world: Path, tmp_path: Path) -> None:
    found = {}
    for name, schedule in {
        "one pass": {"name": "joint"},
        "loop": {"name": "loop", "rounds": 1},
        "rewired": {"name": "loop", "rounds": 1, "reads": "rewired_edges"},
    }.items():
        recipe = tiny_recipe(tiny_world, model=LOOP, train={"schedule": schedule})
        found[name] = build_model(recipe, load_run_data(recipe)).link_decoder.full_KSG[1]
    assert not torch.allclose(found["one pass"], found["loop"], atol=1e-3)
    assert not torch.allclose(found["rewired"], found["loop"], atol=1e-3)
    done = train_tiny(tiny_world, tmp_path, model=LOOP, train={"schedule": {"name": "loop", "rounds": 1}})
    assert done.changed() == set(PARTS)
    assert train(done.recipe, done.run.folder, resume=True).is_finished


@pytest.mark.parametrize("decoder", [{"name": "bilinear"}, {"name": "residual", "evidence": ["knn_family"]}])
def test_a_loop_that_nobody_reads_is_refused(tiny_world: Path, decoder: dict[str, Any]) -> None:
    changes = {"model": {"link_decoder": decoder}, "train": {"schedule": {"name": "loop"}}}
    recipe = tiny_recipe(tiny_world, **changes)
    with pytest.raises(UserError, match=r"train.schedule 'loop'.*model.link_decoder"):
        build_model(recipe, load_run_data(recipe))


@pytest.mark.parametrize(
    ("schedule", "kept"),
    [
        ("joint", set()),
        ("alternating", set()),
        ("pretrain_then_link", set()),
        ("frozen_graph", {"graph_encoder"}),
        ("frozen_cells", {"cell_encoder"}),
        ("link_only", {"cell_encoder", "coupling", "objectives"}),
        ("mlm_only", {"link_decoder"}),
    ],
)
def test_what_each_schedule_trains(tiny_world: Path, tmp_path: Path, schedule: str, kept: set[str]) -> None:
    done = train_tiny(tiny_world, tmp_path, train={"schedule": {"name": schedule}})
    assert done.changed() == set(PARTS) - kept
    cells, links = {"masked_value", "profile_from_cell"}, {"link_prediction"}
    expected = {
        "alternating": [cells, links] * 4,
        "pretrain_then_link": [cells] * 4 + [links] * 4,
        "link_only": [links] * 8,
        "mlm_only": [cells] * 8,
    }.get(schedule, [cells | links] * 8)
    assert [set(losses) for losses in done.losses().values()] == expected
    assert len(done.records("validation")) == 2


def test_pretrain_then_link_selects_in_its_second_phase(tiny_world: Path, tmp_path: Path) -> None:
    changes = {"schedule": {"name": "pretrain_then_link", "pretrain_share": 0.25}, "validate_every": 1, "patience": 1}
    done = train_tiny(tiny_world, tmp_path, train=changes)
    record = done.run.record()
    assert record["best_step"] > 2, "the first phase cannot win"
    assert record["criterion"] == "validation/links/selection"
    stopped = len(done.records("validation"))
    assert stopped > 2, "nor can it stop the run"


def test_a_shared_coupling_leaves_the_graph_to_the_links(tiny_world: Path, tmp_path: Path) -> None:
    done = train_tiny(tiny_world, tmp_path, model={"coupling": "shared"}, train={"schedule": {"name": "mlm_only"}})
    assert done.changed() == {"table", "cell_encoder", "objectives"}


def test_link_only_has_no_r2(tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = train_tiny(tiny_world, tmp_path, train={"schedule": {"name": "link_only"}, "max_steps": 2})
    assert run_app(app, ["evaluate", "links", str(done.run.folder), "--controls", "none", "--bootstrap", "0"]) == 0
    assert "R2: -;" in capsys.readouterr().out
    assert done.run.record()["cells"]["r2"] is None
    cells = pd.read_parquet(done.run.folder / "cells.parquet")
    assert set(cells["scorer"]) == {"gene_mean", "gene_and_cell", "factor_analysis"}


def test_mlm_only_is_scored_by_a_probe_over_frozen_embeddings(tiny_world: Path, tmp_path: Path) -> None:
    done = train_tiny(
        tiny_world,
        tmp_path,
        train={"schedule": {"name": "mlm_only"}, "validate_every": 8},
        evaluate={"probe_steps": 60},
    )
    model = load_file(done.run.model / "model.safetensors")
    moved = {key for key, value in model.items() if not torch.equal(value, done.after[key])}
    assert moved, "the probe was fitted"
    assert all(key.startswith("link_decoder.") for key in moved)
    table = evaluate_run(done.run.folder, controls="none", bootstrap=0)
    mine = table.frame[table.frame["kind"] != "control"]
    assert set(mine["scorer"]) == {"mlm_only probe"}
    assert set(mine["kind"]) == {"ablation"}
    assert done.run.record()["cells"]["r2"] is not None
    assert ModelScorer(done.run.folder).probability is not None


def test_a_run_killed_after_its_probe_fits_the_same_probe_again(tiny_world: Path, tmp_path: Path) -> None:
    changes = {"train": {"schedule": {"name": "mlm_only"}, "validate_every": 8}, "evaluate": {"probe_steps": 60}}
    done = train_tiny(tiny_world, tmp_path, **changes)
    fitted = load_file(done.run.model / "model.safetensors")
    assert any(not torch.equal(fitted[k], v) for k, v in done.after.items() if k.startswith("link_decoder."))
    weights = (done.run.model / "model.safetensors").read_bytes()
    record = done.run.record()
    done.run.write_record(record | {"status": "running"})
    again = train(done.recipe, done.run.folder, resume=True)
    assert (again.model / "model.safetensors").read_bytes() == weights
    assert again.record()["probe"] == record["probe"]


@pytest.mark.parametrize("mode", ["frozen_pca", "random"])
def test_a_fixed_table_stays(tiny_world: Path, tmp_path: Path, mode: str) -> None:
    done = train_tiny(tiny_world, tmp_path, model={"table": {"mode": mode}}, train={"max_steps": 4})
    assert done.changed() == set(PARTS) - {"table"}
    rows_GD = done.after["table.rows_GD"]
    assert {key for key in done.after if key.startswith("table.")} == {"table.rows_GD"}
    data = load_run_data(done.recipe)
    loadings_GR = gene_loadings(Statistics(data.cells, data.cell_split.train_C), rank=16)
    expected_GD = fit_to_width(torch.from_numpy(loadings_GR), 16)
    # Loadings have full rank here; where they end, the table holds noise.
    assert torch.allclose(rows_GD, expected_GD) == (mode == "frozen_pca")


# ---- control graphs and permuted expression --------------------------------------------------------------------------


@pytest.mark.parametrize("messages", ["rewired", "random", "none"])
def test_control_graphs_replace_messages_and_nothing_else(tiny_world: Path, tmp_path: Path, messages: str) -> None:
    true = load_run_data(tiny_recipe(tiny_world))
    recipe = tiny_recipe(tiny_world, graph={"messages": messages}, train={"max_steps": 2})
    data = load_run_data(recipe)
    assert data.split.content_hash == true.split.content_hash
    trainer = Trainer(recipe, data, build_model(recipe, data), RunFolder(tmp_path))
    sampler = trainer.source.link_sampler()
    known = {tuple(pair) for pair in true.split.train_2E.T.tolist()}
    for seed in range(5):
        links = sampler.draw(np.random.default_rng(seed))
        assert {tuple(pair) for pair in links.positives_2P.T.tolist()} <= known
    pairs = true.split.pairs("validation")
    assert trainer.validator.pairs is not None
    np.testing.assert_array_equal(trainer.validator.pairs.pairs_2M, pairs.pairs_2M)
    np.testing.assert_array_equal(trainer.validator.pairs.labels_M, pairs.labels_M)
    passed = {tuple(pair) for pair in data.messages.pairs_2E.T.tolist()}
    assert len(passed) == (0 if messages == "none" else len(known))
    assert passed != known
    held_out = {tuple(pair) for part in ("validation", "test") for pair in true.split.positives(part).T.tolist()}
    assert not passed & held_out, "unseen targets receive no message at all, so no held-out pair can pass"
    run = train(recipe, tmp_path / "run")
    assert (
        ModelScorer(run.folder).name
        == f"joint+{ {'random': 'random_graph', 'none': 'no_graph'}.get(messages, messages) }"
    )


@pytest.mark.parametrize("expression", ["permuted_genes", "permuted_cells"])
def test_permuted_expression(tiny_world: Path, tmp_path: Path, expression: str) -> None:
    prep = Prep.open(tiny_world)
    permuted = load_run_data(tiny_recipe(tiny_world, data={"expression": expression})).cells
    columns = [tuple(np.sort(column)) for column in prep.cells.normalised().toarray().T]
    moved = [tuple(np.sort(column)) for column in permuted.normalised().toarray().T]
    assert permuted.content_hash != prep.cells.content_hash
    is_tf_G = np.isin(np.arange(80), prep.tf_index)
    if expression == "permuted_cells":
        assert moved == columns, "each gene keeps its values"
    else:
        assert moved != columns
        for side_G in (is_tf_G, ~is_tf_G):
            chosen = np.flatnonzero(side_G)
            assert sorted(moved[g] for g in chosen) == sorted(columns[g] for g in chosen), "TFs among TFs"
    done = train_tiny(tiny_world, tmp_path, data={"expression": expression}, train={"max_steps": 1})
    true = train_tiny(tiny_world, tmp_path / "true", train={"max_steps": 1})
    assert done.losses()[1]["masked_value"] != true.losses()[1]["masked_value"]
    assert ModelScorer(done.run.folder).name == f"joint+{expression}"


# ---- loss weights, back ends, stopping -------------------------------------------------------------------------------


def test_uncertainty_weights_are_learned_and_saved(tiny_world: Path, tmp_path: Path) -> None:
    done = train_tiny(tiny_world, tmp_path, train={"weighting": {"name": "uncertainty"}})
    for name in ("masked_value", "link_prediction"):
        weights = [record[f"weight/{name}"] for record in done.records()]
        assert len(set(weights)) == 8
        assert all(0.3 < weight < 0.7 for weight in weights), "they start at one half"
    last = sorted(done.run.checkpoints.glob("step-*"))[-1]
    saved = torch.load(last / "optimizer.pt", weights_only=True)["weighting"]
    assert 0.5 * np.exp(-float(saved["log_variance.masked_value"])) == pytest.approx(
        done.records()[-1]["weight/masked_value"]
    )


def test_scheduled_weights(tiny_world: Path, tmp_path: Path) -> None:
    weighting = {
        "name": "scheduled",
        "start": {"link_prediction": 0.0},
        "weights": {"link_prediction": 2.0},
        "steps": 4,
    }
    done = train_tiny(tiny_world, tmp_path, train={"weighting": weighting, "max_steps": 6})
    assert [record["weight/link_prediction"] for record in done.records()] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert {record["weight/masked_value"] for record in done.records()} == {1.0}


def test_back_ends_give_the_same_losses(tiny_world: Path, tmp_path: Path) -> None:
    runs = [
        train_tiny(tiny_world, tmp_path / backend, graph={"backend": backend}, train={"max_steps": 6})
        for backend in ("torch_geometric", "csr")
    ]
    first, second = (
        np.array([[losses["masked_value"], losses["link_prediction"]] for losses in run.losses().values()])
        for run in runs
    )
    np.testing.assert_allclose(second, first, rtol=1e-5)
    for key, value in runs[0].after.items():
        torch.testing.assert_close(runs[1].after[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_accumulation_reads_twice_the_cells(tiny_world: Path, tmp_path: Path) -> None:
    states = [
        train_tiny(tiny_world, tmp_path / str(number), train={"accumulate": number, "max_steps": 2}).run.checkpoints
        for number in (1, 2)
    ]
    positions = [
        json.loads((sorted(folder.glob("step-*"))[-1] / "state.json").read_text())["state"]["stream"]
        for folder in states
    ]
    assert positions[0]["epoch"] == positions[1]["epoch"] == 0
    assert positions[1]["position"] == pytest.approx(2 * positions[0]["position"], rel=0.2)


def test_early_stopping_looks_at_validation_only(tiny_world: Path, tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "validate_every": 1, "patience": 2, "max_steps": 20}
    done = train_tiny(tiny_world, tmp_path, train=still)
    record = done.run.record()
    assert (record["steps"], record["best_step"]) == (3, 1)
    assert record["status"] == "finished"
    assert train(done.recipe, done.run.folder, resume=True).record() == record


@pytest.mark.parametrize(
    ("schedule", "select_on", "expected"),
    [
        ("joint", "auto", "links"),
        ("joint", "cells", "cells"),
        ("mlm_only", "auto", "cells"),
        ("mlm_only", "links", "cells"),
        ("link_only", "auto", "links"),
        ("link_only", "cells", "links"),
    ],
)
def test_a_side_that_is_not_trained_cannot_select(
    tiny_world: Path, tmp_path: Path, schedule: str, select_on: str, expected: str
) -> None:
    recipe = tiny_recipe(tiny_world, train={"schedule": {"name": schedule}, "select_on": select_on})
    data = load_run_data(recipe)
    trainer = Trainer(recipe, data, build_model(recipe, data), RunFolder(tmp_path))
    assert trainer.validator.criterion == f"validation/{expected}/selection"
    assert trainer.validator.criterion in trainer.validator(trainer.model)
    assert isinstance(trainer.schedule, Schedule)
