"""Every coupling under the contract of :mod:`tests.cases.couplings`, with closed-form references."""

from __future__ import annotations

import pytest
import torch

from grn_cotrain.errors import UserError
from grn_cotrain.nn.couplings import COUPLINGS
from tests.cases.couplings import NUM_GENES, WIDTH, CouplingCase


class TestShared(CouplingCase):
    name = "shared"
    reads_graph = False

    def test_returns_the_table_itself(self) -> None:
        table_GD, graph_GD = self.genes()
        assert self.build()(table_GD, graph_GD).features_GD is table_GD


class TestResidual(CouplingCase):
    name = "residual"
    start_distance = 0.15

    def test_closed_form(self) -> None:
        table_GD, graph_GD = self.genes()
        torch.testing.assert_close(self.build()(table_GD, graph_GD).features_GD, table_GD + 0.1 * graph_GD)


class TestResidualWithGain(CouplingCase):
    name = "residual"
    options = {"gain": 0.01}
    start_distance = 0.02


class TestGated(CouplingCase):
    name = "gated"
    start_distance = 0.25  # a gate near .12, over rows that are independent: .12 * sqrt(2) at least

    def test_closed_form(self) -> None:
        table_GD, graph_GD = self.genes()
        coupling = self.trained()
        weights = dict(coupling.named_parameters())
        for gene in range(NUM_GENES):
            both = torch.cat([table_GD[gene], graph_GD[gene]])
            gate_D = 1 / (1 + torch.exp(-(weights["gate.weight"] @ both + weights["gate.bias"])))
            expected_D = (1 - gate_D) * table_GD[gene] + gate_D * (weights["project.weight"] @ graph_GD[gene])
            torch.testing.assert_close(coupling(table_GD, graph_GD).features_GD[gene], expected_D)


class TestClosedGate(CouplingCase):
    name = "gated"
    options = {"bias": -6.0}
    start_distance = 0.01


class TestAttentionBias(CouplingCase):
    name = "attention_bias"
    has_bias = True

    def test_rank(self) -> None:
        bias = COUPLINGS.build(self.name, {"rank": 3}, width=WIDTH)(*self.genes()).bias
        assert bias.query_VR.shape == (NUM_GENES, 3)
        with pytest.raises(UserError, match="rank: got 0; give at least 1"):
            COUPLINGS.build(self.name, {"rank": 0}, width=WIDTH)


def test_every_component_is_covered() -> None:
    assert {case.name for case in CouplingCase.__subclasses__()} == set(COUPLINGS.names())
