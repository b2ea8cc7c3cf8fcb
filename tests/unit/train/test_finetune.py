"""Fine-tuning: what is frozen stays to the bit, the best epoch comes back, labels that are there are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from grn_cotrain.config import ComponentSpec
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.finetune.classifier import Classifier
from grn_cotrain.finetune.fit import EpochReport, class_weights, fit
from grn_cotrain.finetune.run import labels_of, split_labels
from grn_cotrain.jobs.finetune import FinetuneConfig
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from grn_cotrain.nn.sparse import MessageGraph
from grn_cotrain.recipe import ModelConfig, TableConfig, TokenConfig
from grn_cotrain.train.early_stopping import EarlyStopping
from grn_cotrain.train.freezing import FREEZE_LEVELS, first_block, freeze

NUM_GENES, WIDTH = 24, 16
NO_EVIDENCE = "bilinear"


def typed_cells(num_cells: int = 60, seed: int = 0) -> tuple[MemoryStore, np.ndarray]:
    """Three types; each has eight genes of its own, and hardly shows the others."""
    generator = np.random.default_rng(seed)
    types_C = np.arange(num_cells) % 3
    rate_CG = np.where(np.arange(NUM_GENES)[None] // 8 == types_C[:, None], 10.0, 0.3)
    vocab = FeatureVocab.from_symbols([f"GENE{i}" for i in range(NUM_GENES)], species="human")
    return MemoryStore.build(vocab, generator.poisson(rate_CG), kind="counts"), types_C


def small_model(
    encoder: str = "transformer", *, num_cells: int = 60, **options: object
) -> tuple[CoTrainNetwork, MemoryStore, np.ndarray]:
    """A model with every part, over typed cells; its statistics are prepared, its weights as drawn."""
    cells, types_C = typed_cells(num_cells)
    config = ModelConfig(
        width=WIDTH,
        table=TableConfig(init="random", inductive=()),
        graph_encoder=ComponentSpec("sage"),
        cell_encoder=ComponentSpec(encoder, dict(options)),
        link_decoder=ComponentSpec(NO_EVIDENCE),
        tokens=TokenConfig(num_bins=5, max_tokens=64),
    )
    generator = np.random.default_rng(1)
    inputs = ModelInputs(
        vocab=cells.vocab,
        init_GD=None,
        features={},
        evidence=None,
        message_2E=generator.integers(0, NUM_GENES, (2, 30)),
        sign_E=np.zeros(30, np.int64),
    )
    model = CoTrainNetwork(config, {"masked_value": {}}, inputs, backend="csr", seed=0)
    model.cell_encoder.prepare(Statistics(cells))
    return model.eval(), cells, types_C


def classifier_of(model: CoTrainNetwork, head: str = "cls_mlp") -> Classifier:
    return Classifier.new(model, ComponentSpec(head), ("a", "b", "c"), "type", seed=0)


def rows(num_cells: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training, validation and test rows: types are balanced in each."""
    every = np.arange(num_cells)
    return every[:30], every[30:42], every[42:]


@pytest.mark.parametrize("encoder", CELL_ENCODERS.names())
@pytest.mark.parametrize("level", FREEZE_LEVELS)
def test_what_is_frozen_stays_to_the_bit_and_the_rest_moves(encoder: str, level: str) -> None:
    options = {} if encoder == "geneformer" else {"num_layers": 2}
    if encoder == "geneformer":
        options = {"num_layers": 3}
    model, cells, codes_C = small_model(encoder, **options)
    classifier = classifier_of(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_C, validation_C, _ = rows()
    config = FinetuneConfig(freeze=level, epochs=2, learning_rate=1e-2, cells_per_batch=10)  # type: ignore[arg-type]
    # Losses are scripted downward, so that the trained weights are kept.
    result = fit(
        classifier, model.tokenizer(cells), codes_C, train_C, validation_C, config, validate=lambda e: (1.0 / e, 0.0)
    )
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not changed & set(result.frozen)
    parameters = {name for name, _ in model.named_parameters()}
    blocks = [name for name in parameters if ".blocks." in name]
    if level == "none":
        assert result.frozen == []
        assert {"table.id_GD", "special_SD"} <= changed
    if level in ("embeddings", "first_block"):
        assert "table.id_GD" in result.frozen
        assert "special_SD" in result.frozen
        assert any(name.startswith("graph_encoder.") for name in result.frozen)
        own = {name for name in result.frozen if name.startswith("cell_encoder.")}
        assert own, "values or modalities are embedded by every encoder"
        assert changed & set(blocks), "the blocks after the first are trained"
        first = {name for name in blocks if name.startswith("cell_encoder.trunk.blocks.0.")}
        assert first
        assert first <= set(result.frozen) if level == "first_block" else not first & set(result.frozen)
    if level == "encoder":
        assert set(result.frozen) == parameters
        assert changed == set()
    assert all(parameter.requires_grad for parameter in model.parameters()), "trainable again afterwards"


def test_embeddings_of_the_transformer_by_name() -> None:
    model, cells, _ = small_model(num_layers=2)
    frozen = freeze(model, "embeddings", model.tokenizer(cells).batch(np.arange(2)).pack())
    own = {name.removeprefix("cell_encoder.").split(".")[0] for name in frozen if name.startswith("cell_encoder.")}
    assert own == {"embedding"}
    assert {f"cell_encoder.{name}" for name, _ in model.cell_encoder.named_parameters() if "embedding" in name} <= set(
        frozen
    )


@pytest.mark.parametrize("encoder", ["xtrimogene", "scfoundation"])
@pytest.mark.parametrize("level", ["embeddings", "first_block"])
def test_latents_that_read_tokens_once_are_given_both(encoder: str, level: str) -> None:
    """Form C has no block before its latents: what makes the tokens is embedding, what lets latents read is a block."""
    model, cells, _ = small_model(encoder, decoder="C", num_layers=0, num_latents=4, latent_layers=1)
    frozen = freeze(model, level, model.tokenizer(cells).batch(np.arange(2)).pack())  # type: ignore[arg-type]
    parts = {name.removeprefix("cell_encoder.") for name in frozen if name.startswith("cell_encoder.")}
    named = {name for name, _ in model.cell_encoder.named_parameters()}
    made = {name for name in named if name.split(".")[0] in ("values", "depth_rows_2D", "unknown_depth_D")}
    assert made <= parts
    assert {"trunk.final_norm.weight", "decoder.latents.rows_ND"} <= parts
    reading = {name for name in named if name.startswith("decoder.read.")}
    assert reading
    assert reading <= parts if level == "first_block" else not reading & parts
    assert not {name for name in parts if name.startswith(("decoder.latent_blocks.", "decoder.stack."))}


@pytest.mark.parametrize("level", ["embeddings", "first_block"])
def test_the_graph_goes_where_the_model_is(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is no module and stays behind when the model moves; ``meta`` stands for a GPU."""

    class Seen(Exception):
        pass

    def encode(table_GD: torch.Tensor, graph: MessageGraph) -> torch.Tensor:
        raise Seen(f"{table_GD.device.type} and {graph.device.type}")

    model, cells, _ = small_model()
    batch = model.tokenizer(cells).batch(np.arange(2)).pack().to("meta")
    model.to("meta")
    assert model.graph.device.type == "cpu"
    monkeypatch.setattr(model.graph_encoder, "forward", encode)
    with pytest.raises(Seen, match="meta and meta"):
        freeze(model, level, batch)  # type: ignore[arg-type]


def test_an_unknown_device_is_refused_in_one_line() -> None:
    model, cells, codes_C = small_model()
    with pytest.raises(UserError, match=r"^device='gpuu': "):
        fit(classifier_of(model), model.tokenizer(cells), codes_C, *rows()[:2], FinetuneConfig(device="gpuu"))


def test_an_encoder_without_blocks_is_refused_in_one_line() -> None:
    model, cells, _ = small_model()
    batch = model.tokenizer(cells).batch(np.arange(2)).pack()
    assert first_block(nn.Linear(2, 2), lambda: None) is None
    model.cell_encoder.trunk.blocks = nn.ModuleList()  # type: ignore[union-attr]
    with pytest.raises(UserError, match="has no blocks; choose none or encoder"):
        freeze(model, "first_block", batch)
    assert set(freeze(model, "encoder", batch)) == {name for name, _ in model.named_parameters()}
    with pytest.raises(UserError, match="choose from none, embeddings"):
        freeze(model, "some", batch)  # type: ignore[arg-type]


def test_frozen_parts_draw_no_dropout() -> None:
    """With everything frozen and a linear head the training loss of two epochs' first step is the evaluation loss."""
    model, cells, codes_C = small_model(dropout=0.5)
    model_b, _, _ = small_model(dropout=0.0)
    losses = []
    for one in (model, model_b):
        classifier = Classifier.new(one, ComponentSpec("cls_mlp", {"num_layers": 1}), ("a", "b", "c"), "t", seed=0)
        config = FinetuneConfig(freeze="encoder", epochs=1)
        losses.append(fit(classifier, one.tokenizer(cells), codes_C, *rows()[:2], config).history[0].train_loss)
    assert losses[0] == losses[1]


def test_early_stopping_counts_and_restores_to_the_bit() -> None:
    layer = nn.Linear(2, 2)
    stopping = EarlyStopping(layer, patience=3)
    losses = [3.0, 2.0, 2.5, 2.0, 2.2]
    seen = []
    for epoch, loss in enumerate(losses, 1):
        with torch.no_grad():
            layer.weight.fill_(epoch / 7)
        seen.append(stopping.update(epoch, loss))
    assert seen == [False, False, False, False, True]
    assert (stopping.best_epoch, stopping.best_loss) == (2, 2.0)
    stopping.restore()
    assert torch.equal(layer.weight, torch.full((2, 2), 2 / 7))
    with pytest.raises(UserError, match="lower learning_rate"):
        stopping.update(6, float("nan"))


def test_best_epoch_is_restored_exactly() -> None:
    """Losses are scripted: the third epoch is the best, and training stops ``patience`` epochs later."""
    script = [5.0, 4.0, 1.0, 3.0, 2.0, 1.5, 0.1]
    states: list[dict[str, torch.Tensor]] = []
    model, cells, codes_C = small_model(num_layers=2)
    classifier = classifier_of(model)

    def validate(epoch: int) -> tuple[float, float]:
        parts = {**model.state_dict(), **{f"head.{k}": v for k, v in classifier.head.state_dict().items()}}
        states.append({name: tensor.clone() for name, tensor in parts.items()})
        return script[epoch - 1], 0.0

    config = FinetuneConfig(freeze="none", epochs=7, patience=3, cells_per_batch=8)
    result = fit(classifier, model.tokenizer(cells), codes_C, *rows()[:2], config, validate=validate)
    assert [report.validation_loss for report in result.history] == script[:6]
    assert (result.best_epoch, result.best_loss) == (3, 1.0)
    now = {**model.state_dict(), **{f"head.{k}": v for k, v in classifier.head.state_dict().items()}}
    assert all(torch.equal(now[name], states[2][name]) for name in now)
    assert not torch.equal(states[2]["table.id_GD"], states[5]["table.id_GD"]), "or restoring would prove nothing"


def test_validation_loss_is_the_weighted_cross_entropy() -> None:
    model, cells, codes_C = small_model()
    codes_C = np.where(codes_C == 2, 0, codes_C)  # unbalanced
    classifier = classifier_of(model)
    train_C, validation_C, _ = rows()
    config = FinetuneConfig(freeze="encoder", epochs=1, class_weights="balanced")
    result = fit(classifier, model.tokenizer(cells), codes_C, train_C, validation_C, config)
    logs_CK = classifier.log_probabilities(model.tokenizer(cells), validation_C).astype(np.float64)
    count_K = [int((codes_C[train_C] == code).sum()) for code in range(3)]
    total = weight = 0.0
    for row, truth in zip(logs_CK, codes_C[validation_C], strict=True):
        share = len(train_C) / (3 * max(1, count_K[truth]))
        total, weight = total - share * row[truth], weight + share
    assert result.history[0].validation_loss == pytest.approx(total / weight, rel=1e-6)
    torch.testing.assert_close(class_weights(codes_C[train_C], 3, balanced=False), torch.ones(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "head", "level"),
    [("xtrimogene", "cls_mlp", "none"), ("transformer", "max_pool_linear", "embeddings")],
)
def test_types_that_are_there_are_found_and_shuffled_ones_are_not(encoder: str, head: str, level: str) -> None:
    train_C, validation_C, test_C = np.split(np.arange(150), [90, 120])
    accuracy = {}
    for name in ("true", "shuffled"):
        model, cells, codes_C = small_model(encoder, num_layers=2, num_cells=150)
        if name == "shuffled":
            codes_C = np.random.default_rng(3).permutation(codes_C)
        classifier = classifier_of(model, head)
        config = FinetuneConfig(freeze=level, epochs=8, learning_rate=5e-3, cells_per_batch=10)  # type: ignore[arg-type]
        fit(classifier, model.tokenizer(cells), codes_C, train_C, validation_C, config)
        found_C = classifier.log_probabilities(model.tokenizer(cells), test_C).argmax(1)
        accuracy[name] = float((found_C == codes_C[test_C]).mean())
    assert accuracy["true"] >= 0.94
    assert accuracy["shuffled"] <= 0.65  # 30 cells, chance 1/3


def test_same_seed_same_numbers_and_the_callers_random_state_stays() -> None:
    histories: list[list[EpochReport]] = []
    for seed in (0, 0, 1):
        model, cells, codes_C = small_model(dropout=0.2)
        torch.manual_seed(9)
        config = FinetuneConfig(freeze="none", epochs=2, seed=seed)
        histories.append(fit(classifier_of(model), model.tokenizer(cells), codes_C, *rows()[:2], config).history)
        assert torch.initial_seed() == 9
    assert histories[0] == histories[1] != histories[2]


def test_labels_are_counted_and_split() -> None:
    obs = pd.DataFrame(
        {
            "type": ["a"] * 20 + ["b"] * 20 + ["c"] * 2 + [None, " "] + ["a"],
            "batch": [1, 2] * 22 + [1],
        }
    )
    tokens_C = np.ones(45)
    tokens_C[44] = 0
    labels = labels_of(obs, "type", tokens_C)
    assert (labels.without, labels.empty, len(labels.rows_C)) == (2, 1, 42)
    train_C, validation_C, split = split_labels(labels, obs, seed=0)
    parts = [set(train_C), set(validation_C), set(split.test_C)]
    assert set.union(*parts) == set(labels.rows_C)
    assert sum(map(len, parts)) == 42
    assert set(split.train_C) == parts[0] | parts[1]
    assert {labels.labels_C[row] for row in train_C} == {"a", "b", "c"}
    _, _, by_batch = split_labels(labels, obs, test_by=("batch", "2"))
    assert set(by_batch.test_C) == {row for row in labels.rows_C if obs["batch"][row] == 2}
    with pytest.raises(UserError, match="did you mean 'type'"):
        labels_of(obs, "typ", tokens_C)
    with pytest.raises(UserError, match="no such column of obs; choose from type, batch"):
        split_labels(labels, obs, test_by=("donor", "2"))
    with pytest.raises(UserError, match=r"test_by='batch=7': none of 42 cells is of this group; choose from 1, 2"):
        split_labels(labels, obs, test_by=("batch", "7"))


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    model, cells, _ = small_model()
    classifier = classifier_of(model, "max_pool_linear")
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    classifier.save(tmp_path, backend="csr")
    loaded = Classifier.of(tmp_path)
    classifier.head.eval()
    rows_C = np.arange(10)
    expected = classifier.log_probabilities(model.tokenizer(cells), rows_C)
    np.testing.assert_array_equal(loaded.log_probabilities(loaded.model.tokenizer(cells), rows_C), expected)
    np.testing.assert_allclose(np.exp(expected).sum(1), 1, rtol=1e-5)
    assert (loaded.classes, loaded.label) == (("a", "b", "c"), "type")
    other = replace_head(tmp_path)
    with pytest.raises(UserError, match=other):
        Classifier.of(tmp_path)


def replace_head(folder: Path) -> str:
    """Exchange the head's file for another one; returns what the error must say."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "head.safetensors")
    save_file({name: tensor + 1 for name, tensor in state.items()}, folder / "head.safetensors")
    return "checksum"


def test_settings_are_refused_in_one_line() -> None:
    for options in ({"epochs": 0}, {"learning_rate": 0.0}, {"seed": -1}, {"class_weights": "some"}):
        with pytest.raises(UserError, match=next(iter(options))):
            replace(FinetuneConfig(), **options)  # type: ignore[arg-type]
    model, _, _ = small_model()
    with pytest.raises(UserError, match="1 class"):
        Classifier.new(model, ComponentSpec("cls_mlp"), ("a",), "type", seed=0)


@pytest.mark.parametrize(
    "column", [[0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0], ["0.0", "1", " 1 ", "0"], pd.Categorical([0, 1, 1, 0])]
)
def test_classes_and_groups_have_one_form_however_they_are_stored(column: object) -> None:
    obs = pd.DataFrame({"type": column, "batch": column})
    labels = labels_of(obs, "type", np.ones(4, dtype=np.int64))
    assert labels.labels_C.tolist() == ["0", "1", "1", "0"]
    for value in ("1", "1.0"):
        _, _, split = split_labels(labels, obs, validation=0.4, test_by=("batch", value))
        assert split.test_C.tolist() == [1, 2]
