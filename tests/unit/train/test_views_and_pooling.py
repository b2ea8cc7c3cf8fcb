"""Each view is encoded once, and a loss over all cells of a step has the gradient of one large batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.objectives import Encodings, PooledStates, Step
from grn_cotrain.objectives.reading import cell_losses, draw_views, views_read
from grn_cotrain.train.build import build_model
from grn_cotrain.train.pooling import MicroBatch
from grn_cotrain.train.step import StepInputs, accumulate_gradients
from grn_cotrain.train.weighting import FixedWeighting
from tests.cases.contrastive import ToyContrastive
from tests.worlds import make_batched_world, tiny_recipe

SCGPT = {"name": "scgpt", "num_layers": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def world(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of two batches."""
    return make_batched_world(tiny_world, tmp_path_factory.mktemp("views") / "prep")


def build(world: Path, objectives: dict[str, Any], encoder: dict[str, Any] | None = None) -> CoTrainNetwork:
    recipe = tiny_recipe(
        world,
        model={"cell_encoder": encoder or SCGPT, "tokens": {"covariates": ["batch"]}},
        objectives=objectives,
    )
    return build_model(recipe, load_run_data(recipe))


def micro_batches(model: CoTrainNetwork, world: Path, count: int, *, double: bool = False) -> list[MicroBatch]:
    data = load_run_data(tiny_recipe(world))
    tokenizer = Tokenizer(data.cells, model.config.tokens, model.inputs.covariates)
    stream = CellStream(tokenizer, np.arange(40), tokens_per_batch=500, seed=0)
    found = []
    for index in range(count):
        tokens = next(stream).pack()
        if double:
            tokens = replace(tokens, values_T=tokens.values_T.double())
        found.append(MicroBatch(index, tokens, torch.Generator().manual_seed(10 + index)))
    return found


def step_inputs(model: CoTrainNetwork, cells: list[MicroBatch], reseed: Callable[[int | None], None]) -> StepInputs:
    return StepInputs(model.graph, cells, None, torch.Generator().manual_seed(1), len(cells), reseed)


class Passes:
    """Counts what the encoder is given."""

    def __init__(self, model: CoTrainNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: list[Tensor] = []
        plain = model.encode_cells

        def counted(*given: Any, **more: Any) -> Any:
            states = plain(*given, **more)
            self.states.append(states.cells_BD.detach())
            return states

        monkeypatch.setattr(model, "encode_cells", counted)


FOUR = {"generative": {}, "gene_from_cell": {}, "adversarial_covariate": {}, "masked_value": {}}


@pytest.mark.parametrize(
    ("objectives", "passes"),
    [
        (FOUR, 3),  # generative twice (the second is prompted by the first), masked values
        ({**FOUR, "gene_from_cell": {"view": "own"}, "adversarial_covariate": {"view": "clean"}}, 5),
        ({**FOUR, "gene_from_cell": {"mask_share": 0.4}}, 4),  # what it hides is its own affair
        ({"gene_from_cell": {}, "adversarial_covariate": {}}, 2),
        ({"masked_value": {}, "gene_from_cell": {}, "adversarial_covariate": {}}, 1),
        ({"masked_value": {}, "generative": {}, "gene_from_cell": {"view": "generative"}}, 3),
    ],
)
def test_each_view_is_encoded_once(
    objectives: dict[str, Any], passes: int, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(world, objectives)
    seen = Passes(model, monkeypatch)
    (batch,) = micro_batches(model, world, 1)
    inputs = step_inputs(model, [batch], lambda number: None)
    report = accumulate_gradients(model, FixedWeighting({}), inputs, frozenset(objectives), step=0)
    assert len(seen.states) == passes
    assert set(report.losses) == set(objectives)


def test_a_borrowed_view_is_the_view_of_its_owner(world: Path) -> None:
    model = build(world, {"masked_value": {}, "gene_from_cell": {}, "adversarial_covariate": {}})
    (batch,) = micro_batches(model, world, 1)
    genes = model.encode_graph(generator=torch.Generator())

    def draw(*names: str) -> Any:
        return draw_views(model, model.objectives, batch.tokens, torch.Generator().manual_seed(3), names)

    views = draw("masked_value", "gene_from_cell", "adversarial_covariate")
    assert len({view for (view,) in views.values()}) == 1
    alone = draw("gene_from_cell")  # the owner of a view draws the same, alone or with others
    assert torch.equal(alone["gene_from_cell"][0].where_M, views["masked_value"][0].where_M)
    generator = torch.Generator().manual_seed(3)
    outputs = cell_losses(model, model.objectives, genes, batch.tokens, generator, ("gene_from_cell", "masked_value"))
    assert outputs["gene_from_cell"].count == outputs["masked_value"].count > 0


@pytest.mark.parametrize(
    ("objectives", "text"),
    [
        ({"masked_value": {}, "gene_from_cell": {"view": "masked_valu"}}, "gene_from_cell.view 'masked_valu'.*did you"),
        ({"gene_from_cell": {"view": "clean"}}, "view: got clean"),
        ({"masked_gene": {}, "adversarial_covariate": {"view": "masked_gene"}}, "view 'masked_gene'.*hides values"),
        ({"masked_value": {}, "gene_from_cell": {"view": "masked_value", "mask_share": 0.2}}, "mask_share: got 0.2"),
    ],
)
def test_a_view_that_nobody_draws_is_refused(objectives: dict[str, Any], text: str, world: Path) -> None:
    with pytest.raises(UserError, match=text) as caught:
        build(world, objectives)
    assert "\n" not in str(caught.value)


def test_views_by_default(world: Path) -> None:
    assert views_read(build(world, FOUR).objectives) == {
        "generative": ("generative",),
        "gene_from_cell": ("generative",),
        "adversarial_covariate": ("generative",),
        "masked_value": ("masked_value",),
    }


def gradients(model: CoTrainNetwork) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_a_contrastive_loss_over_micro_batches_is_that_of_one_batch(world: Path) -> None:
    encoder = {"name": "transformer", "num_layers": 1, "num_heads": 2, "dropout": 0.0}
    model = build(world, {"masked_value": {}}, encoder)
    model.objectives["contrastive"] = ToyContrastive(model.config.width, model.config.tokens.num_bins)
    model = model.double().train()
    cells = micro_batches(model, world, 3, double=True)
    torch.manual_seed(5)
    active, weighting = frozenset({"contrastive", "masked_value"}), FixedWeighting({"contrastive": 0.3})
    report = accumulate_gradients(model, weighting, step_inputs(model, cells, lambda number: None), active, step=0)
    found = gradients(model)

    model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    genes = model.encode_graph(model.graph, generator=torch.Generator().manual_seed(1))
    parts, hidden, clean = [], [], []
    for batch in micro_batches(model, world, 3, double=True):
        views = draw_views(model, model.objectives, batch.tokens, batch.generator, active)
        encodings = Encodings(model, genes)
        for into, view in zip((hidden, clean), views["contrastive"], strict=True):
            into.append(PooledStates(encodings.of(view).cells_BD, view.tokens.cell_index_B))
        (view,) = views["masked_value"]
        squared_M = _squared_errors(model, encodings, genes, view)
        parts.append(squared_M)
    pooled = [
        PooledStates(torch.cat([one.cells_ND for one in every]), torch.cat([one.cell_index_N for one in every]))
        for every in (hidden, clean)
    ]
    contrastive = model.objective("contrastive").pooled(model, genes, pooled).loss
    total = torch.cat(parts).mean() + 0.3 * contrastive
    total.backward()
    assert report.losses["contrastive"] == pytest.approx(float(contrastive.detach()))
    assert report.losses["masked_value"] == pytest.approx(float(torch.cat(parts).mean().detach()))
    plain = gradients(model)
    assert found.keys() == plain.keys()
    assert {"objectives.contrastive.head.weight", "table.id_GD"} <= plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9, msg=name)


def _squared_errors(model: CoTrainNetwork, encodings: Encodings, genes: Any, view: Any) -> Tensor:
    """Squared errors of masked values, one by one, in the order of the hidden tokens."""
    objective: Any = model.objective("masked_value")
    outputs_MK = objective._outputs(model, Step(genes, (view,), encodings))
    gene_M = view.genes_M
    return (outputs_MK[:, 0] - (view.values_M - objective.mean_G[gene_M]) / objective.std_G[gene_M]).square()


def test_states_of_the_leaves_are_the_states_that_are_trained(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws the same for the leaves as for the pass that carries their gradient on."""
    encoder = {"name": "transformer", "num_layers": 1, "num_heads": 2, "dropout": 0.4}
    model = build(world, {"masked_value": {}}, encoder)
    model.objectives["contrastive"] = ToyContrastive(model.config.width, model.config.tokens.num_bins)
    model.train()
    cells = micro_batches(model, world, 2)
    seen = Passes(model, monkeypatch)
    inputs = step_inputs(model, cells, lambda number: torch.manual_seed(100 + (number or 0)))
    accumulate_gradients(model, FixedWeighting({}), inputs, frozenset({"contrastive", "masked_value"}), step=0)
    leaves, trained = seen.states[:4], seen.states[4:]
    assert len(trained) == 6  # two views of the contrastive loss and the one of masked values, two micro-batches
    for state_BD in leaves:
        assert any(state_BD.shape == other.shape and torch.equal(state_BD, other) for other in trained)
