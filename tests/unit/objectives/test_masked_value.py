"""Masked-value objective against values computed by hand."""

from __future__ import annotations

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
from grn_cotrain.data.value_statistics import Moments
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.objectives import OBJECTIVES, GeneStates
from grn_cotrain.objectives.masked_value import MaskedValue
from grn_cotrain.objectives.masking import draw_balanced_mask, draw_mask, hide
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import ToyModel, toy_cells

WIDTH, NUM_BINS = 8, 4
CELLS = toy_cells(num_cells=20)


class _Still(torch.nn.Module):
    """An encoder that tells nothing."""

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> CellStates:
        return CellStates(torch.ones(batch.num_tokens, WIDTH), torch.ones(batch.num_cells, WIDTH))


def _objective(**options: Any) -> MaskedValue:
    objective = OBJECTIVES.build("masked_value", options, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features)
    objective.prepare(Statistics(CELLS))
    assert isinstance(objective, MaskedValue)
    return objective


def _genes() -> GeneStates:
    table_GD = torch.randn(CELLS.num_features, WIDTH, generator=torch.Generator().manual_seed(0))
    return GeneStates(table_GD, table_GD)


def _hidden(zeros: int = 0) -> PackedTokens:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=zeros)).batch(np.arange(10)).pack()
    return hide(batch, draw_mask(batch, torch.Generator().manual_seed(0), share=0.4), num_bins=NUM_BINS)


def test_an_untrained_head_predicts_the_mean_of_the_gene() -> None:
    batch = _hidden()
    found = _objective().predict_values(ToyModel(_Still(), WIDTH), batch, _genes())
    mean_G = torch.from_numpy(Statistics(CELLS)[Moments()].nonzero().mean_G)
    torch.testing.assert_close(found, mean_G[batch.feature_ids_T[batch.masked_T] - 3])


def test_the_first_loss_is_the_mean_squared_deviation_of_hidden_values() -> None:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=5)).batch(np.arange(10)).pack()
    objective = _objective(mask_share=0.4)
    output = objective.on_cells(ToyModel(_Still(), WIDTH), _genes(), batch, torch.Generator().manual_seed(0))
    masked_T = draw_mask(batch, torch.Generator().manual_seed(0), share=0.4)
    statistics = Statistics(CELLS)[Moments()].nonzero()
    gene = batch.feature_ids_T[masked_T].numpy() - 3
    deviation = (batch.values_T[masked_T].numpy() - statistics.mean_G[gene]) / statistics.std_G[gene]
    assert output.count == len(gene)
    assert float(output.loss.detach()) == pytest.approx(float((deviation**2).mean()), rel=1e-5)


def test_hidden_zeros_enter_their_own_part_only() -> None:
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=6)).batch(np.arange(10)).pack()
    plain, hurdle = _objective(mask_share=0.4), _objective(mask_share=0.4, mask_zeros=True)
    outputs = [
        objective.on_cells(ToyModel(_Still(), WIDTH), _genes(), batch, torch.Generator().manual_seed(0))
        for objective in (plain, hurdle)
    ]
    torch.testing.assert_close(outputs[0].parts["squared_error"].mean, outputs[1].parts["squared_error"].mean)
    assert outputs[1].count > outputs[0].count
    assert float(outputs[1].parts["nonzero"].mean.detach()) == pytest.approx(np.log(2), rel=1e-5)
    torch.testing.assert_close(
        outputs[1].loss, outputs[1].parts["squared_error"].mean + outputs[1].parts["nonzero"].mean
    )


def test_bins_are_read_as_the_visible_values_of_the_cell() -> None:
    batch = _hidden()
    assert batch.masked_T is not None
    objective = _objective(loss="cross_entropy")
    found = objective.predict_values(ToyModel(_Still(), WIDTH), batch, _genes()).numpy()
    cell_T, values_T, bins_T = batch.cell_of_token_T.numpy(), batch.values_T.numpy(), batch.bins_T.numpy()
    seen_T = ~batch.masked_T.numpy() & (values_T > 0)
    for cell in range(10):
        there = [values_T[seen_T & (cell_T == cell) & (bins_T == index)] for index in range(1, NUM_BINS + 1)]
        occupied = [index for index in range(NUM_BINS) if len(there[index])]
        # An empty bin lies on the line between its occupied neighbours.
        value_of_bin = np.interp(range(NUM_BINS), occupied, [there[index].mean() for index in occupied])
        here = cell_T[batch.masked_T.numpy()] == cell
        np.testing.assert_allclose(found[here], np.mean(value_of_bin), rtol=1e-5)  # untrained: bins are equally likely


def test_rounded_classes_are_asked_and_read_back_as_their_visible_values() -> None:
    """scBERT's classes: whole binary logarithms of counts per ten thousand, whatever else the cell holds."""
    objective = _objective(loss="cross_entropy", classes="rounded", mask_share=0.4)
    torch.nn.init.normal_(objective.state_mlp[-1].bias, generator=torch.Generator().manual_seed(0))
    batch, model = _hidden(), ToyModel(_Still(), WIDTH)
    batch = replace(batch, values_T=0.12 * batch.values_T)  # toy cells are so shallow that all would be the last class
    log_share_C = objective.state_mlp[-1].bias.detach().log_softmax(0).numpy()
    values = batch.values_T.numpy()
    class_T = np.minimum(np.floor(np.log2(np.exp(values.astype(float))) + 1e-5), NUM_BINS).astype(int)
    assert len(set(class_T[values > 0])) > 1, "one class alone would show nothing"

    hidden = batch.masked_T.numpy()
    clean = replace(batch, masked_T=None)
    output = objective.on_cells(model, _genes(), clean, torch.Generator().manual_seed(0))
    asked = hidden & (class_T > 0)  # scBERT never hides class 0
    assert 0 < asked.sum() < hidden.sum()
    assert output.count == asked.sum()
    assert float(output.loss.detach()) == pytest.approx(-log_share_C[class_T[asked]].mean(), rel=1e-5)

    found = objective.predict_values(model, batch, _genes()).numpy()
    cell_T = batch.cell_of_token_T.numpy()
    for cell in range(10):
        seen = ~hidden & (values > 0) & (cell_T == cell)
        worth = [
            values[seen & (class_T == c)].mean() if (seen & (class_T == c)).any() else (c + 0.5) * np.log(2)
            for c in range(NUM_BINS + 1)
        ]
        np.testing.assert_allclose(found[cell_T[hidden] == cell], np.exp(log_share_C) @ worth, rtol=1e-5)


@pytest.mark.parametrize("zeros", [False, True])
def test_class_0_is_hidden_where_zeros_are_and_only_there(zeros: bool) -> None:
    """What is in class 0 is a zero to scBERT: never hidden, or hidden like the zeros beside it."""
    objective = _objective(loss="cross_entropy", classes="rounded", mask_share=0.5, mask_zeros=zeros)
    batch = Tokenizer(CELLS, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=6)).batch(np.arange(20)).pack()
    batch = replace(batch, values_T=0.12 * batch.values_T)
    low_T = (batch.values_T > 0) & (batch.values_T < np.log(2) - 1e-4)
    seen: list[PackedTokens] = []

    class Watching(_Still):
        def forward(self, batch: PackedTokens, features_VD: Tensor) -> CellStates:
            seen.append(batch)
            return super().forward(batch, features_VD)

    objective.on_cells(ToyModel(Watching(), WIDTH), _genes(), batch, torch.Generator().manual_seed(0))
    hidden_T = seen[0].hidden_T
    zero_T = (batch.values_T == 0) & (batch.feature_ids_T >= 3)
    assert int(low_T.sum()) > 20
    assert 0.3 < float(hidden_T[(batch.values_T > 0) & ~low_T].float().mean()) < 0.7
    for share in (float(hidden_T[low_T].float().mean()), float(hidden_T[zero_T].float().mean())):
        assert (0.3 < share < 0.7) if zeros else share == 0


def test_cells_without_a_class_to_hide_are_refused_and_few_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def cells(share: float) -> MemoryStore:
        values = CELLS.normalised().toarray()
        rest = np.random.default_rng(0).random(values.shape) < share
        return MemoryStore.build(CELLS.vocab, np.where(rest, 0.1, 1.0) * (values > 0), kind="log")

    options = {"loss": "cross_entropy", "classes": "rounded"}
    objective = OBJECTIVES.build("masked_value", options, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features)
    with pytest.raises(UserError, match=r"classes: rounded puts every value.*set classes: quantile"):
        objective.prepare(Statistics(cells(1.0), np.arange(20)))
    assert not caplog.records
    objective.prepare(Statistics(cells(0.7), np.arange(20)))
    assert "rounded never hides 69 %" in caplog.text
    caplog.clear()
    objective.prepare(Statistics(cells(0.3), np.arange(20)))
    assert not caplog.records


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
    fresh = OBJECTIVES.build("masked_value", {}, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features)
    fresh.load_state_dict(_objective().state_dict())
    assert torch.equal(fresh.get_buffer("mean_G"), _objective().mean_G)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_impossible_share(share: float) -> None:
    with pytest.raises(UserError, match="mask_share"):
        _objective(mask_share=share)


# ---- balance of zeros, norms, heads ----------------------------------------------------------------------------------


def _with_zeros(zeros: int | str) -> PackedTokens:
    tokens = TokenConfig(num_bins=NUM_BINS, zeros_per_cell=zeros)  # type: ignore[arg-type]
    return Tokenizer(CELLS, tokens).batch(np.arange(20)).pack()


def _counts(batch: PackedTokens, masked_T: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Hidden values and hidden zeros of each cell, by a plain loop."""
    values, zeros = np.zeros(batch.num_cells, int), np.zeros(batch.num_cells, int)
    for t, cell in enumerate(batch.cell_of_token_T.tolist()):
        if masked_T[t]:
            assert batch.feature_ids_T[t] >= 3
            (values if batch.values_T[t] != 0 else zeros)[cell] += 1
    return values, zeros


NUM_FEATURES = int(np.count_nonzero(CELLS.vocab.is_token))


@pytest.mark.parametrize("zeros", [3, "all"])
def test_equal_count_hides_as_many_zeros_as_values(zeros: int | str) -> None:
    batch = _with_zeros(zeros)
    shown = np.bincount(
        batch.cell_of_token_T[(batch.values_T == 0) & (batch.feature_ids_T >= 3)].numpy(), minlength=batch.num_cells
    )
    chosen = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        masked_T = draw_balanced_mask(batch, generator, share=0.3, balance="equal_count", num_features=NUM_FEATURES)
        values, zeros_B = _counts(batch, masked_T)
        np.testing.assert_array_equal(zeros_B, np.minimum(values, shown))
        chosen.append(masked_T & (batch.values_T == 0))
    ever_T = torch.stack(chosen).any(0)
    assert ever_T[(batch.values_T == 0) & (batch.feature_ids_T >= 3)].all(), "every zero has its chance"


def test_every_balance_hides_the_same_values() -> None:
    batch = _with_zeros("all")
    hidden = [
        draw_balanced_mask(
            batch, torch.Generator().manual_seed(3), share=0.3, balance=balance, num_features=NUM_FEATURES
        )[batch.values_T != 0]
        for balance in ("same", "ratio10", "equal_count")
    ]
    assert torch.equal(hidden[0], hidden[1])
    assert torch.equal(hidden[0], hidden[2])


@pytest.mark.parametrize("zeros", [6, "all"])
def test_ratio10_hides_a_tenth_of_the_share_of_all_zero_genes(zeros: int | str) -> None:
    """Whether six zeros are tokens or all of them, as many are hidden: .05 of the cell's zero features."""
    batch = _with_zeros(zeros)
    values = torch.bincount(batch.cell_of_token_T[batch.values_T != 0], minlength=batch.num_cells).numpy()
    expected = 0.05 * (NUM_FEATURES - values)
    total = np.zeros(batch.num_cells)
    for seed in range(600):
        generator = torch.Generator().manual_seed(seed)
        masked_T = draw_balanced_mask(batch, generator, share=0.5, balance="ratio10", num_features=NUM_FEATURES)
        total += torch.bincount(
            batch.cell_of_token_T[masked_T & (batch.values_T == 0)], minlength=batch.num_cells
        ).numpy()
    error = np.sqrt(expected / 600)
    assert (np.abs(total / 600 - expected) < 4.5 * error).all()


def test_too_few_zero_tokens_are_all_hidden() -> None:
    batch = _with_zeros(1)
    masked_T = draw_balanced_mask(batch, torch.Generator(), share=0.9, balance="ratio10", num_features=10_000)
    assert masked_T[(batch.values_T == 0) & (batch.feature_ids_T >= 3)].all()


class _Linear(torch.nn.Module):
    """An encoder whose states are known numbers."""

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> CellStates:
        states_TD = torch.sin(torch.arange(batch.num_tokens * WIDTH).float()).view(-1, WIDTH)
        return CellStates(states_TD, states_TD[batch.cls_positions_B])


@pytest.mark.parametrize("norm", ["masked_count", "published"])
def test_the_published_regression_is_equation_5(norm: str) -> None:
    batch = _with_zeros("all")
    objective = _objective(
        mask_zeros=True, mask_balance="ratio10", target="value", loss_norm=norm, head="linear", mask_share=0.4
    )
    assert sum(p.numel() for p in objective.parameters()) == 2 * (WIDTH + 1), "one shared linear layer"
    with torch.no_grad():
        objective.state_mlp.weight.normal_(generator=torch.Generator().manual_seed(1))
    model = ToyModel(_Linear(), WIDTH)
    output = objective.on_cells(model, _genes(), batch, torch.Generator().manual_seed(5))
    masked_T = draw_balanced_mask(
        batch, torch.Generator().manual_seed(5), share=0.4, balance="ratio10", num_features=NUM_FEATURES
    )
    states_TD = _Linear()(batch, torch.empty(0)).tokens_TD
    squares, visible = 0.0, np.zeros(batch.num_cells, int)
    with torch.no_grad():
        for t, cell in enumerate(batch.cell_of_token_T.tolist()):
            if masked_T[t]:
                squares += float((objective.state_mlp(states_TD[t])[0] - batch.values_T[t]) ** 2)
            elif batch.values_T[t] != 0:
                visible[cell] += 1
    positions = int(masked_T.sum()) if norm == "masked_count" else (NUM_FEATURES - visible.max()) * batch.num_cells
    assert output.count == int(masked_T.sum())
    assert float(output.loss.detach()) == pytest.approx(squares / positions, rel=1e-5)
    hidden = hide(batch, masked_T, num_bins=NUM_BINS)
    found = objective.predict_values(model, hidden, _genes())
    torch.testing.assert_close(found, objective.state_mlp(states_TD[masked_T])[:, 0].detach())


@pytest.mark.parametrize(("head", "reads_row"), [("tied", True), ("mlp", False), ("linear", False)])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_only_the_tied_head_reads_the_row_of_the_gene(head: str, reads_row: bool, loss: str) -> None:
    objective = _objective(head=head, loss=loss)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    batch, model = _hidden(), ToyModel(_Linear(), WIDTH)
    genes, other = _genes(), GeneStates(_genes().table_GD + 1, _genes().table_GD + 1)
    same = torch.allclose(objective.predict_values(model, batch, genes), objective.predict_values(model, batch, other))
    assert same is not reads_row


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_balance": "ratio10"}, "mask_balance: got ratio10.*mask_zeros: true"),
        ({"loss": "cross_entropy", "target": "value"}, "target: got value.*loss: mse"),
        ({"loss": "cross_entropy", "loss_norm": "published"}, "loss_norm: got published.*loss: mse"),
        ({"classes": "rounded"}, "classes: got rounded.*loss: cross_entropy"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _objective(**options)
