"""Every registered link decoder under the contract, and closed forms of the simple ones."""

from __future__ import annotations

import math

import pytest
import torch

from grn_cotrain.errors import UserError
from grn_cotrain.nn.link_decoders import LINK_DECODERS
from tests.cases.link_decoders import NUM_GENES, WIDTH, LinkDecoderCases


class TestInner(LinkDecoderCases):
    name = "inner"

    def test_closed_form_and_symmetry(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build(perturb=False)
        logits_GG = decoder.block(genes_GD, torch.arange(NUM_GENES))
        for s, t in [(0, 1), (4, 9)]:
            assert logits_GG[s, t].item() == pytest.approx(
                float(genes_GD[s] @ genes_GD[t]) / math.sqrt(WIDTH), abs=1e-5
            )
        torch.testing.assert_close(logits_GG, logits_GG.T)


class TestDistMult(LinkDecoderCases):
    name = "distmult"

    def test_closed_form(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build()
        expected = sum((decoder.weight_D[d] * genes_GD[2, d] * genes_GD[5, d]).item() for d in range(WIDTH))
        logit = decoder(genes_GD, torch.tensor([[2], [5]])).item()
        assert logit == pytest.approx(expected / math.sqrt(WIDTH) + decoder.bias.item(), abs=1e-5)


class TestBilinear(LinkDecoderCases):
    name = "bilinear"

    def test_closed_form_and_direction(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build()
        expected = (genes_GD[2] @ decoder.weight_DD @ genes_GD[5]).item() / math.sqrt(WIDTH) + decoder.bias.item()
        there, back = decoder(genes_GD, torch.tensor([[2, 5], [5, 2]])).tolist()
        assert there == pytest.approx(expected, abs=1e-5)
        assert abs(there - back) > 1e-3


class TestMLP(LinkDecoderCases):
    name = "mlp"
    options = {"hidden": 5}

    def test_direction(self, genes_GD: torch.Tensor) -> None:
        there, back = self.build()(genes_GD, torch.tensor([[2, 5], [5, 2]])).tolist()
        assert abs(there - back) > 1e-3

    def test_last_layer_bounds_the_logits(self, genes_GD: torch.Tensor) -> None:
        decoder = self.build(perturb=False)
        with torch.no_grad():
            decoder.source.weight.mul_(1e3)
        logits_GG = decoder.block(genes_GD, torch.arange(NUM_GENES))
        assert logits_GG.abs().max() <= decoder.weight_H.norm() * (1 + 1e-5)

    def test_tiles_do_not_change_the_block(self, genes_GD: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        decoder = self.build()
        whole_GG = decoder.block(genes_GD, torch.arange(NUM_GENES))
        monkeypatch.setattr("grn_cotrain.nn.link_decoders.mlp._BLOCK_ELEMENTS", 2 * 5 * NUM_GENES)
        torch.testing.assert_close(decoder.block(genes_GD, torch.arange(NUM_GENES)), whole_GG)

    def test_no_hidden_units_refused(self) -> None:
        with pytest.raises(UserError, match="hidden: got 0"):
            LINK_DECODERS.config("mlp", {"hidden": 0})


class TestResidualBilinear(LinkDecoderCases):
    name = "residual"


class TestResidualMLP(LinkDecoderCases):
    name = "residual"
    options = {"residual": "mlp", "evidence": ["kernel_ridge"]}


class TestResidualWithoutEvidence(LinkDecoderCases):
    name = "residual"
    options = {"residual": "inner", "evidence": []}


def test_every_component_is_covered() -> None:
    covered = {case.name for case in LinkDecoderCases.__subclasses__()}
    assert covered == set(LINK_DECODERS.names())
