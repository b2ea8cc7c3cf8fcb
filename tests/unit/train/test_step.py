"""One optimiser step: encoding the graph once must give the gradients of plain backpropagation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from grn_cotrain.data.negatives import LinkSampler
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.data.streams import CellStream
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.objectives import Step
from grn_cotrain.train.build import build_model
from grn_cotrain.train.pooling import MicroBatch
from grn_cotrain.train.step import StepInputs, accumulate_gradients, gradient_cosine
from grn_cotrain.train.weighting import FixedWeighting
from tests.worlds import tiny_recipe

ACTIVE = frozenset({"masked_value", "link_prediction"})


def _setup(world: Path, coupling: str) -> tuple[CoTrainNetwork, StepInputs]:
    recipe = tiny_recipe(
        world,
        model={"coupling": coupling, "table": {"id_dropout": 0.2}, "cell_encoder": {"dropout": 0.0}},
        objectives={"masked_value": {}, "link_prediction": {}},
    )
    data = load_run_data(recipe)
    model = build_model(recipe, data).double().train()
    with torch.no_grad():  # the masked-value head starts at zero, where most gradients vanish
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    stream = CellStream(Tokenizer(data.cells, recipe.model.tokens), np.arange(60), tokens_per_batch=600, seed=0)
    links = LinkSampler(data.split, positives_per_step=32).draw(np.random.default_rng(0))
    inputs = StepInputs(
        graph=model.graph.without(links.drop_2M),
        cells=[MicroBatch(i, _double(next(stream).pack()), torch.Generator().manual_seed(10 + i)) for i in range(3)],
        links=links,
        table_generator=torch.Generator().manual_seed(1),
        num_micro_batches=3,
    )
    return model, inputs


def _double(batch):
    from dataclasses import replace

    return replace(batch, values_T=batch.values_T.double())


def _gradients(model: CoTrainNetwork) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("coupling", ["shared", "residual", "gated", "attention_bias"])
def test_encoding_the_graph_once_is_exact(tiny_world: Path, coupling: str) -> None:
    model, inputs = _setup(tiny_world, coupling)
    torch.manual_seed(5)  # the graph encoder's dropout
    accumulate_gradients(model, FixedWeighting({"link_prediction": 0.7}), inputs, ACTIVE, step=0)
    once = _gradients(model)

    model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    genes = model.encode_graph(inputs.graph, generator=torch.Generator().manual_seed(1))  # no detaching: the reference
    total = 0.7 * model.objective("link_prediction")(model, Step(genes, links=inputs.links)).loss
    outputs = []
    for batch in inputs.cells:
        generator = torch.Generator().manual_seed(10 + batch.index)
        outputs.append(model.objective("masked_value").on_cells(model, genes, batch.tokens, generator))
    parts = [output.parts["squared_error"] for output in outputs]
    assert len({part.count for part in parts}) > 1, "micro-batches of one size would not tell means of means apart"
    total = total + torch.stack([part.sum for part in parts]).sum() / sum(part.count for part in parts)
    total.backward()
    plain = _gradients(model)

    assert once.keys() == plain.keys()
    assert {"table.id_GD"} <= plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(once[name], gradient, rtol=1e-6, atol=1e-9, msg=name)


def test_both_losses_reach_the_table_and_masked_values_reach_the_graph(tiny_world: Path) -> None:
    model, inputs = _setup(tiny_world, "residual")
    for active in ("masked_value", "link_prediction"):
        model.zero_grad(set_to_none=True)
        accumulate_gradients(model, FixedWeighting({}), inputs, frozenset({active}), step=0)
        gradients = _gradients(model)
        assert gradients["table.id_GD"].abs().sum() > 0, active
        assert any(name.startswith("graph_encoder") and g.abs().sum() > 0 for name, g in gradients.items()), active


def test_supervised_pairs_send_no_message_either_way(tiny_world: Path) -> None:
    _, inputs = _setup(tiny_world, "residual")
    supervised = {(int(s), int(t)) for s, t in inputs.links.positives_2P.T}
    travelled = {(int(s), int(t)) for s, t in inputs.graph.edge_index_2E.T}
    assert travelled
    assert not travelled & supervised
    assert not travelled & {(t, s) for s, t in supervised}


def test_gradient_cosine_matches_the_closed_form_and_leaves_gradients_alone(tiny_world: Path) -> None:
    model, inputs = _setup(tiny_world, "shared")
    torch.manual_seed(5)
    report = gradient_cosine(model, inputs, ACTIVE)
    assert all(parameter.grad is None for parameter in model.parameters())
    directions = {}
    for name in ACTIVE:
        torch.manual_seed(5)
        table = torch.Generator().manual_seed(1)
        genes = model.encode_graph(inputs.graph, generator=table)
        objective = model.objective(name)
        if name == "masked_value":
            batch, generator = inputs.cells[0].tokens, torch.Generator().manual_seed(10)
            loss = objective.on_cells(model, genes, batch, generator).loss
        else:
            loss = objective(model, Step(genes, links=inputs.links)).loss
        (directions[name],) = torch.autograd.grad(loss, genes.table_GD)
    expected = torch.nn.functional.cosine_similarity(*(directions[n].flatten() for n in sorted(ACTIVE)), dim=0)
    # The first call drew its masks and dropout from the inputs' generators, which stood at the same seeds.
    assert report["gradient_cosine/link_prediction+masked_value"] == pytest.approx(float(expected), abs=1e-6)
    assert gradient_cosine(model, inputs, frozenset({"masked_value"})) == {}
