"""Every objective that reads links under the contract of :mod:`tests.cases.link_objectives`."""

from __future__ import annotations

from grn_cotrain.objectives import OBJECTIVES
from tests.cases.link_objectives import LinkObjectiveCase


class TestLinkPrediction(LinkObjectiveCase):
    name = "link_prediction"


class TestLinkPredictionByRanking(LinkObjectiveCase):
    name = "link_prediction"
    options = {"loss": "ranking", "source_share": 0.5}


class TestLinkPredictionOverAllPairs(LinkObjectiveCase):
    name = "link_prediction"
    options = {"loss": "all_pairs"}


def test_every_component_is_covered() -> None:
    reading_links = {name for name in OBJECTIVES.names() if OBJECTIVES.get(name).reads_links}
    assert {case.name for case in LinkObjectiveCase.__subclasses__()} == reading_links
