"""Gradients and perturbations of predicted values: exact on a linear encoder, defined for every encoder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.cli import app
from grn_cotrain.commandline import run_app
from grn_cotrain.controls.select import parse_controls
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.links import evaluate_links
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.evaluate.value_readouts import FEATURES, ValueScores, read_values
from grn_cotrain.evaluate.value_scorer import SCORES, ValueReadOut, ValueScorer, ValueTranslator
from grn_cotrain.jobs.value_readouts import ValueReadOutConfig
from grn_cotrain.metrics.links import auroc
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellStates
from grn_cotrain.objectives import OBJECTIVES, GeneStates, PredictsValues, Step
from grn_cotrain.recipe import TokenConfig
from grn_cotrain.train.build import build_model
from tests.cases.toy_links import NUM_GENES, toy_cells, toy_grn, toy_split

TOKENS = TokenConfig(num_bins=5)
EVERY = np.arange(NUM_GENES)


class Linear(PredictsValues):
    """The state of a token is the value that is predicted for it."""

    def forward(self, model: Any, step: Step) -> Any:
        raise NotImplementedError

    def read_values(self, model: Any, step: Step) -> Tensor:
        return step.states.tokens_TD[step.view.where_M, 0]


class LinearModel:
    """Every gene's value is a weighted sum of the visible values of its cell: ``x_g = sum_s weight_GG[g, s] x_s``."""

    def __init__(self, weight_GG: np.ndarray, **tokens: Any) -> None:
        self.weight_GG = torch.from_numpy(weight_GG)
        self.tokens = TokenConfig(num_bins=5, **tokens)
        self.objective: Any = Linear()

    def value_predictor(self) -> Any:
        return self.objective

    def encode_graph(self) -> GeneStates:
        return GeneStates(torch.zeros(0, 1), torch.zeros(0, 1))

    def tokenizer(self, cells: Any) -> Tokenizer:
        return Tokenizer(cells, self.tokens)

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        return batch

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        del genes
        gain_T = torch.ones(batch.num_tokens) if batch.gain_T is None else batch.gain_T
        gene_T, cell_T = batch.feature_ids_T - NUM_SPECIAL, batch.cell_of_token_T
        shown_T = (~batch.hidden_T & (gene_T >= 0)) * gain_T * batch.values_T
        shown_BG = torch.zeros(batch.num_cells, NUM_GENES).index_put((cell_T, gene_T.clamp_min(0)), shown_T, True)
        value_T = (self.weight_GG[gene_T.clamp_min(0)] * shown_BG[cell_T]).sum(1)
        return CellStates(value_T[:, None], torch.zeros(batch.num_cells, 1))


def weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(NUM_GENES, NUM_GENES)).astype(np.float32)


def read(model: Any, **options: Any) -> ValueScores:
    return read_values(model, toy_cells(), EVERY, EVERY, ValueReadOutConfig(**options))


@pytest.mark.parametrize("zeros", [0, "all"])
def test_a_linear_encoder_gives_its_weights(zeros: Any) -> None:
    """The gradient is weight times value, setting to zero takes as much away, raising adds the rest to the highest."""
    weight_GG = weights()
    tokens = {"zeros_per_cell": zeros, "max_tokens": NUM_GENES + 1} if zeros else {}
    scores = read(LinearModel(weight_GG, **tokens), max_cells=60)
    seen_SG = scores.count_SG > 0
    assert seen_SG.mean() > 0.5
    assert not seen_SG.diagonal().any()
    gradient, absolute, zeroed, absolute_zeroed, raised, _ = scores.mean_FSG
    np.testing.assert_allclose(gradient[seen_SG], -zeroed[seen_SG], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(absolute, np.abs(gradient), rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(absolute_zeroed, absolute, rtol=1e-3, atol=2e-4)
    mean_value_SG = gradient / np.where(seen_SG, weight_GG.T, 1)  # of the TF, over the cells that show the pair
    values_CG = toy_cells().normalised().toarray()
    assert (mean_value_SG[seen_SG] > 0).all()
    assert (mean_value_SG <= values_CG.max(0)[:, None] + 1e-3).all()
    assert (raised * weight_GG.T >= -1e-3).all()  # a raise goes the way of the weight


def test_a_cell_is_asked_the_same_in_any_batch_and_draws_are_seeded() -> None:
    model = LinearModel(weights())
    first, again, other = read(model, max_cells=20), read(model, max_cells=20), read(model, max_cells=20, seed=1)
    np.testing.assert_array_equal(first.mean_FSG, again.mean_FSG)
    assert not np.array_equal(first.count_SG, other.count_SG)


def test_unseen_pairs_have_what_their_genes_lead_to_expect() -> None:
    scores = read(LinearModel(weights()), max_cells=1, asked=0.01)
    pairs_2P = np.stack(np.meshgrid(EVERY, EVERY, indexing="ij")).reshape(2, -1)
    features_PF = scores.features(pairs_2P)
    assert (scores.count(pairs_2P) == 0).any()
    assert np.isfinite(features_PF).all()
    signed = [place for place, name in enumerate(FEATURES) if not name.startswith("absolute")]
    assert (features_PF[scores.count(pairs_2P) == 0][:, signed] == 0).all()


def test_a_planted_network_is_found_and_a_translator_reads_its_sign() -> None:
    source_E, target_E = toy_grn().pairs_2E
    weight_GG = 0.01 * weights()
    weight_GG[target_E, source_E] = 1.0
    split = toy_split()
    test = split.pairs("test")
    read_out = ValueReadOut(LinearModel(weight_GG), toy_cells(), ValueReadOutConfig(max_cells=60))
    scorers = [ValueScorer(read_out, score) for score in SCORES]
    for scorer in (*scorers, ValueTranslator(read_out)):
        found_P = scorer.fit(split, None).score(test.pairs_2M)
        shown_P = read_out.of_split(split).count(test.pairs_2M) > 0
        assert auroc(found_P[shown_P], test.labels_M[shown_P]) > 0.95
    table = evaluate_links(split, [*scorers, *parse_controls("random")], toy_cells(), bootstrap=0)
    assert {"value_gradient", "value_perturbation"} <= set(table.frame["scorer"])
    assert any(note.startswith("gradients: ") for note in table.notes)


def test_what_cannot_be_read_is_refused() -> None:
    model = LinearModel(weights())
    with pytest.raises(UserError, match="name at least one"):
        read_values(model, toy_cells(), EVERY[:0], EVERY)
    model.objective = None
    with pytest.raises(UserError, match="gradients: the model predicts no values"):
        read(model)
    other = ValueReadOut(LinearModel(weights()), toy_cells(), split_hash="x", split_name="elsewhere")
    with pytest.raises(UserError, match="was trained on split 'elsewhere'"):
        ValueScorer(other, "value_gradient").fit(toy_split(), None)


class EncoderModel(LinearModel):
    """A real encoder over random rows, and a head that starts away from zero."""

    def __init__(self, name: str) -> None:
        super().__init__(weights())
        self.tokens = TokenConfig(num_bins=5)
        cells, width = toy_cells(), 16
        torch.manual_seed(0)
        sizes = {"width": width, "num_bins": 5, "num_modalities": 3, "num_genes": cells.num_features}
        self.encoder = CELL_ENCODERS.build(name, {}, **sizes)
        self.encoder.prepare(Statistics(cells))
        self.encoder.eval()
        self.objective = OBJECTIVES.build("masked_value", {}, width=width, num_bins=5, num_genes=cells.num_features)
        torch.nn.init.normal_(self.objective.state_mlp[-1].weight)
        self.rows_VD = torch.randn(cells.vocab.size, width)

    def encode_cells(self, batch: PackedTokens, genes: GeneStates) -> CellStates:
        del genes
        return self.encoder(batch, self.rows_VD)

    def gene_rows(self, genes: GeneStates, feature_ids_T: Tensor) -> Tensor:
        del genes
        return self.rows_VD[feature_ids_T]

    def prepare_batch(self, batch: PackedTokens) -> PackedTokens:
        return self.encoder.prepare_batch(batch)


@pytest.mark.parametrize("name", [name for name in CELL_ENCODERS.names() if not CELL_ENCODERS.get(name).owns_tokens()])
def test_every_encoder_has_gradients_and_perturbations(name: str) -> None:
    scores = read(EncoderModel(name), max_cells=6)
    seen_SG = scores.count_SG > 0
    assert np.isfinite(scores.mean_FSG).all()
    # scBERT's bins are whole binary logarithms, of which these cells show one: nothing can be raised.
    for place in (1, 3) if name == "scbert" else (1, 3, 5):
        assert (scores.mean_FSG[place][seen_SG] > 0).mean() > 0.3, FEATURES[place]
    assert (scores.mean_FSG[:, ~seen_SG] == 0).all()


def test_a_run_and_its_untrained_self(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    table = evaluate_run(
        run,
        controls="random",
        bootstrap=0,
        out=tmp_path / "out",
        read_outs=[ValueReadOutConfig(max_cells=8)],
        initial=build_model,
    )
    kinds = dict(table.frame[["scorer", "kind"]].drop_duplicates().itertuples(index=False, name=None))
    names = ("value_gradient", "value_perturbation", "value_translator")
    assert kinds == {
        "joint": "model",
        "random": "control",
        **dict.fromkeys(names, "read-out"),
        **{f"untrained {name}": "control" for name in names},
    }


def test_the_option_needs_a_run(tiny_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, ["evaluate", "links", str(tiny_world), "--gradients", "--split", "unseen-target-seed0"]) == 2
    assert "--gradients: " in capsys.readouterr().err
