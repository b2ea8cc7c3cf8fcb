"""scGPT's objectives against losses computed by hand.

Dimension letters: T packed tokens, B cells, D width, M hidden tokens.
"""

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
from grn_cotrain.errors import UserError
from grn_cotrain.nn.cell_encoders import CELL_ENCODERS, CellStates
from grn_cotrain.objectives import OBJECTIVES, GeneStates, Objective, ValuePredictor
from grn_cotrain.objectives.adversarial_batch import reverse_gradient
from grn_cotrain.objectives.masking import draw_mask, hide
from grn_cotrain.objectives.value_target import ConfidentPredictor, ValueTarget
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import Given, ToyModel, toy_cells

WIDTH, NUM_BINS = 8, 4
CELLS = toy_cells(40, seed=5)


class Watching(torch.nn.Module):
    """An encoder that keeps what it was shown and returns fixed states, other ones for every call."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[PackedTokens] = []
        self.states: list[CellStates] = []

    def forward(self, batch: PackedTokens, features_VD: Tensor) -> CellStates:
        generator = torch.Generator().manual_seed(len(self.batches))
        tokens_TD = torch.randn(batch.num_tokens, WIDTH, generator=generator).requires_grad_()
        self.batches.append(batch)
        self.states.append(CellStates(tokens_TD, tokens_TD[batch.cls_positions_B]))
        return self.states[-1]


def build(name: str, *, covariates: dict[str, int] | None = None, **options: Any) -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = OBJECTIVES.build(
            name, options, width=WIDTH, num_bins=NUM_BINS, num_genes=CELLS.num_features, covariates=covariates or {}
        )
        for weight in objective.parameters():  # heads that start at 0 would hide mistakes
            torch.nn.init.normal_(weight, std=0.5)
    objective.prepare(Statistics(CELLS))
    return objective


def tokens(rows: int = 12, cells: MemoryStore = CELLS, **config: Any) -> PackedTokens:
    return Tokenizer(cells, TokenConfig(num_bins=NUM_BINS, zeros_per_cell=4, **config)).batch(np.arange(rows)).pack()


def step(batch: PackedTokens | None = None, seed: int = 1) -> Given:
    table_GD = torch.randn(CELLS.num_features, WIDTH, generator=torch.Generator().manual_seed(0))
    return Given(GeneStates(table_GD, table_GD), batch or tokens(), torch.Generator().manual_seed(seed))


def standardised(batch: PackedTokens) -> Tensor:
    """Values standardised by hand over the non-zero values of all cells, with three pseudo-observations."""
    values = np.asarray(CELLS.normalised().todense(), dtype=np.float64)
    overall = values[values > 0].mean()
    mean, residuals = {}, []
    for gene in range(CELLS.num_features):
        seen = values[values[:, gene] > 0, gene]
        mean[gene] = (seen.sum() + 3 * overall) / (len(seen) + 3)
        residuals += [(seen - mean[gene]) ** 2]
    spread = np.concatenate(residuals).mean()
    found = torch.zeros(batch.num_tokens)
    for t, (gene, value) in enumerate(zip((batch.feature_ids_T - 3).tolist(), batch.values_T.tolist(), strict=True)):
        if gene >= 0:
            squares = residuals[gene]
            found[t] = (value - mean[gene]) / max(0.05, np.sqrt((squares.sum() + 3 * spread) / (len(squares) + 3)))
    return found


@pytest.mark.parametrize("target", ["value", "bin"])
@pytest.mark.parametrize("zeros", [False, True])
def test_both_passes_have_the_loss_of_the_equation(target: str, zeros: bool) -> None:
    objective, encoder, here = (
        build("generative", target=target, hide_zeros=zeros, cell_prompt_weight=0.7),
        Watching(),
        step(),
    )
    output = here.score(objective, ToyModel(encoder, WIDTH))
    first, second = encoder.batches
    is_gene_T = here.cells.feature_ids_T >= 3
    nonzero_T = here.cells.values_T != 0
    total = 0.0
    for batch, states, weight, asked_T, prefix in (
        (first, encoder.states[0], 1.0, first.masked_T, ""),
        (second, encoder.states[1], 0.7, is_gene_T if zeros else nonzero_T, "cell_prompt_"),
    ):
        y_T = here.cells.bins_T / NUM_BINS - 0.5 if target == "bin" else standardised(here.cells)
        found_TK = objective.value_mlp(states.tokens_TD)
        error = (found_TK[:, 0] - y_T)[asked_T & nonzero_T].square().mean()
        torch.testing.assert_close(output.parts[f"{prefix}squared_error"].mean, error, rtol=1e-4, atol=1e-6)
        total += weight * float(error.detach())
        if zeros:
            chance_T = torch.sigmoid(found_TK[:, 1])
            right_T = torch.where(nonzero_T, chance_T, 1 - chance_T)
            total -= weight * float(right_T[asked_T].log().mean().detach())
        assert torch.equal(batch.hidden_T[~is_gene_T], torch.zeros(batch.num_cells, dtype=torch.bool))
    assert float(output.loss.detach()) == pytest.approx(total, rel=1e-4)
    assert output.count == int(first.masked_T.sum())
    assert first.prompt_BD is None
    assert torch.equal(second.prompt_BD, encoder.states[0].cells_BD)
    assert torch.equal(second.hidden_T, is_gene_T)
    assert bool(first.hidden_T[is_gene_T & ~nonzero_T].any()) is zeros


def test_the_second_pass_may_show_what_the_first_one_showed() -> None:
    """scGPT's code: the same known genes, the same unknown ones asked, and the cell's state in the place of CLS."""
    objective, encoder, here = (
        build("generative", second_pass="known_visible", cell_prompt_weight=0.7),
        Watching(),
        step(),
    )
    output = here.score(objective, ToyModel(encoder, WIDTH))
    first, second = encoder.batches
    assert torch.equal(second.hidden_T, first.hidden_T)
    assert torch.equal(second.bins_T, first.bins_T)
    assert torch.equal(second.prompt_BD, encoder.states[0].cells_BD)
    asked_T, y_T = first.hidden_T, standardised(here.cells)
    errors = [(objective.value_mlp(states.tokens_TD)[:, 0] - y_T)[asked_T].square().mean() for states in encoder.states]
    torch.testing.assert_close(output.parts["cell_prompt_squared_error"].mean, errors[1], rtol=1e-4, atol=1e-6)
    assert float(output.loss.detach()) == pytest.approx(float((errors[0] + 0.7 * errors[1]).detach()), rel=1e-4)


def test_shares_are_drawn_for_each_cell() -> None:
    objective = build("generative", shares=[0.2, 0.8])
    cells = toy_cells(200, 300, density=0.9)
    batch = tokens(200, cells)
    unknown_T = objective.draw_unknown(batch, torch.Generator().manual_seed(0)).float()
    nonzero_T = (batch.values_T != 0).float()
    cell_T = batch.cell_of_token_T
    share_B = torch.bincount(cell_T, unknown_T) / torch.bincount(cell_T, nonzero_T)
    few_B = share_B < 0.5
    assert 0.4 < float(few_B.float().mean()) < 0.6
    torch.testing.assert_close(share_B[few_B].mean(), torch.tensor(0.2), atol=0.01, rtol=0)
    torch.testing.assert_close(share_B[~few_B].mean(), torch.tensor(0.8), atol=0.01, rtol=0)
    assert share_B[few_B].max() < 0.35


@pytest.mark.parametrize("through", [False, True])
def test_the_prompt_trains_the_cell_only_on_demand(through: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = CELL_ENCODERS.build(
            "scgpt", {}, width=WIDTH, num_bins=NUM_BINS, num_modalities=3, num_genes=CELLS.num_features
        )
    model, here = ToyModel(encoder, WIDTH), step()
    prompts: list[Tensor] = []
    plain = model.encode_cells

    def watched(batch: PackedTokens, genes: GeneStates) -> CellStates:
        if batch.prompt_BD is not None:
            prompts.append(batch.prompt_BD)
        return plain(batch, genes)

    model.encode_cells = watched
    here.score(build("generative", prompt_gradient=through), model).loss.backward()
    assert prompts[0].requires_grad is through


def test_the_spread_is_the_squared_error_and_moves_nothing_else() -> None:
    """With one spread for all tokens, its best value is the mean squared error; loss and states do not feel it."""
    objective, encoder, here = build("generative", cell_prompt_weight=0.0), Watching(), step(tokens(40))
    bias = objective.spread_mlp[-1].bias
    torch.nn.init.zeros_(objective.spread_mlp[-1].weight)
    optimizer = torch.optim.Adam([bias], lr=0.1)
    for _ in range(120):
        encoder.batches.clear()
        output = step(tokens(40)).score(objective, ToyModel(encoder, WIDTH))
        optimizer.zero_grad()
        output.loss.backward(inputs=[bias], retain_graph=True)
        optimizer.step()
    error = output.parts["squared_error"].mean
    assert float(output.loss.detach()) == pytest.approx(float(error.detach()))
    assert isinstance(objective, ConfidentPredictor)
    guess = objective.guess_values(ToyModel(encoder, WIDTH), encoder.batches[-1], here.genes)
    torch.testing.assert_close(guess.spread_M.square().mean(), error.detach(), rtol=0.02, atol=0.0)
    states_TD = encoder.states[-2].tokens_TD
    plain, found = (torch.autograd.grad(loss, states_TD, retain_graph=True)[0] for loss in (error, output.loss))
    assert float(plain.abs().sum()) > 0
    assert torch.equal(plain, found)


def test_values_are_read_back_from_targets() -> None:
    batch = tokens()
    batch = hide(batch, draw_mask(batch, torch.Generator(), share=0.4), num_bins=NUM_BINS)
    where_M = torch.nonzero(batch.hidden_T).squeeze(1)
    for target in ("value", "bin"):
        scale = ValueTarget(target, num_bins=NUM_BINS, num_genes=CELLS.num_features)
        scale.prepare(Statistics(CELLS))
        found_M = scale.values(batch, where_M, scale.of(batch, where_M))
        if target == "value":
            torch.testing.assert_close(found_M, batch.values_T[where_M], rtol=1e-4, atol=1e-4)
            continue
        for value, t in zip(found_M.tolist(), where_M.tolist(), strict=True):
            same = (batch.cell_of_token_T == batch.cell_of_token_T[t]) & ~batch.hidden_T & (batch.values_T > 0)
            of_bin = batch.values_T[same & (batch.bins_T == batch.bins_T[t])]
            if len(of_bin):
                assert value == pytest.approx(float(of_bin.mean()), rel=1e-5)
        # Half way between two bins lies half way between their values.
        half = scale.values(batch, where_M[:1], torch.tensor([1.5 / NUM_BINS - 0.5]))
        low, high = (scale.values(batch, where_M[:1], torch.tensor([k / NUM_BINS - 0.5])) for k in (1, 2))
        torch.testing.assert_close(half, (low + high) / 2)


def test_a_cell_that_shows_nothing_takes_the_bins_of_training_cells() -> None:
    scale = ValueTarget("bin", num_bins=NUM_BINS, num_genes=CELLS.num_features)
    scale.prepare(Statistics(CELLS))
    batch = tokens(CELLS.num_cells)
    hidden = hide(batch, batch.feature_ids_T >= 3, num_bins=NUM_BINS)
    where_M = torch.nonzero(batch.values_T != 0).squeeze(1)
    found_M = scale.values(hidden, where_M, scale.of(hidden, where_M))
    for k in range(1, NUM_BINS + 1):
        of_bin_M = batch.bins_T[where_M] == k
        expected = batch.values_T[where_M][of_bin_M].mean()
        torch.testing.assert_close(found_M[of_bin_M], expected.expand(int(of_bin_M.sum())), rtol=1e-4, atol=1e-5)


def test_every_guess_says_how_far_it_may_be_off() -> None:
    """The deviation is the spread on the scale of values: by the gene for values, by the local slope for bins."""
    here = step(tokens(40))
    for target in ("value", "bin"):
        objective, model = build("generative", target=target), ToyModel(Watching(), WIDTH)
        batch = hide(here.cells, objective.draw_unknown(here.cells, torch.Generator()), num_bins=NUM_BINS)
        guess = objective.guess_values(model, batch, here.genes)
        assert float(guess.deviation_M.min()) > 0, target
        if target == "value":
            gene_M = batch.feature_ids_T[batch.hidden_T] - 3
            torch.testing.assert_close(guess.deviation_M, objective.target.std_G[gene_M] * guess.spread_M)


@pytest.mark.parametrize("name", ["generative", "gene_from_cell"])
def test_the_scale_of_bins_is_an_option_of_bins(name: str) -> None:
    losses = {}
    for scale in ("unit", "published"):
        objective = build(name, target="bin", bin_scale=scale)
        losses[scale] = float(step().score(objective, ToyModel(Watching(), WIDTH)).loss.detach())
    assert losses["published"] == pytest.approx(NUM_BINS**2 * losses["unit"], rel=1e-5)
    with pytest.raises(UserError, match=r"bin_scale: got published.*target: bin"):
        build(name, bin_scale="published")


def test_genes_from_cells_are_inner_products() -> None:
    objective, encoder, here = (
        build("gene_from_cell", covariates={"batch": 2}, covariate_dropout=0.0),
        Watching(),
        step(),
    )
    here = replace(here, cells=replace(here.cells, covariates_BK=torch.arange(12)[:, None] % 3 - 1))
    output = here.score(objective, ToyModel(encoder, WIDTH))
    batch, states, y_T = encoder.batches[0], encoder.states[0], standardised(here.cells)
    errors, values = [], []
    for t in torch.nonzero(batch.masked_T).squeeze(1).tolist():
        cell = int(batch.cell_of_token_T[t])
        code = int(here.cells.covariates_BK[cell, 0])
        told_D = objective.state_map(states.cells_BD[cell]) + objective.conditions.rows.weight[code if code >= 0 else 2]
        query_D = objective.query(here.genes.table_GD[batch.feature_ids_T[t] - 3])
        found = float((query_D * told_D).sum().detach()) / WIDTH**0.5
        errors.append((found - float(y_T[t])) ** 2)
        values.append(float(objective.target.values(batch, torch.tensor([t]), torch.tensor([found]))))
    assert float(output.loss.detach()) == pytest.approx(np.mean(errors), rel=1e-4)
    assert output.count == len(errors)
    assert isinstance(objective, ValuePredictor)
    encoder.batches.clear()
    predicted_M = objective.predict_values(ToyModel(encoder, WIDTH), batch, here.genes)
    torch.testing.assert_close(predicted_M, torch.tensor(values), rtol=1e-3, atol=1e-4)


def adversary(ramp: int = 0, **options: Any) -> Objective:
    covariates = {"donor": 5, "batch": 3}
    return build("adversarial_covariate", covariates=covariates, strength=2.0, ramp_steps=ramp, **options)


def with_codes(codes: list[int]) -> PackedTokens:
    code_BK = torch.tensor([[0, code] for code in codes])
    return replace(tokens(len(codes)), covariates_BK=code_BK)


@pytest.mark.parametrize("standardise", [True, False])
def test_the_classifier_descends_and_the_encoder_climbs(standardise: bool) -> None:
    objective, encoder = adversary(standardise=standardise), Watching()
    output = step(with_codes([0, 2, -1, 1, 2, 2])).score(objective, ToyModel(encoder, WIDTH))
    kept, codes = torch.tensor([0, 1, 3, 4, 5]), torch.tensor([0, 2, 1, 2, 2])
    state_ND = encoder.states[0].cells_BD[kept]
    if standardise:
        state_ND = (state_ND - state_ND.mean(0)) / (state_ND.var(0, correction=0) + 1e-5).sqrt()
    logits_NC = objective.classifier(state_ND)
    expected = -logits_NC.log_softmax(-1)[torch.arange(5), codes].mean()
    torch.testing.assert_close(output.loss, expected)
    assert output.count == 5
    assert output.metrics["majority"] == pytest.approx(3 / 5)
    assert output.metrics["accuracy"] == pytest.approx(float((logits_NC.argmax(-1) == codes).float().mean()))
    tokens_TD, weight = encoder.states[0].tokens_TD, objective.classifier[0].weight
    plain = torch.autograd.grad(expected, [tokens_TD, weight], retain_graph=True)
    found = torch.autograd.grad(output.loss, [tokens_TD, weight])
    torch.testing.assert_close(found[0], -2.0 * plain[0])
    torch.testing.assert_close(found[1], plain[1])


def test_a_classifier_of_speed_ten_takes_adams_steps_tenfold() -> None:
    """The same map, the same gradient of its weights as stored, and ten times the step."""
    moved = {}
    for speed in (1.0, 10.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            objective = OBJECTIVES.build(
                "adversarial_covariate",
                {"speed": speed, "num_layers": 0},
                width=WIDTH,
                num_bins=NUM_BINS,
                num_genes=CELLS.num_features,
                covariates={"donor": 5, "batch": 3},
            )
        layer, eye = objective.classifier[0], torch.eye(WIDTH)
        before = layer(eye).detach()
        optimizer = torch.optim.Adam([layer.weight], lr=1e-3)
        step(with_codes([0, 2, -1, 1, 2, 2])).score(objective, ToyModel(Watching(), WIDTH)).loss.backward()
        optimizer.step()
        moved[speed] = (before, layer.weight.grad, layer(eye).detach() - before)
    for slow, quick, factor in zip(moved[1.0], moved[10.0], (1, 1, 10), strict=True):
        torch.testing.assert_close(quick, factor * slow, rtol=1e-3, atol=1e-5)


def test_reversal_is_the_identity_forwards() -> None:
    x = torch.randn(4, 3, generator=torch.Generator()).requires_grad_()
    assert torch.equal(reverse_gradient(x, 3.0), x)
    reverse_gradient(x, 3.0).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, -3.0))


def test_the_ramp_counts_training_calls_and_is_saved() -> None:
    objective, model = adversary(ramp=4), ToyModel(Watching(), WIDTH)
    here = step(with_codes([0, 1, 2]))
    found = []
    for _ in range(6):
        found.append(objective.strength_now())
        here.score(objective, model)
    expected = [2.0 * (2 / (1 + np.exp(-10 * min(1, n / 4))) - 1) for n in range(6)]
    assert found == pytest.approx(expected)
    other = adversary(ramp=4)
    other.load_state_dict(objective.state_dict())
    assert other.strength_now() == objective.strength_now()
    here.score(objective.eval(), model)
    assert int(objective.calls) == 6


@pytest.mark.parametrize(
    ("covariates", "text"),
    [({}, r"covariate 'batch': not among model.tokens.covariates \(none\)"), ({"batch": 1}, "one category")],
)
def test_what_cannot_be_told_is_refused(covariates: dict[str, int], text: str) -> None:
    with pytest.raises(UserError, match=text):
        build("adversarial_covariate", covariates=covariates)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("generative", {"shares": []}, "shares: got none"),
        ("generative", {"shares": [0.5, 1.5]}, "shares: got 0.5, 1.5"),
        ("generative", {"cell_prompt_weight": -1.0}, "cell_prompt_weight: got -1"),
        ("gene_from_cell", {"mask_share": 1.0}, "mask_share: got 1"),
        ("gene_from_cell", {"covariate_dropout": 1.0}, "covariate_dropout: got 1"),
        ("adversarial_covariate", {"strength": -0.5}, "strength: got -0.5"),
        ("adversarial_covariate", {"ramp_steps": -1}, "ramp_steps: got -1"),
        ("adversarial_covariate", {"speed": 0.0}, "speed: got 0"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        OBJECTIVES.config(name, options)
