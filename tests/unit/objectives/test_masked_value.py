"""Masked-value objective against values computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import CellBatch
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.value_statistics import ValueStatistics
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.objectives import OBJECTIVES, GeneStates, Step
from grn_cotrain.objectives.masked_value import MaskedValue
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import ToyModel, toy_cells

WIDTH, NUM_BINS = 8, 4
CELLS = toy_cells(num_cells=20)


class _Still(torch.nn.Module):
    """An encoder that tells nothing."""

    def forward(self, batch: CellBatch, features_VD: Tensor) -> CellStates:
        return CellStates(torch.ones(batch.num_tokens, WIDTH), torch.ones(batch.num_cells, WIDTH))


def _objective(**options: Any) -> MaskedValue:
    objective = OBJECTIVES.build("masked_value", options, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_genes)
    objective.prepare(CELLS, np.arange(CELLS.num_cells))
    assert isinstance(objective, MaskedValue)
    return objective


def _genes() -> GeneStates:
    table_GD = torch.randn(CELLS.num_genes, WIDTH, generator=torch.Generator().manual_seed(0))
    return GeneStates(table_GD, table_GD)


def _hidden(zeros: int = 0) -> CellBatch:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=zeros)).batch(np.arange(10))
    return hide(batch, draw_mask(batch, torch.Generator().manual_seed(0), share=0.4), num_bins=NUM_BINS)


def test_an_untrained_head_predicts_the_mean_of_the_gene() -> None:
    batch = _hidden()
    found = _objective().predict_values(ToyModel(_Still(), WIDTH), batch, _genes())
    mean_G = torch.from_numpy(ValueStatistics.of(CELLS.normalised()).mean_G)
    torch.testing.assert_close(found, mean_G[batch.feature_ids_T[batch.masked_T] - 3])


def test_the_first_loss_is_the_mean_squared_deviation_of_hidden_values() -> None:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=5)).batch(np.arange(10))
    objective = _objective(mask_share=0.4)
    step = Step(_genes(), batch, None, torch.Generator().manual_seed(0))
    output = objective(ToyModel(_Still(), WIDTH), step)
    masked_T = draw_mask(batch, torch.Generator().manual_seed(0), share=0.4)
    statistics = ValueStatistics.of(CELLS.normalised())
    gene = batch.feature_ids_T[masked_T].numpy() - 3
    deviation = (batch.values_T[masked_T].numpy() - statistics.mean_G[gene]) / statistics.std_G[gene]
    assert output.count == len(gene)
    assert float(output.loss.detach()) == pytest.approx(float((deviation**2).mean()), rel=1e-5)


def test_hidden_zeros_enter_their_own_part_only() -> None:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=6)).batch(np.arange(10))
    plain, hurdle = _objective(mask_share=0.4), _objective(mask_share=0.4, mask_zeros=True)
    outputs = [
        objective(ToyModel(_Still(), WIDTH), Step(_genes(), batch, None, torch.Generator().manual_seed(0)))
        for objective in (plain, hurdle)
    ]
    torch.testing.assert_close(outputs[0].parts["squared_error"], outputs[1].parts["squared_error"])
    assert outputs[1].count > outputs[0].count
    assert float(outputs[1].parts["nonzero"].detach()) == pytest.approx(np.log(2), rel=1e-5)
    torch.testing.assert_close(outputs[1].loss, outputs[1].parts["squared_error"] + outputs[1].parts["nonzero"])


def test_bins_are_read_as_the_visible_values_of_the_cell() -> None:
    batch = _hidden()
    assert batch.masked_T is not None
    objective = _objective(loss="cross_entropy")
    found = objective.predict_values(ToyModel(_Still(), WIDTH), batch, _genes()).numpy()
    cell_T, values_T, bins_T = batch.cell_of_token_T.numpy(), batch.values_T.numpy(), batch.bins_T.numpy()
    seen_T = ~batch.masked_T.numpy() & (values_T > 0)
    for cell in range(10):
        value_of_bin: list[float] = []
        for index in range(1, NUM_BINS + 1):
            there = values_T[seen_T & (cell_T == cell) & (bins_T == index)]
            value_of_bin.append(float(there.mean()) if len(there) else value_of_bin[-1])
        here = cell_T[batch.masked_T.numpy()] == cell
        np.testing.assert_allclose(found[here], np.mean(value_of_bin), rtol=1e-5)  # untrained: bins are equally likely


def test_the_head_reads_the_row_of_the_gene() -> None:
    objective, batch, genes = _objective(), _hidden(), _genes()
    torch.nn.init.normal_(objective.state_map.weight, generator=torch.Generator().manual_seed(0))
    model = ToyModel(_Still(), WIDTH)
    before = objective.predict_values(model, batch, genes)
    after = objective.predict_values(model, batch, GeneStates(genes.table_GD * 2, genes.graph_GD))
    gene = batch.feature_ids_T[batch.masked_T] - 3
    mean = objective.mean_G[gene]
    torch.testing.assert_close(after - mean, 2 * (before - mean), rtol=1e-4, atol=1e-5)


def test_statistics_travel_with_the_weights() -> None:
    fresh = OBJECTIVES.build("masked_value", {}, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_genes)
    fresh.load_state_dict(_objective().state_dict())
    assert torch.equal(fresh.get_buffer("mean_G"), _objective().mean_G)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_impossible_share(share: float) -> None:
    with pytest.raises(UserError, match="mask_share"):
        _objective(mask_share=share)
