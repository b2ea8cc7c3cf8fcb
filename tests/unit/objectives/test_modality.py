"""scMBERT's objective against losses computed by hand, on cells of two modalities."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellStates
from grn_cotrain.objectives import OBJECTIVES, GeneStates, ValuePredictor
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.modality import Modality
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import Given, ToyModel, toy_cells

WIDTH, NUM_BINS, GENES, PEAKS = 8, 4, 20, 10


def _cells() -> MemoryStore:
    names = [f"GENE{i}" for i in range(GENES)] + [f"chr1:{i}00-{i}99" for i in range(1, PEAKS + 1)]
    vocab = FeatureVocab.from_symbols(names, modality=["gene"] * GENES + ["peak"] * PEAKS, species="human")
    generator = np.random.default_rng(0)
    values = generator.poisson(2.0, (24, GENES + PEAKS)) * (generator.random((24, GENES + PEAKS)) < 0.6)
    return MemoryStore.build(vocab, values, kind="counts")


CELLS = _cells()


class _Watching(torch.nn.Module):
    """An encoder that keeps what it was shown and returns fixed states."""

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> CellStates:
        self.batch = batch
        states_TD = torch.randn(batch.num_tokens, WIDTH, generator=torch.Generator().manual_seed(4))
        return CellStates(states_TD, states_TD[batch.cls_positions_B])


def _objective(**options: Any) -> Modality:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = OBJECTIVES.build("modality", options, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features)
    built.prepare(Statistics(CELLS))
    assert isinstance(built, Modality)
    return built


def _step(seed: int = 1) -> Given:
    table_GD = torch.randn(CELLS.num_features, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS)).batch(np.arange(12)).pack()
    return Given(GeneStates(table_GD, table_GD), batch, torch.Generator().manual_seed(seed))


def test_the_first_losses_are_those_of_guessing_evenly() -> None:
    output = _step().score(_objective(), ToyModel(_Watching(), WIDTH))
    torch.testing.assert_close(output.parts["cross_entropy"].mean, torch.tensor(NUM_BINS).log(), atol=0.3, rtol=0)
    torch.testing.assert_close(output.parts["modality"].mean, torch.tensor(3.0).log(), atol=0.3, rtol=0)


@torch.no_grad()
def test_losses_and_accuracies_are_those_of_the_equations() -> None:
    objective, encoder, step = _objective(modality_weight=0.7, mask_share=0.4), _Watching(), _step()
    with torch.no_grad():
        for layer in (objective.value_head, objective.gene_map, objective.modality_head):
            layer.weight.normal_(generator=torch.Generator().manual_seed(2))
    output = step.score(objective, ToyModel(encoder, WIDTH))
    batch = encoder.batch
    states_TD = encoder(batch, torch.empty(0)).tokens_TD
    value, modality, right = 0.0, 0.0, 0
    where = [t for t in range(batch.num_tokens) if batch.masked_T is not None and batch.masked_T[t]]
    for t in where:
        state_D = torch.nn.functional.layer_norm(torch.nn.functional.gelu(objective.decoder[0](states_TD[t])), (WIDTH,))
        row_D = step.genes.table_GD[batch.feature_ids_T[t] - 3]
        value_K = objective.value_head(state_D) + objective.gene_map.weight @ row_D
        value -= float(value_K.log_softmax(0)[batch.bins_T[t] - 1])
        modality_C = objective.modality_head(state_D)
        modality -= float(modality_C.log_softmax(0)[batch.modality_T[t]])
        right += int(modality_C.argmax() == batch.modality_T[t])
    assert output.count == len(where)
    assert float(output.parts["cross_entropy"].mean.detach()) == pytest.approx(value / len(where), rel=1e-5)
    assert float(output.parts["modality"].mean.detach()) == pytest.approx(modality / len(where), rel=1e-5)
    assert float(output.loss.detach()) == pytest.approx((value + 0.7 * modality) / len(where), rel=1e-5)
    assert output.metrics["modality_accuracy"] == pytest.approx(right / len(where))


@pytest.mark.parametrize("shown", ["masked", "visible"])
def test_the_modality_of_hidden_tokens_is_shown_only_on_demand(shown: str) -> None:
    encoder = _Watching()
    _step().score(_objective(modality_input=shown), ToyModel(encoder, WIDTH))
    if shown == "visible":
        assert encoder.batch.modality_hidden_T is None
    else:
        assert encoder.batch.modality_hidden_T is not None
        assert torch.equal(encoder.batch.modality_hidden_T, encoder.batch.masked_T)


def test_what_the_feature_alone_tells_stands_beside() -> None:
    """A feature has one modality, so its id tells all; a feature without a value in training tells nothing."""
    step = _step()
    output = step.score(_objective(), ToyModel(_Watching(), WIDTH))
    assert output.metrics["modality_from_feature"] == 1.0
    assert 0.5 <= output.metrics["modality_majority"] < 1.0
    fresh = OBJECTIVES.build("modality", {}, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features)
    assert step.score(fresh, ToyModel(_Watching(), WIDTH)).metrics["modality_from_feature"] == 0.0


def test_cells_of_one_modality_are_said_to_teach_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cells = toy_cells()
    objective = OBJECTIVES.build("modality", {}, width=WIDTH, num_bins=NUM_BINS, num_genes=cells.num_features)
    with caplog.at_level(logging.WARNING):
        objective.prepare(Statistics(cells))
    assert "gene features alone" in caplog.text


def test_predicted_values_are_mixtures_of_visible_bin_means() -> None:
    objective = _objective()
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS)).batch(np.arange(10)).pack()
    batch = hide(batch, draw_mask(batch, torch.Generator().manual_seed(0), share=0.4), num_bins=NUM_BINS)
    assert isinstance(objective, ValuePredictor)
    found_M = objective.predict_values(ToyModel(_Watching(), WIDTH), batch, _step().genes)
    assert batch.masked_T is not None
    seen_T = ~batch.masked_T & (batch.values_T > 0)
    for value, cell in zip(found_M.tolist(), batch.cell_of_token_T[batch.masked_T].tolist(), strict=True):
        visible = batch.values_T[seen_T & (batch.cell_of_token_T == cell)]
        assert float(visible.min()) <= value <= float(visible.max())


def test_the_encoder_has_a_mask_row_of_its_own_for_values_and_modalities() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(
            "scmbert", {}, width=WIDTH, num_bins=NUM_BINS, num_modalities=3, num_genes=CELLS.num_features
        ).eval()
    features_VD = torch.randn(CELLS.vocab.size, WIDTH, generator=torch.Generator().manual_seed(1))
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS)).batch(np.arange(6)).pack()
    masked_T = draw_mask(batch, torch.Generator().manual_seed(0), share=0.4)
    hidden = replace(batch, masked_T=masked_T)
    shown_TD = encoder(hidden, features_VD).tokens_TD
    assert not torch.allclose(encoder(batch, features_VD).tokens_TD, shown_TD)
    both_TD = encoder(replace(hidden, modality_hidden_T=masked_T), features_VD).tokens_TD
    assert not torch.allclose(both_TD, shown_TD)


def test_the_objective_learns_modalities_it_cannot_read_off() -> None:
    """With names hidden from the head's row, states alone must carry the modality: scMBERT's encoder learns it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(
            "scmbert", {"num_layers": 1}, width=WIDTH, num_bins=NUM_BINS, num_modalities=3, num_genes=CELLS.num_features
        )
    objective, model = _objective(mask_share=0.3), ToyModel(encoder, WIDTH)
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=3e-2)
    for step in range(60):
        optimizer.zero_grad()
        output = _step(step).score(objective, model)
        output.loss.backward()
        optimizer.step()
    metrics = _step(99).score(objective, model).metrics
    assert metrics["modality_accuracy"] > metrics["modality_majority"] + 0.15
