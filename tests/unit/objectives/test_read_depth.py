"""Read-depth-aware masked values: what the model is shown, what it is asked, and what it cannot know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.binning import quantile_bins
from grn_cotrain.data.read_depth import counts_of
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.data.vocab import NUM_SPECIAL
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CellStates
from grn_cotrain.objectives import OBJECTIVES, GeneStates, LossOutput, ValuePredictor
from grn_cotrain.objectives.masked_value import MaskedValue
from grn_cotrain.objectives.read_depth import ReadDepth
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import ToyModel, toy_cells

WIDTH, NUM_BINS = 8, 4
CELLS = toy_cells(num_cells=20, num_genes=60, density=0.6)
ALWAYS = {"min_total": 0, "thin_share": 1.0}


class Spy(torch.nn.Module):
    """An encoder that tells nothing and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[PackedTokens] = []

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> CellStates:
        self.seen.append(batch)
        return CellStates(torch.ones(batch.num_tokens, WIDTH), torch.ones(batch.num_cells, WIDTH))


def objective_of(name: str = "read_depth", **options: Any) -> MaskedValue:
    objective = OBJECTIVES.build(name, options, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features)
    objective.prepare(Statistics(CELLS))
    assert isinstance(objective, MaskedValue)
    return objective


def raw_batch(zeros: Any = 0) -> PackedTokens:
    config = TokenConfig(num_bins=NUM_BINS, zeros_per_cell=zeros)
    return Tokenizer(CELLS, config).batch(np.arange(CELLS.num_cells)).pack()


def genes() -> GeneStates:
    table_GD = torch.randn(CELLS.num_features, WIDTH, generator=torch.Generator().manual_seed(0))
    return GeneStates(table_GD, table_GD)


def run(objective: MaskedValue, batch: PackedTokens, seed: int = 0) -> tuple[PackedTokens, LossOutput]:
    """What the encoder saw, and the record."""
    spy = Spy()
    output = objective.on_cells(ToyModel(spy, WIDTH), genes(), batch, torch.Generator().manual_seed(seed))
    return spy.seen[0], output


def test_the_model_sees_the_thinned_cell_and_both_depths() -> None:
    batch = raw_batch(zeros="all")
    shown, output = run(objective_of(mask_zeros=True, **ALWAYS), batch)
    assert shown.masked_T is not None
    assert shown.total_B is not None
    assert batch.total_B is not None
    visible_T = ~shown.masked_T
    raw_T, kept_T = counts_of(batch)[visible_T], counts_of(shown)[visible_T]
    assert (kept_T <= raw_T).all()
    assert (kept_T < raw_T).any()
    assert ((kept_T == 0) & (raw_T > 0)).any()
    torch.testing.assert_close(shown.depth_B2, torch.stack([batch.total_B.log1p(), shown.total_B.log1p()], dim=1))
    assert output.metrics["reads_kept"] == pytest.approx(float((shown.total_B / batch.total_B).mean()), rel=1e-4)
    # Visible values are binned among themselves.
    bins = quantile_bins(shown.values_T[visible_T], shown.cell_of_token_T[visible_T], NUM_BINS)
    assert torch.equal(shown.bins_T[visible_T], bins)


def test_no_target_is_in_the_batch_and_none_changes_it() -> None:
    """Hidden values of two genes are exchanged: totals stay, and what is shown stays to the bit; the loss does not."""
    objective = objective_of(**ALWAYS)
    batch = raw_batch()
    shown, output = run(objective, batch)
    masked_T = shown.masked_T
    assert masked_T is not None
    assert (shown.values_T[masked_T] == 0).all()
    assert (shown.bins_T[masked_T] == 0).all()
    where_M = torch.nonzero(masked_T).squeeze(1)
    cell_M = batch.cell_of_token_T[where_M]
    values_T = batch.values_T.clone()
    for cell in range(batch.num_cells):
        mine_M = where_M[cell_M == cell]
        values_T[mine_M] = batch.values_T[mine_M.roll(1)]
    other, changed = run(objective, replace(batch, values_T=values_T))
    for name in ("feature_ids_T", "values_T", "bins_T", "masked_T", "total_B", "depth_B2"):
        assert torch.equal(getattr(shown, name), getattr(other, name)), name
    assert not torch.equal(output.loss, changed.loss)


@pytest.mark.parametrize("target", ["standardised", "value"])
def test_the_target_is_the_raw_value(target: str) -> None:
    """An untrained head gives 0, so its loss is the mean square of the targets."""
    objective = objective_of(target=target, **ALWAYS)
    batch = raw_batch()
    shown, output = run(objective, batch)
    assert shown.masked_T is not None
    value_M = batch.values_T[shown.masked_T]
    gene_M = batch.feature_ids_T[shown.masked_T] - NUM_SPECIAL
    expected_M = value_M if target == "value" else (value_M - objective.mean_G[gene_M]) / objective.std_G[gene_M]
    assert float(output.loss.detach()) == pytest.approx(float(expected_M.square().mean()), rel=1e-5)
    assert output.count == len(value_M)


def test_classes_are_bins_of_the_raw_cell() -> None:
    objective = objective_of(loss="cross_entropy", **ALWAYS)
    batch = raw_batch()
    with torch.no_grad():
        objective.state_mlp[-1].bias.copy_(torch.arange(NUM_BINS + 1.0))  # type: ignore[index, union-attr]
    shown, output = run(objective, batch)
    log_p_K = torch.arange(NUM_BINS + 1.0).log_softmax(0)
    assert shown.masked_T is not None
    assert float(output.loss.detach()) == pytest.approx(float(-log_p_K[batch.bins_T[shown.masked_T]].mean()), rel=1e-5)


def test_without_down_sampling_it_is_masked_value() -> None:
    """Cells below ``min_total`` keep their reads; so do all with ``thin_share: 0``."""
    batch = raw_batch()
    assert batch.total_B is not None
    plain, expected = run(objective_of("masked_value"), batch)
    for options in ({"thin_share": 0.0, "min_total": 0}, {"thin_share": 1.0, "min_total": float(batch.total_B.max())}):
        shown, output = run(objective_of(**options), batch)
        assert output.metrics["reads_kept"] == pytest.approx(1.0)
        assert torch.equal(output.loss, expected.loss)
        assert plain.masked_T is not None
        visible_T = ~plain.masked_T
        assert torch.equal(shown.masked_T, plain.masked_T)  # type: ignore[arg-type]
        assert torch.equal(shown.values_T[visible_T], plain.values_T[visible_T])
        assert torch.equal(shown.bins_T[visible_T], plain.bins_T[visible_T])
        assert torch.equal(shown.depth_B2[:, 0], shown.depth_B2[:, 1])  # type: ignore[index]


def test_values_are_predicted_at_the_cells_own_depth_unless_another_is_asked_for() -> None:
    objective = objective_of()
    assert isinstance(objective, ReadDepth)
    assert isinstance(objective, ValuePredictor)
    batch = raw_batch()
    batch = batch.with_mask(batch.values_T > 2)
    spy = Spy()
    objective.predict_values(ToyModel(spy, WIDTH), batch, genes())
    deeper = torch.full((batch.num_cells, 2), 9.0)
    objective.predict_values(ToyModel(spy, WIDTH), replace(batch, depth_B2=deeper), genes())
    assert batch.total_B is not None
    assert torch.equal(spy.seen[0].depth_B2, batch.total_B.log1p()[:, None].expand(-1, 2))  # type: ignore[arg-type]
    assert torch.equal(spy.seen[0].values_T, batch.values_T)
    assert torch.equal(spy.seen[1].depth_B2, deeper)  # type: ignore[arg-type]


def test_log_scale_cells_are_refused_with_the_fix() -> None:
    objective = OBJECTIVES.build("read_depth", {}, width=WIDTH, num_bins=NUM_BINS, num_genes=30)
    with pytest.raises(UserError, match=r"give raw counts.*masked_value") as caught:
        objective.prepare(Statistics(toy_cells(kind="log"), np.arange(12)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"thin_share": 1.5}, {"rate_alpha": 0}, {"rate_beta": -1}, {"min_total": -1}, {"mask_share": 0}]
)
def test_bad_settings_are_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        objective_of(**options)
