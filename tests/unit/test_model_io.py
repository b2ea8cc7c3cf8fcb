"""A saved model is the model: every part, through files that are checked and never unpickled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file

from grn_cotrain.data.run_data import RunData, load_run_data
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.files import sha256_file
from grn_cotrain.manifest import MODEL_MANIFEST, Manifest
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model, load_network, save_model, save_network
from grn_cotrain.nn.couplings import COUPLINGS
from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from grn_cotrain.recipe import Recipe
from grn_cotrain.train.build import build_model
from tests.worlds import tiny_recipe

PARTS: list[dict[str, Any]] = [
    *({"coupling": name} for name in COUPLINGS.names()),
    *({"graph_encoder": name} for name in GRAPH_ENCODERS.names()),
    *({"link_decoder": name} for name in LINK_DECODERS.names()),
    *({"table": {"mode": mode}} for mode in ("frozen_pca", "random")),
    {"table": {"init": "random", "inductive": []}},
    {"cell_encoder": {"name": "transformer", "values": "bins", "num_layers": 1, "num_heads": 2}},
]


def moved(model: CoTrainNetwork) -> CoTrainNetwork:
    """The model with every weight away from its start, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def data(tiny_world: Path) -> RunData:
    return load_run_data(tiny_recipe(tiny_world))


def built(world: Path, data: RunData, **parts: Any) -> tuple[Recipe, CoTrainNetwork]:
    recipe = tiny_recipe(world, model=parts)
    return recipe, moved(build_model(recipe, data))


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: json.dumps(parts).strip("{}"))
def test_a_loaded_model_gives_the_same_numbers(
    parts: dict[str, Any], tiny_world: Path, data: RunData, tmp_path: Path
) -> None:
    recipe, model = built(tiny_world, data, **parts)
    save_model(tmp_path / "model", model, backend="csr", meta={"step": 3})
    loaded, config = load_model(tmp_path / "model")
    assert config["meta"] == {"step": 3}
    assert not loaded.training
    pairs_2M = data.split.pairs("validation").pairs_2M
    batch = Tokenizer(data.cells, recipe.model.tokens).batch(np.arange(8)).pack()
    with torch.no_grad():
        mine, theirs = model.encode_graph(), loaded.encode_graph(model.graph)
        assert torch.equal(loaded.graph.edge_index_2E, model.graph.edge_index_2E)
        torch.testing.assert_close(theirs.graph_GD, mine.graph_GD, rtol=1e-5, atol=1e-5)  # another back end
        assert torch.equal(theirs.table_GD, mine.table_GD)
        assert np.array_equal(loaded.link_logits(mine, pairs_2M), model.link_logits(mine, pairs_2M))
        assert torch.equal(loaded.encode_cells(batch, mine).cells_BD, model.encode_cells(batch, mine).cells_BD)
    assert load_model(tmp_path / "model", backend="torch_geometric")[0].graph_encoder is not loaded.graph_encoder


@pytest.mark.parametrize("name", ["gcn", "sage", "gatv2", "rgcn"])
def test_weights_are_saved_and_a_folder_without_them_has_weights_of_one(
    name: str, tiny_world: Path, data: RunData, tmp_path: Path
) -> None:
    plain = replace(data, messages=replace(data.messages, weight_E=None))
    pairs_2M = data.split.pairs("validation").pairs_2M
    scores = {}
    for key, given in (("weights", data), ("plain", plain)):
        _, model = built(tiny_world, given, graph_encoder=name)
        save_model(tmp_path / key, model, backend="csr", meta={})
        loaded, _ = load_model(tmp_path / key, backend="torch_geometric")
        scores[key] = model.link_logits(model.encode_graph(), pairs_2M)
        assert np.array_equal(loaded.link_logits(loaded.encode_graph(), pairs_2M), scores[key])
    assert data.messages.weight_E is not None
    assert np.array_equal(load_numpy(tmp_path / "weights/graph.safetensors")["weight_E"], data.messages.weight_E)
    assert set(load_numpy(tmp_path / "plain/graph.safetensors")) == {"message_2E", "sign_E"}  # as it always was
    assert not np.allclose(scores["weights"], scores["plain"])


def test_link_logits_do_not_depend_on_blocks_or_order(tiny_world: Path, data: RunData) -> None:
    _, model = built(tiny_world, data)
    genes = model.encode_graph()
    pairs_2M = np.random.default_rng(0).integers(0, 80, (2, 300))
    whole_M = model.link_logits(genes, pairs_2M)
    assert whole_M.dtype == np.float64
    np.testing.assert_allclose(model.link_logits(genes, pairs_2M, block=3), whole_M, rtol=1e-5, atol=1e-6)
    order_M = np.random.default_rng(1).permutation(300)
    np.testing.assert_allclose(model.link_logits(genes, pairs_2M[:, order_M]), whole_M[order_M], rtol=1e-5, atol=1e-6)
    one_by_one = model.link_decoder(genes.graph_GD, torch.from_numpy(pairs_2M)).detach().numpy()
    np.testing.assert_allclose(whole_M, one_by_one, rtol=1e-4, atol=1e-5)
    assert model.link_logits(genes, pairs_2M[:, :0]).shape == (0,)


def test_nothing_is_pickled(tiny_world: Path, data: RunData, tmp_path: Path) -> None:
    _, model = built(tiny_world, data, link_decoder="residual")
    save_model(tmp_path / "model", model, backend="csr", meta={})
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert files == {
        "config.json",
        "model_manifest.json",
        "vocab.json",
        "model.safetensors",
        "graph.safetensors",
        "evidence.safetensors",
    }


def test_saving_twice_replaces_the_folder(tiny_world: Path, data: RunData, tmp_path: Path) -> None:
    _, model = built(tiny_world, data)
    save_model(tmp_path / "model", model, backend="csr", meta={"step": 1})
    (tmp_path / "model" / "platt.json").write_text("{}")
    save_model(tmp_path / "model", model, backend="csr", meta={"step": 2})
    assert load_model(tmp_path / "model")[1]["meta"]["step"] == 2
    assert not (tmp_path / "model" / "platt.json").exists(), "calibration of another model must not survive"
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing temporary is left"


def test_weights_of_another_width_are_refused(tiny_world: Path, data: RunData, tmp_path: Path) -> None:
    _, model = built(tiny_world, data)
    folder = tmp_path / "model"
    save_model(folder, model, backend="csr", meta={})
    state = load_file(folder / "model.safetensors")
    state["table.id_GD"] = state["table.id_GD"][:, :8].contiguous()
    save_file(state, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors': damaged \(checksum"):
        load_model(folder)
    config = json.loads((folder / "config.json").read_text())
    config["sha256"]["model.safetensors"] = sha256_file(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json': damaged \(checksum differs from the recorded one"):
        load_model(folder)  # one repaired checksum is not enough: the manifest lists config.json too
    manifest = Manifest.read(folder / MODEL_MANIFEST)
    manifest.with_files(folder, list(manifest.files)).write(folder / MODEL_MANIFEST)
    with pytest.raises(UserError, match=r"weights do not fit config\.json") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", [-1, 10**6])
def test_edges_between_what_are_no_genes_are_refused(end: int, tiny_world: Path, data: RunData, tmp_path: Path) -> None:
    _, model = built(tiny_world, data)
    folder = tmp_path / "model"
    save_model(folder, model, backend="csr", meta={})
    graph = load_file(folder / "graph.safetensors")
    graph["message_2E"][0, 0] = end
    save_file(graph, folder / "graph.safetensors")
    # Every checksum is repaired, so that only the content can tell.
    config = json.loads((folder / "config.json").read_text())
    config["sha256"]["graph.safetensors"] = sha256_file(folder / "graph.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    manifest = Manifest.read(folder / MODEL_MANIFEST)
    manifest.with_files(folder, list(manifest.files)).write(folder / MODEL_MANIFEST)
    with pytest.raises(UserError, match=r"graph\.safetensors': .*1 ends of edges are out of range"):
        load_model(folder)


def test_building_leaves_the_callers_random_state(tiny_world: Path, data: RunData) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    recipe = tiny_recipe(tiny_world)
    first = build_model(recipe, data)
    assert torch.equal(torch.rand(1), expected)
    again = build_model(recipe, data)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


# -- CoTrainNetwork.load and .save -----------------------------------------------------------------------------------


def test_a_model_loads_from_run_and_model_folder_and_saves_itself(tiny_run: Path, tmp_path: Path) -> None:
    model = load_network(tiny_run)
    config = json.loads((tiny_run / "model" / "config.json").read_text())
    assert not model.training
    assert model.backend == config["backend"]
    assert model.meta == config["meta"]
    save_network(tmp_path / "deep" / "copy", model)
    again = load_network(tmp_path / "deep" / "copy")
    saved = json.loads((tmp_path / "deep" / "copy" / "config.json").read_text())
    assert {key: saved[key] for key in ("backend", "meta", "vocab_hash", "model", "objectives")} == {
        key: config[key] for key in ("backend", "meta", "vocab_hash", "model", "objectives")
    }
    first, second = model.encode_graph(), again.encode_graph()
    assert torch.equal(first.graph_GD, second.graph_GD)
    pairs_2M = np.array([[0, 1, 2], [50, 51, 52]])
    assert np.array_equal(model.link_logits(first, pairs_2M), again.link_logits(second, pairs_2M))
    assert not (tmp_path / "deep" / "copy" / "platt.json").exists()


def test_another_backend_is_kept_too(tiny_run: Path, tmp_path: Path) -> None:
    model = load_network(tiny_run / "model", backend="csr")
    model.meta["note"] = "mine"
    save_network(tmp_path / "copy", model)
    again = load_network(tmp_path / "copy")
    assert (again.backend, again.meta["note"]) == ("csr", "mine")


def test_save_overwrites_nothing_unasked(tiny_run: Path, tmp_path: Path) -> None:
    model = load_network(tiny_run)
    save_network(tmp_path / "copy", model)
    with pytest.raises(UserError, match=r"holds a model already.*overwrite=True"):
        save_network(tmp_path / "copy", model)
    save_network(tmp_path / "copy", model, overwrite=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="other content"):
            save_network(tmp_path / "work", model, overwrite=overwrite)
        with pytest.raises(UserError, match="is a file"):
            save_network(tmp_path / "work" / "thesis.txt", model, overwrite=overwrite)
        with pytest.raises(UserError, match="other content"):
            save_network(tiny_run, model, overwrite=overwrite)
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years"


def test_load_says_what_is_missing(tiny_run: Path, tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "no", "no such folder"),
        (tmp_path, "holds no model"),
        (tiny_run / "recipe.yaml", "is a file"),
    ):
        with pytest.raises(UserError, match=message):
            load_network(path)
