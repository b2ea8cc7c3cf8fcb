"""The link objective: its loss is the loss it names plus the decoder's penalty, on the step's encoded genes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from grn_cotrain.config import ComponentSpec, to_dict
from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_decoders import LINK_DECODERS, LinkDecoder
from grn_cotrain.nn.link_losses import LINK_LOSSES
from grn_cotrain.objectives.base import OBJECTIVES, GeneStates, Step
from grn_cotrain.objectives.link_prediction import LinkPrediction, auroc
from tests.cases.link_decoders import make_evidence
from tests.cases.link_losses import NUM_GENES, WIDTH, pair_supervision, row_supervision


def objective(**options: Any) -> LinkPrediction:
    built = OBJECTIVES.build("link_prediction", options, width=WIDTH, num_bins=4, num_genes=NUM_GENES)
    assert isinstance(built, LinkPrediction)
    return built


def residual_decoder() -> LinkDecoder:
    torch.manual_seed(0)
    decoder = LINK_DECODERS.build("residual", width=WIDTH, num_genes=NUM_GENES)
    decoder.prepare(make_evidence(("kernel_ridge", "knn_family"), num_genes=NUM_GENES))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return decoder


def step(links: Any) -> Step:
    graph_GD = torch.randn(NUM_GENES, WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()
    table_GD = torch.full((NUM_GENES, WIDTH), float("nan"))  # must not be read
    return Step(GeneStates(table_GD, graph_GD), links=links)


@pytest.mark.parametrize("name", ["balanced_bce", "ranking", "all_pairs"])
def test_loss_plus_penalty(name: str) -> None:
    decoder, module = residual_decoder(), objective(loss=name)
    this = step(row_supervision() if module.config.mode == "rows" else pair_supervision())
    output = module(SimpleNamespace(link_decoder=decoder), this)  # type: ignore[arg-type]
    assert this.links is not None
    plain = LINK_LOSSES.build(name)(decoder, this.genes.graph_GD, this.links)
    penalty = decoder.regulariser()
    assert penalty is not None
    torch.testing.assert_close(output.loss, plain.loss + penalty)
    torch.testing.assert_close(output.parts["regulariser"].sum, penalty)
    assert set(output.parts) == {"pairs", "regulariser"}
    assert {name: output.metrics[name] for name in plain.parts} == pytest.approx(
        {name: float(part.detach()) for name, part in plain.parts.items()}
    )
    assert output.count == plain.count
    assert 0 <= output.metrics["auroc"] <= 1
    output.loss.backward()
    assert this.genes.graph_GD.grad is not None
    assert this.genes.graph_GD.grad.abs().sum() > 0


def test_no_penalty_no_part() -> None:
    decoder = LINK_DECODERS.build("inner", width=WIDTH, num_genes=NUM_GENES)
    output = objective()(SimpleNamespace(link_decoder=decoder), step(pair_supervision()))  # type: ignore[arg-type]
    assert set(output.parts) == {"pairs"}
    assert {"positive", "negative"} <= set(output.metrics)


def test_a_step_without_links() -> None:
    with pytest.raises(ValueError, match="no link supervision"):
        objective()(SimpleNamespace(link_decoder=None), step(None))  # type: ignore[arg-type]


def test_mode_follows_the_loss() -> None:
    modes = {
        "balanced_bce": "pairs",
        "all_pairs": "rows",
        "ranking": "rows",
    }
    for name, mode in modes.items():
        assert objective(loss=name).config.mode == mode
    assert objective(loss={"name": "ranking", "supervision": "pairs"}).config.mode == "pairs"


def test_config_round_trips() -> None:
    config = OBJECTIVES.config("link_prediction", {"loss": {"name": "all_pairs", "block_rows": 8}})
    assert config.loss == ComponentSpec("all_pairs", {"block_rows": 8})
    assert OBJECTIVES.config("link_prediction", to_dict(config)) == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positives_per_step": 0}, "positives_per_step: got 0"),
        ({"negatives_per_positive": 0}, "negatives_per_positive: got 0"),
        ({"source_share": 0.0}, "source_share: got 0.0"),
        ({"source_share": 1.5}, "source_share: got 1.5"),
        ({"loss": "balanced_bc"}, "unknown 'balanced_bc' for link_loss.*did you mean 'balanced_bce'"),
        ({"loss": {"name": "ranking", "rows": 3}}, "unknown key 'loss.rows'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OBJECTIVES.config("link_prediction", options)


def test_auroc_is_sklearns_ties_included() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        positive_P, negative_N = generator.integers(0, 6, size=7), generator.integers(-2, 4, size=11)
        expected = roc_auc_score([1] * 7 + [0] * 11, np.concatenate([positive_P, negative_N]))
        found = auroc(torch.from_numpy(positive_P).float(), torch.from_numpy(negative_N).float())
        assert found == pytest.approx(expected, abs=1e-12)
    assert auroc(torch.zeros(5), torch.zeros(3)) == 0.5
    assert math.isnan(auroc(torch.zeros(0), torch.zeros(3)))
