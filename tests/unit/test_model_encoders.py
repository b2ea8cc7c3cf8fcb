"""Encoders by name: what each reads, one state a cell, and encoders that make tokens of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grn_cotrain.config import parse, to_dict
from grn_cotrain.data.batch import AssayBatch, CellBatch
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.model_io import load_model
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellEncoder, CellStates
from grn_cotrain.recipe import ModelConfig, Recipe
from grn_cotrain.train.build import build_model
from grn_cotrain.train.run import train
from tests.multiome import make_multiome, multiome_recipe, multiome_vocab
from tests.worlds import tiny_recipe

ONE = {"name": "transformer", "num_layers": 1, "num_heads": 2}
BOTH = {
    "rna": {**ONE, "reads": ["rna"]},
    "atac": {**ONE, "reads": ["atac"], "values": "bins"},
}


def mosaic(num_cells: int = 9) -> MemoryStore:
    """Cells 0 to 2 lack ATAC, 3 to 5 lack RNA, the others have both."""
    counts = np.random.default_rng(1).poisson(2.0, (num_cells, 36)) + 1
    has_rna, has_atac = ~np.isin(np.arange(num_cells), (3, 4, 5)), np.arange(num_cells) > 2
    counts[~has_rna, :24] = 0
    counts[~has_atac, 24:] = 0
    return MemoryStore.build(multiome_vocab(), counts, kind="counts", present={"rna": has_rna, "atac": has_atac})


def model_of(parts: dict[str, Any], objectives: dict[str, Any] | None = None) -> CoTrainNetwork:
    table = {"init": "random", "inductive": [], "id_dropout": 0.0}
    config = parse(ModelConfig, {"width": 16, "table": table, "link_decoder": "bilinear", **parts}, path="model")
    inputs = ModelInputs(multiome_vocab(), None, {}, None, np.array([[0, 1], [2, 3]]), np.array([1, 0]))
    return CoTrainNetwork(config, objectives or {}, inputs, backend="csr").eval()


def with_encoders(recipe: Recipe, encoders: dict[str, dict[str, Any]]) -> Recipe:
    """The recipe in the long form."""
    model = {key: value for key, value in to_dict(recipe.model).items() if key != "cell_encoder"}
    return replace(recipe, model=parse(ModelConfig, {**model, "encoders": encoders}, path="model"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_multiome(tmp_path_factory.mktemp("multiome") / "prep")


def test_a_single_named_encoder_gives_the_numbers_of_the_short_form(tiny_world: Path) -> None:
    short = tiny_recipe(tiny_world)
    data = load_run_data(short)
    named = with_encoders(short, {"rna": {**ONE, "reads": ["rna"]}})
    models = [build_model(recipe, data).eval() for recipe in (short, named)]
    with torch.no_grad():
        batches = [model.tokenizer(data.cells).batch(np.arange(12)).pack() for model in models]
        first, second = (m.encode_cells(b, m.encode_graph()) for m, b in zip(models, batches, strict=True))
    assert torch.equal(first.tokens_TD, second.tokens_TD)
    assert torch.equal(first.cells_BD, second.cells_BD)
    assert [name.partition(".")[0] for name in models[0].state_dict()].count("cell_encoder") > 0
    assert {name.replace("named_encoders.rna.", "cell_encoder.") for name in models[1].state_dict()} == set(
        models[0].state_dict()
    )


def test_training_by_either_form_gives_the_same_losses(tiny_world: Path, tmp_path: Path) -> None:
    short = tiny_recipe(tiny_world)
    recipes = {"short": short, "named": with_encoders(short, {"cells": {**ONE, "reads": ["rna"]}})}
    texts = []
    for name, recipe in recipes.items():
        folder = train(recipe, tmp_path / name).folder
        texts.append([line for line in (folder / "metrics.jsonl").read_text().splitlines() if "loss/" in line])
    keep = [[_losses(line) for line in lines] for lines in texts]
    assert keep[0] == keep[1]
    assert len(keep[0]) == 8


def _losses(line: str) -> dict[str, float]:
    return {key: value for key, value in json.loads(line).items() if key.startswith("loss/")}


def test_each_encoder_is_prepared_from_its_assay() -> None:
    spec = {"name": "xtrimogene", "num_layers": 1, "num_heads": 2, "values": "equal", "value_bins": 4}
    model = model_of({"encoders": {name: {**spec, "reads": [name]} for name in ("rna", "atac")}})
    cells = mosaic(30)
    model.prepare(Statistics(cells))
    for name, encoder in model.encoders.items():
        value_N = cells.normalised(assay=name).data.astype(np.float64)
        expected_K = np.quantile(value_N, np.arange(1, 4) / 4, method="inverted_cdf")
        np.testing.assert_array_equal(
            encoder.get_submodule("values").get_buffer("edges_K").numpy(), expected_K.astype(np.float32)
        )


def test_each_encoder_reads_its_assay_and_a_missing_one_does_not_enter() -> None:
    model = model_of({"encoders": BOTH})
    batch = model.tokenizer(mosaic()).batch(np.arange(9))
    with torch.no_grad():
        genes = model.encode_graph()
        joined = model.encode_cells(batch.pack(), genes)
        rna, atac = (model.encode(name, batch.pack([name]), genes).cells_BD for name in ("rna", "atac"))
    has_rna, has_atac = [0, 1, 2, 6, 7, 8], [3, 4, 5, 6, 7, 8]
    torch.testing.assert_close(joined.cells_BD[:3], rna[:3])
    torch.testing.assert_close(joined.cells_BD[3:6], atac[:3])
    torch.testing.assert_close(joined.cells_BD[6:], (rna[3:] + atac[3:]) / 2)
    assert batch.pack(["rna"]).cells_B.tolist() == has_rna
    assert batch.pack(["atac"]).cells_B.tolist() == has_atac


def test_token_states_are_those_of_the_encoder_that_reads_them() -> None:
    model = model_of({"encoders": BOTH})
    tokens = model.tokenizer(mosaic()).batch(np.arange(9)).pack()
    with torch.no_grad():
        genes = model.encode_graph()
        joined = model.encode_cells(tokens, genes).tokens_TD
        for name in ("rna", "atac"):
            part = model.part_of(tokens, name)
            states_MD = model.encode(name, part.tokens, genes).tokens_TD
            is_token_M = part.tokens.feature_ids_T >= NUM_SPECIAL
            torch.testing.assert_close(joined[part.where_M][is_token_M], states_MD[is_token_M])
    # A peak never reaches the RNA encoder: its part is the same without any peak.
    alone = model.part_of(tokens, "rna").tokens
    assert set(alone.modality_T.tolist()) == {0}
    assert bool((alone.feature_ids_T < NUM_SPECIAL + 24).all())


def test_pooling_without_tokens_leaves_them_out_of_their_encoder() -> None:
    model = model_of({"encoders": BOTH})
    tokens = model.tokenizer(mosaic()).batch(np.arange(9)).pack()
    with torch.no_grad():
        states = model.encode_cells(tokens, model.encode_graph())
        nothing = states.cells_without(torch.zeros(tokens.num_tokens, dtype=torch.bool))
    torch.testing.assert_close(nothing, states.cells_BD)


def test_several_encoders_train_save_and_load(world: Path, tmp_path: Path) -> None:
    objectives = {"masked_value": {}, "modality": {}, "link_prediction": {}}
    recipe = with_encoders(multiome_recipe(world, objectives=objectives), BOTH)
    before = build_model(recipe, load_run_data(recipe))
    model, _ = load_model(train(recipe, tmp_path / "run").folder / "model")
    assert list(model.encoders) == ["rna", "atac"]
    old, new = before.state_dict(), model.state_dict()
    for prefix in ("named_encoders.rna.trunk", "named_encoders.atac.trunk", "feature_rows.atac"):
        moved = [name for name in new if name.startswith(prefix) and not torch.equal(new[name], old[name])]
        assert moved, prefix
    assert "feature_rows.rna.rows_PD" not in new  # no encoder of RNA has rows of peaks


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"encoders": {"a": {**ONE, "reads": ["rnaa"]}}},
            r"no assay 'rnaa' \(did you mean 'rna'\?\); they have",
        ),
        ({"encoders": {"a": {**ONE, "reads": ["protein"]}}}, "no assay 'protein'"),
        ({"cell_encoder": "scgpt", "encoders": {"a": {**ONE, "reads": ["rna"]}}}, "both given; keep one of the two"),
        ({"encoders": {"a": ONE}}, r"encoders.a.reads: got nothing; list the assays"),
        ({"encoders": {"a": {**ONE, "reads": ["rna", "rna"]}}}, "name each assay once"),
        ({"encoders": {"a": {**ONE, "read": ["rna"]}}}, r"encoders.a.read: unknown key \(did you mean 'reads'\?\)"),
        ({"encoders": {"a": {**ONE, "reads": ["rna"], "num_layer": 3}}}, "did you mean 'num_layers'"),
        ({"encoders": {"a": {**ONE, "reads": ["rna"], "tokens": {"max_token": 3}}}}, "did you mean 'max_tokens'"),
        (
            {"encoders": {"a": {**ONE, "reads": ["rna"], "tokens": {"num_bins": 3}}}},
            "set model.tokens.num_bins",
        ),
        ({"encoders": {"A.b": {**ONE, "reads": ["rna"]}}}, "is not a name"),
        ({"encoders": {"a": {"name": "transformr", "reads": ["rna"]}}}, "did you mean 'transformer'"),
    ],
)
def test_recipes_that_cannot_be_are_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_of(parts)


def test_an_assay_that_no_encoder_reads_is_reported(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = with_encoders(multiome_recipe(world), {"rna": BOTH["rna"]})
    build_model(recipe, load_run_data(recipe))
    assert "no encoder reads the assay atac" in caplog.text


def test_attention_is_that_of_the_encoder_that_reads_rna() -> None:
    model, cells = model_of({"encoders": BOTH}), mosaic()
    batch = model.tokenizer(cells, encoder="rna").batch(np.arange(9)).pack()
    assert batch.cell_index_B.tolist() == [0, 1, 2, 6, 7, 8]
    with torch.no_grad():
        genes = model.encode_graph()
        found = list(model.cell_attention(batch, genes))
    assert [len(matrix_LL) for matrix_LL in found] == batch.cu_lens.diff().tolist()
    assert set(batch.modality_T.tolist()) == {0}


@pytest.mark.parametrize(
    ("encoders", "asked", "message"),
    [
        ({"a": "rna", "b": "atac"}, "b", "encoder='b': reads no genes; choose from a"),
        ({"first": "rna", "b": "atac"}, "frist", r"no such encoder; choose from first \(did you mean 'first'\?\)"),
        ({"a": "rna", "b": "rna"}, None, r"encoder: not given, and several encoders read rna \(a, b\); name one"),
        ({"a": "atac"}, None, r"no encoder of the model reads rna \(a\); train one that does"),
    ],
)
def test_an_encoder_of_genes_is_chosen_or_asked_for(encoders: dict[str, str], asked: str | None, message: str) -> None:
    model = model_of({"encoders": {name: {**ONE, "reads": [reads]} for name, reads in encoders.items()}})
    with pytest.raises(UserError, match=message):
        model.gene_encoder(asked)


@dataclass(frozen=True)
class Bags:
    """Tokens of the toy encoder: one a cell and half of the genome."""

    sums_P2: Tensor
    cells_B: Tensor


class HalvesEncoder(CellEncoder):
    """A toy that makes tokens of its own: what is open in each half of the peaks. It reads no row of a feature."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, width: int, num_genes: int, **sizes: Any) -> None:
        super().__init__()
        del config, sizes
        self.middle = num_genes - 6 + NUM_SPECIAL
        self.project = nn.Linear(2, width)

    def tokenise(self, batch: CellBatch) -> Bags:
        """Sum the values of each half, in the cells that have the assay."""
        (assay,) = batch.assays.values()
        assert isinstance(assay, AssayBatch)
        cell_T = torch.repeat_interleave(torch.arange(len(assay.cells_A)), assay.cu_lens.diff().long())
        sums_P2 = torch.zeros(len(assay.cells_A), 2)
        sums_P2.index_put_((cell_T, (assay.feature_ids_T >= self.middle).long()), assay.values_T, accumulate=True)
        return Bags(sums_P2, assay.cells_A)

    def forward(self, tokens: Bags, features_VD: Tensor, bias: Any = None) -> CellStates:
        """One state a cell."""
        del features_VD, bias
        state_PD = self.project(tokens.sums_P2)
        return CellStates(state_PD[:0], state_PD)

    def attention(self, *arguments: Any, **options: Any) -> Iterator[Tensor]:
        """It has none."""
        raise UserError("halves: has no attention")


@pytest.fixture
def halves() -> Iterator[None]:
    CELL_ENCODERS.names()
    CELL_ENCODERS.register("halves", paper="test")(HalvesEncoder)
    yield
    del CELL_ENCODERS._components["halves"]


@pytest.mark.usefixtures("halves")
def test_an_encoder_that_makes_its_own_tokens_needs_no_edit_elsewhere() -> None:
    parts = {"encoders": {"rna": BOTH["rna"], "atac": {"name": "halves", "reads": ["atac"]}}}
    model = model_of(parts, {"masked_value": {}})
    cells = mosaic()
    batch = model.tokenizer(cells).batch(np.arange(9))
    genes = model.encode_graph()
    own = model.encoders["atac"].tokenise(CellBatch(batch.cell_index_B, {"atac": batch.assays["atac"]}))
    expected_P2 = torch.from_numpy(cells.normalised(assay="atac").toarray()[3:].reshape(6, 2, 6).sum(2))
    torch.testing.assert_close(own.sums_P2, expected_P2)
    states = model.encode_cells(batch.pack(), genes)
    rna = model.encode("rna", batch.pack(["rna"]), genes).cells_BD
    atac = model.encode("atac", own, genes).cells_BD
    torch.testing.assert_close(states.cells_BD[:3], rna[:3])
    torch.testing.assert_close(states.cells_BD[3:6], atac[:3])
    torch.testing.assert_close(states.cells_BD[6:], (rna[3:] + atac[3:]) / 2)
    # Its gradient comes with that of everything else.
    states.cells_BD.sum().backward()
    assert model.encoders["atac"].project.weight.grad is not None


@pytest.mark.usefixtures("halves")
def test_hidden_values_do_not_reach_an_encoder_that_makes_its_own_tokens() -> None:
    model = model_of({"encoders": {"atac": {"name": "halves", "reads": ["atac"]}}})
    tokens = model.tokenizer(mosaic()).batch(np.array([3, 4, 6])).pack(["atac"])
    hidden_T = torch.zeros(tokens.num_tokens, dtype=torch.bool)
    hidden_T[[1, 4]] = True
    shown = tokens.with_mask(hidden_T)
    other = tokens.values_T.clone()
    other[[1, 4]] = 77.0
    genes = model.encode_graph()
    first, second = (model.encode_cells(t, genes).cells_BD for t in (shown, replace(shown, values_T=other)))
    assert torch.equal(first, second)


def test_each_encoder_has_its_own_tokens() -> None:
    """RNA keeps its five highest values and two zeros, ATAC all of its peaks; the same without the other encoder."""
    rna = {**BOTH["rna"], "tokens": {"max_tokens": 8, "zeros_per_cell": 2}}
    cells = MemoryStore.build(multiome_vocab(), np.eye(36)[:, ::-1] * 0 + np.tril(np.ones((36, 36))) * 3, kind="counts")
    model = model_of({"encoders": {"rna": rna, "atac": BOTH["atac"]}})
    batch = model.tokenizer(cells).batch(np.array([35, 10]))
    assert batch.assays["rna"].cu_lens.tolist() == [0, 5, 12]  # cell 35 has no zero among its genes
    assert batch.assays["atac"].cu_lens.tolist() == [0, 12, 12]
    alone = model_of({"encoders": {"rna": rna}}).tokenizer(cells).batch(np.array([35, 10]))
    assert list(alone.assays) == ["rna"]
    assert torch.equal(alone.assays["rna"].feature_ids_T, batch.assays["rna"].feature_ids_T)
    with pytest.raises(UserError, match="rna and twin both read rna, with different tokens; give them the same"):
        model_of({"encoders": {"rna": rna, "twin": BOTH["rna"]}}).tokenizer(cells)
