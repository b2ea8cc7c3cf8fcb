"""The objective profile_from_cell: its value, its start, its spaces, and the view that it shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from grn_cotrain.config import parse
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.profiles import MeanProfile
from grn_cotrain.data.statistics import Statistics
from grn_cotrain.errors import UserError
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.objectives import OBJECTIVES, Encodings, Step, View
from grn_cotrain.objectives.profile_from_cell import ProfileFromCell
from grn_cotrain.objectives.reading import draw_views, score_views, views_read
from grn_cotrain.recipe import ModelConfig
from tests.cases.toy_cells import toy_cells
from tests.multiome import multiome_vocab

WIDTH = 16


def model_of(cells: MemoryStore, objectives: dict[str, Any]) -> CoTrainNetwork:
    table = {"init": "random", "inductive": [], "id_dropout": 0.0}
    config = parse(ModelConfig, {"width": WIDTH, "table": table, "link_decoder": "bilinear"}, path="model")
    inputs = ModelInputs(cells.vocab, None, {}, None, np.array([[0, 1], [2, 3]]), np.array([1, 0]))
    model = CoTrainNetwork(config, objectives, inputs, backend="csr", seed=3)
    model.prepare(Statistics(cells))
    return model.eval()


def score(model: CoTrainNetwork, cells: MemoryStore, view: View | None = None):
    tokens = model.tokenizer(cells).batch(np.arange(cells.num_cells)).pack()
    genes = model.encode_graph()
    view = view or View.of(tokens)
    return model.objective("profile_from_cell")(model, Step(genes, (view,), Encodings(model, genes)))


def proportions(cells: MemoryStore) -> np.ndarray:
    """float64 ``[C, G]``: counts over their sum, features that are no tokens left out."""
    counts_CG = cells.values_CG.toarray().astype(np.float64) * np.asarray(cells.vocab.is_token)
    return counts_CG / np.maximum(counts_CG.sum(1, keepdims=True), 1)


def nats(share_CG: np.ndarray, found_CG: np.ndarray) -> np.ndarray:
    """Divergence of each cell."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share_CG > 0, share_CG * np.log(share_CG / found_CG), 0.0).sum(1)


def test_mean_profile_is_the_mean_of_proportions_with_one_even_cell() -> None:
    cells = toy_cells()
    found_G = Statistics(cells)[MeanProfile()]
    share_CG, is_token_G = proportions(cells), np.asarray(cells.vocab.is_token)
    expected_G = (share_CG.sum(0) + is_token_G / is_token_G.sum()) / (cells.num_cells + 1)
    np.testing.assert_allclose(found_G, expected_G, rtol=1e-5)
    assert found_G.sum() == pytest.approx(1)
    in_blocks_G = Statistics(cells, block_cells=5)[MeanProfile()]
    np.testing.assert_allclose(in_blocks_G, found_G, rtol=1e-12)


def test_depth_does_not_change_what_is_asked_for() -> None:
    """Twice the counts are the same proportions, whatever the assay was scaled to."""
    cells = toy_cells()
    deeper = MemoryStore.build(cells.vocab, 2 * cells.values_CG.toarray(), kind="counts")
    np.testing.assert_allclose(Statistics(cells)[MeanProfile()], Statistics(deeper)[MeanProfile()], rtol=1e-6)


def test_it_starts_at_the_mean_profile_with_no_gain() -> None:
    cells = toy_cells()
    model = model_of(cells, {"profile_from_cell": {}})
    output = score(model, cells)
    mean_G = Statistics(cells)[MeanProfile()]
    expected = nats(proportions(cells), mean_G).mean()
    assert float(output.loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert output.count == cells.num_cells
    assert output.metrics["gain"] == pytest.approx(0, abs=1e-6)


def test_value_is_the_divergence_of_a_softmax_over_all_genes() -> None:
    cells = toy_cells()
    model = model_of(cells, {"profile_from_cell": {}})
    objective = model.objective("profile_from_cell")
    with torch.no_grad():
        objective.state_map.weight.normal_(std=0.5, generator=torch.Generator().manual_seed(1))
        genes = model.encode_graph()
        tokens = model.tokenizer(cells).batch(np.arange(cells.num_cells)).pack()
        state_BD = model.encode_cells(tokens, genes).cells_BD
        told_BD, asked_GD = objective.state_map(state_BD), objective.gene_map(genes.table_GD)
        logits_BG = objective.bias_G + told_BD @ asked_GD.T / WIDTH**0.5
        logits_BG[:, ~torch.tensor(cells.vocab.is_token)] = -torch.inf
        share_BG = logits_BG.softmax(1).double().numpy()
    output = score(model, cells)
    each = nats(proportions(cells), share_BG)
    assert float(output.loss.detach()) == pytest.approx(each.mean(), rel=1e-4)
    before = nats(proportions(cells), Statistics(cells)[MeanProfile()])
    assert output.metrics["gain"] == pytest.approx((before - each).mean(), rel=1e-3)


def test_hidden_values_are_part_of_what_is_asked_for() -> None:
    cells = toy_cells()
    model = model_of(cells, {"masked_value": {}, "profile_from_cell": {}})
    tokens = model.tokenizer(cells).batch(np.arange(cells.num_cells)).pack()
    view = model.objective("masked_value").view(model, tokens, torch.Generator().manual_seed(0))
    assert float(score(model, cells, view).loss.detach()) == pytest.approx(
        float(score(model, cells).loss.detach()), rel=1e-5
    )


def test_genes_compete_with_genes_and_peaks_with_peaks() -> None:
    counts = np.random.default_rng(1).poisson(1.0, (6, 36)) + 1
    has_atac = np.arange(6) > 1
    counts[~has_atac, 24:] = 0
    present = {"rna": np.ones(6, dtype=bool), "atac": has_atac}
    cells = MemoryStore.build(multiome_vocab(), counts, kind="counts", present=present)
    model = model_of(cells, {"profile_from_cell": {}})
    output = score(model, cells)
    mean_G = Statistics(cells)[MeanProfile()]
    assert [mean_G[:24].sum(), mean_G[24:].sum()] == pytest.approx([1, 1])
    total, pairs = 0.0, 0
    for columns, rows in ((slice(0, 24), np.arange(6)), (slice(24, 36), np.flatnonzero(has_atac))):
        own_CG = counts[rows, columns] / counts[rows, columns].sum(1, keepdims=True)
        total, pairs = total + nats(own_CG, mean_G[columns]).sum(), pairs + len(rows)
    assert output.count == pairs == 10
    assert float(output.loss.detach()) == pytest.approx(total / pairs, rel=1e-4)


def test_it_shares_the_view_of_masked_values_so_cells_are_encoded_once() -> None:
    cells = toy_cells()
    model = model_of(cells, {"masked_value": {}, "profile_from_cell": {}})
    assert views_read(model.objectives) == {"masked_value": ("masked_value",), "profile_from_cell": ("masked_value",)}
    encoded: list[View] = []
    tokens = model.tokenizer(cells).batch(np.arange(cells.num_cells)).pack()
    views = draw_views(model, model.objectives, tokens, torch.Generator().manual_seed(0), list(model.objectives))
    losses, _ = score_views(model, model.objectives, model.encode_graph(), views, before=encoded.append)
    assert set(losses) == {"masked_value", "profile_from_cell"}
    assert len(encoded) == 1
    # Alone, or with a share of its own, it hides values itself.
    for objectives in ({"profile_from_cell": {}}, {"masked_value": {}, "profile_from_cell": {"mask_share": 0.5}}):
        read = views_read(model_of(cells, objectives).objectives)
        assert read["profile_from_cell"] == ("profile_from_cell",)
    own = model_of(cells, {"profile_from_cell": {"mask_share": 0.5}}).objective("profile_from_cell")
    hidden = own.view(model, tokens, torch.Generator().manual_seed(0)).num_asked / (tokens.num_tokens - 12)
    assert hidden == pytest.approx(0.5, abs=0.15)


def test_its_gradient_is_what_trains_the_state_of_the_cell() -> None:
    """The loss on masked values gives the state of CLS no gradient; this one does."""
    cells = toy_cells()
    model = model_of(cells, {"masked_value": {}, "profile_from_cell": {}}).train()
    with torch.no_grad():
        model.objective("profile_from_cell").state_map.weight.fill_(0.1)
    tokens = model.tokenizer(cells).batch(np.arange(cells.num_cells)).pack()
    view = model.objective("masked_value").view(model, tokens, torch.Generator().manual_seed(0))
    genes = model.encode_graph()
    states = Encodings(model, genes)
    states.of(view).cells_BD.retain_grad()
    model.objective("masked_value")(model, Step(genes, (view,), states)).loss.backward(retain_graph=True)
    gradient = states.of(view).cells_BD.grad
    assert gradient is None or float(gradient.abs().sum()) == 0
    model.objective("profile_from_cell")(model, Step(genes, (view,), states)).loss.backward()
    assert float(states.of(view).cells_BD.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_share": 0.0}, "mask_share: got 0.0; give a share between 0 and 1"),
        ({"mask_share": 1.0}, "mask_share: got 1.0"),
        ({"view": "masked_value", "mask_share": 0.2}, "the view of masked_value is read, which hides what it hides"),
        ({"view": "clean", "mask_share": 0.2}, "leave mask_share out, or set view: own"),
        ({"share": 0.2}, "unknown key"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OBJECTIVES.build(
            "profile_from_cell", options, path="objectives.profile_from_cell", width=8, num_bins=4, num_genes=5
        )


def test_a_view_that_nobody_draws_is_named() -> None:
    with pytest.raises(UserError, match=r"profile_from_cell.view 'masked_valu'.*did you mean 'masked_value'"):
        model_of(toy_cells(), {"masked_value": {}, "profile_from_cell": {"view": "masked_valu"}})


def test_it_predicts_no_values_and_helps_to_select() -> None:
    assert ProfileFromCell.selects
    model = model_of(toy_cells(), {"profile_from_cell": {}, "masked_value": {}})
    assert model.value_predictor() is model.objective("masked_value")
