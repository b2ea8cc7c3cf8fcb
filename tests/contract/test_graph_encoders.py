"""Every graph encoder under the contract of :mod:`tests.cases.graph_encoders`."""

from __future__ import annotations

from grn_cotrain.nn.graph_encoders import GRAPH_ENCODERS
from tests.cases.graph_encoders import GraphEncoderCase


class TestIdentity(GraphEncoderCase):
    name = "identity"
    passes_messages = False


class TestGcn(GraphEncoderCase):
    name = "gcn"
    options = {"residual": False}


class TestSage(GraphEncoderCase):
    name = "sage"
    options = {"activation": "gelu", "norm": "none"}


class TestGatV2(GraphEncoderCase):
    name = "gatv2"
    options = {"heads": 2, "activation": "elu"}


class TestGatV2WithoutLoops(GraphEncoderCase):
    name = "gatv2"
    options = {"heads": 4, "self_loops": False}


class TestRgcn(GraphEncoderCase):
    name = "rgcn"


class TestRgcnWithBases(GraphEncoderCase):
    name = "rgcn"
    options = {"num_bases": 2, "num_layers": 3}


def test_every_component_is_covered() -> None:
    covered = {case.name for case in GraphEncoderCase.__subclasses__()}
    assert covered == set(GRAPH_ENCODERS.names())
