"""Every encoder under the whole product: train with and without the graph, evaluate, export, card.

An encoder registered later takes part without a line here; what its objective and tokens are stands in ``SETTINGS``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grn_cotrain.card import build_card
from grn_cotrain.evaluate.run import evaluate_cells, evaluate_run
from grn_cotrain.export import export_genes, gene_embeddings
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.progress import LogReporter
from grn_cotrain.train.run import train
from tests.integration.encoder_settings import SETTINGS
from tests.worlds import tiny_recipe


def quiet(text: str) -> None:
    del text


def _recipe(world: Path, name: str, **changes: Any) -> Recipe:
    settings = SETTINGS.get(name, {})
    model = {**settings.get("model", {}), "cell_encoder": {"name": name, **settings.get("encoder", {})}}
    train_options = {"max_steps": 3, "validate_every": 3, "checkpoint_every": 3, "gradient_cosine_every": 3}
    more = {"objectives": settings["objectives"]} if "objectives" in settings else {}
    return tiny_recipe(world, model=model, train=train_options, **more, **changes)


@pytest.fixture(scope="module")
def runs(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One finished run an encoder, made when it is first asked for."""

    class Runs(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            folder = tmp_path_factory.mktemp(name) / "run"
            self[name] = train(_recipe(tiny_world, name), folder).folder
            return self[name]

    return Runs()


@pytest.mark.parametrize("name", CELL_ENCODERS.names())
def test_links_and_masked_values_are_evaluated(name: str, runs: dict[str, Path]) -> None:
    frame = evaluate_run(runs[name], controls="target_degree", bootstrap=0).frame
    assert set(frame["scorer"]) == {"joint", "target_degree"}
    cells = evaluate_cells(RunFolder.open(runs[name]))
    assert {"joint", "gene_mean", "factor_analysis"} <= set(cells["scorer"])
    assert np.isfinite(cells["value"]).all()


@pytest.mark.parametrize("name", CELL_ENCODERS.names())
def test_gene_embeddings_are_exported_and_pass_the_same_card(name: str, runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs[name]
    for kind in ("static", "graph", "contextual"):
        found = gene_embeddings(run, kind=kind)
        assert np.isfinite(found.matrix()).all()
        assert found.frame["symbol"].is_unique
        out = tmp_path / f"{kind}.parquet"
        export_genes(run, None, out, kind=kind, format="parquet", say=quiet)
        assert out.is_file()
    cards = {kind: build_card(run, kind=kind).to_dict() for kind in ("static", "contextual")}
    assert set(cards["static"]) == set(cards["contextual"])
    asked = [[(probe["name"], probe["status"]) for probe in card["probes"]] for card in cards.values()]
    assert asked[0] == asked[1], "the same probes, run or not run for the same reason"
    for card in cards.values():
        run_probes = [probe for probe in card["probes"] if probe["status"] == "run"]
        assert run_probes
        assert [line["question"] for line in card["summary"]] == [
            line["question"] for line in cards["static"]["summary"]
        ]
        assert card["encoding"]["words"]


@pytest.mark.parametrize("name", CELL_ENCODERS.names())
def test_it_trains_without_the_graph_and_over_a_rewired_one(name: str, tiny_world: Path, tmp_path: Path) -> None:
    for messages in ("none", "rewired"):
        run = train(_recipe(tiny_world, name, graph={"messages": messages}), tmp_path / messages)
        assert run.record()["status"] == "finished"
        assert run.record()["steps"] == 3


def test_what_an_objective_says_of_itself_is_told_at_every_validation(tiny_world: Path, tmp_path: Path) -> None:
    """Modality accuracy means something only beside what the feature's id alone would score: both are printed."""
    told: list[str] = []

    class Listener(LogReporter):
        def note(self, text: str) -> None:
            told.append(text)

    train(_recipe(tiny_world, "scmbert"), tmp_path / "run", reporter=Listener())
    (line,) = [text for text in told if "modality_accuracy" in text]
    assert "modality_from_feature 1.000" in line
    assert "modality_majority 1.000" in line, "one modality: the trivial answer is right"


def test_settings_name_encoders_that_exist() -> None:
    assert set(SETTINGS) <= set(CELL_ENCODERS.names())
