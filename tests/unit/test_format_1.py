"""A model of format 1, in which every feature was a node, gives the scores that it gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.errors import UserError
from grn_cotrain.files import sha256_file
from grn_cotrain.manifest import MODEL_MANIFEST, Manifest
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model, save_model

#: Seven genes, three peaks and five cells, saved by the last version that wrote format 1, with what it made of them.
SAVED: dict[str, Any] = json.loads((Path(__file__).parent / "format_1.json").read_text(encoding="utf-8"))


def written(folder: Path, **changes: Any) -> Path:
    """The model folder as format 1 has it."""
    folder.mkdir()
    for name, arrays in SAVED["tensors"].items():
        tensors = {
            key: np.array(array["values"], dtype=array["dtype"]).reshape(array["shape"])
            for key, array in arrays.items()
        }
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / "vocab.json").write_text(json.dumps(SAVED["vocab"]), encoding="utf-8")
    names = sorted(path.name for path in folder.iterdir())
    config = {**SAVED["config"], "sha256": {name: sha256_file(folder / name) for name in names}, **changes}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    manifest = Manifest({"vocab_hash": config["vocab_hash"]}).with_files(folder, [*names, "config.json"])
    manifest.write(folder / MODEL_MANIFEST)
    return folder


def scores(model: CoTrainNetwork) -> tuple[np.ndarray, torch.Tensor]:
    cells = MemoryStore.build(model.vocab, np.array(SAVED["values_CG"]), kind="log")
    with torch.no_grad():
        genes = model.encode_graph()
        batch = model.tokenizer(cells).batch(np.arange(5)).pack()
        assert batch.num_tokens == SAVED["tokens"]
        return model.link_logits(genes, np.array(SAVED["pairs_2M"])), model.encode_cells(batch, genes).cells_BD


def test_scores_are_those_that_the_version_gave_that_wrote_it(tmp_path: Path) -> None:
    model, config = load_model(written(tmp_path / "model"))
    assert config["format_version"] == 1
    logits_M, cells_BD = scores(model)
    np.testing.assert_allclose(logits_M, SAVED["logits_M"], atol=1e-6)
    np.testing.assert_allclose(cells_BD.numpy(), SAVED["cells_BD"], atol=1e-6)
    # Peaks stay nodes, a peak's edge stays a message of regulation, and links are read over all features.
    assert (model.nodes.num_nodes, model.nodes.num_genes, model.vocab.num_genes) == (10, 10, 7)
    assert model.config.table.nodes == ("gene", "peak")
    assert not list(model.feature_rows.parameters())


def test_saved_again_it_is_of_format_2_and_the_same(tmp_path: Path) -> None:
    model, _ = load_model(written(tmp_path / "model"))
    save_model(tmp_path / "again", model, backend="csr", meta={})
    again, config = load_model(tmp_path / "again")
    assert config["format_version"] == 2
    for mine, theirs in zip(scores(model), scores(again), strict=True):
        assert np.array_equal(np.asarray(mine), np.asarray(theirs))


@pytest.mark.parametrize("version", [3, 0, "2", None])
def test_other_formats_are_refused_by_their_number(version: Any, tmp_path: Path) -> None:
    folder = written(tmp_path / "model", format_version=version)
    with pytest.raises(UserError, match=r"format_version .*this version reads 1 and 2; install the version that wrote"):
        load_model(folder)
