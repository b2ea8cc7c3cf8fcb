"""Every registered control keeps the contract of link scorers."""

from __future__ import annotations

from grn_cotrain.controls import CONTROLS
from tests.cases.controls import ControlCases


class TestRandom(ControlCases):
    name = "random"


class TestTargetDegree(ControlCases):
    name = "target_degree"


class TestDegreeProduct(ControlCases):
    name = "degree_product"


class TestAdditiveLogistic(ControlCases):
    name = "additive_logistic"


class TestCommonNeighbours(ControlCases):
    name = "common_neighbours"


class TestAdamicAdar(ControlCases):
    name = "adamic_adar"


class TestReversedEdge(ControlCases):
    name = "reversed_edge"


class TestPearson(ControlCases):
    name = "pearson"


class TestSpearman(ControlCases):
    name = "spearman"


def test_every_component_is_covered() -> None:
    assert {case.name for case in ControlCases.__subclasses__()} == set(CONTROLS.names())
