"""Every cell encoder under the contract of :mod:`tests.cases.cell_encoders`."""

from __future__ import annotations

from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from tests.cases.cell_encoders import CellEncoderCase


class TestTransformer(CellEncoderCase):
    name = "transformer"


class TestTransformerOnBins(CellEncoderCase):
    name = "transformer"
    options = {"values": "bins", "num_layers": 1, "num_heads": 4}


class TestScMBERT(CellEncoderCase):
    name = "scmbert"
    options = {"num_heads": 2}


def test_every_component_is_covered() -> None:
    assert {case.name for case in CellEncoderCase.__subclasses__()} == set(CELL_ENCODERS.names())
