"""Every registered control keeps the contract of link scorers."""

from __future__ import annotations

from typing import ClassVar

from grn_cotrain.controls import CONTROLS
from grn_cotrain.data.cells import MemoryStore
from tests.cases.controls import ControlCases
from tests.cases.toy_links import toy_known_cells


class TestRandom(ControlCases):
    name = "random"
    samples = True


class TestTargetDegree(ControlCases):
    name = "target_degree"


class TestDegreeProduct(ControlCases):
    name = "degree_product"


class TestAdditiveLogistic(ControlCases):
    name = "additive_logistic"
    options: ClassVar = {"C": 1.0}


class TestAdditiveLogisticThatTunes(TestAdditiveLogistic):
    options: ClassVar = {}
    samples = True


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


class TestKernelRidge(ControlCases):
    name = "kernel_ridge"
    options: ClassVar = {"source_penalty": 1.0, "target_penalty": 1.0, "rank": 10}


class TestKnnExpression(ControlCases):
    name = "knn_expression"
    options: ClassVar = {"num_neighbours": [5], "prior_weights": [1.0], "rank": 10}


class TestKnnFamily(ControlCases):
    name = "knn_family"
    options: ClassVar = {"prior_weights": [1.0]}


class TestKnnBoth(ControlCases):
    name = "knn_both"
    options: ClassVar = {"num_neighbours": [5], "prior_weights": [1.0], "family_weights": [1.0], "rank": 10}


class TestKnnMotif(ControlCases):
    name = "knn_motif"
    options: ClassVar = {"prior_weights": [1.0]}

    def cells(self) -> MemoryStore:
        return toy_known_cells()


class TestKnnFamilyMotif(TestKnnMotif, ControlCases):
    name = "knn_family_motif"


class TestSymbolOutdated(ControlCases):
    name = "symbol_outdated"

    def cells(self) -> MemoryStore:
        return toy_known_cells()


class TestKnnTargetStem(ControlCases):
    name = "knn_target_stem"
    options: ClassVar = {"prior_weights": [1.0], "prefix_weights": [0.1]}


class TestKernelRidgeOfTwoSets(TestKernelRidge):
    def cells(self) -> MemoryStore:
        return toy_known_cells()


class TestTargetKnn(ControlCases):
    name = "target_knn"
    options: ClassVar = {"num_neighbours": [10], "prior_weights": [1.0], "rank": 10}


class TestDoubleKnn(ControlCases):
    name = "double_knn"
    options: ClassVar = {"num_sources": [5], "num_targets": [10], "rank": 10}


class TestMatrixFactorisation(ControlCases):
    name = "matrix_factorisation"
    options: ClassVar = {"ranks": [4], "weights": [1.0]}


class TestKernelRidgeThatChooses(TestKernelRidge):
    options: ClassVar = {"rank": 10}
    samples = True


class TestBoostingGraph(ControlCases):
    name = "boosting_graph"
    options: ClassVar = {"max_trees": 5}
    samples = True


class TestBoostingGene(ControlCases):
    name = "boosting_gene"
    options: ClassVar = {"max_trees": 5}
    samples = True


class TestBoostingAll(ControlCases):
    name = "boosting_all"
    options: ClassVar = {"max_trees": 5}
    kinds = ("unseen-target", "unseen-tf")
    samples = True


class TestRegulonFactor(ControlCases):
    name = "regulon_factor"
    options: ClassVar = {"num_free": [2], "variance": [0.3]}


class TestRegulonFactorThatChooses(TestRegulonFactor):
    options: ClassVar = {}
    samples = True


class TestBoostingRegulon(ControlCases):
    name = "boosting_regulon"
    options: ClassVar = {"max_trees": 5}
    kinds = ("unseen-target", "unseen-tf")
    samples = True


class TestRegulonLoop(ControlCases):
    name = "regulon_loop"
    options: ClassVar = {"max_trees": 5, "rounds": 1}
    kinds = ("unseen-target", "unseen-tf")
    samples = True


class TestBoostingAllOfTwoSets(TestBoostingAll):
    def cells(self) -> MemoryStore:
        return toy_known_cells()


class TestLogisticCombination(ControlCases):
    name = "logistic_combination"
    kinds = ("unseen-target", "unseen-tf")
    samples = True


class TestNetMF(ControlCases):
    name = "netmf"
    options: ClassVar = {"dimensions": 4}
    samples = True


class TestGraphAutoEncoder(ControlCases):
    name = "gae"
    options: ClassVar = {"epochs": 4, "every": 2, "width": 8}
    samples = True


class TestGRNBoost2(ControlCases):
    name = "grnboost2"
    options: ClassVar = {"max_trees": 2}
    kinds = ("unseen-target",)
    samples = True


def test_every_component_is_covered() -> None:
    assert {case.name for case in ControlCases.__subclasses__()} == set(CONTROLS.names())
