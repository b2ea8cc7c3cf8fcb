"""Edges of several relations: read, kept apart from regulation, weighted, controlled and audited."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.data.leakage import assert_no_leak, audit
from grn_cotrain.data.prep import Prep
from grn_cotrain.data.relations import RelationEdges
from grn_cotrain.data.run_data import message_edges
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.nn.sparse import MessageGraph
from tests.multiome import GENES, PEAKS, edges, make_multiome, multiome_vocab

COLUMNS = ["source", "target", "relation"]


def network(rows: list[tuple[str, str, str]], vocab: FeatureVocab | None = None) -> GRN:
    return GRN.from_frame(pd.DataFrame(rows, columns=COLUMNS), vocab or multiome_vocab())


def test_regulation_alone_is_the_network_and_other_relations_stand_beside_it() -> None:
    grn = GRN.from_frame(edges(), multiome_vocab())
    plain = GRN.from_frame(edges(peaks=False), multiome_vocab())
    assert grn.edges.equals(plain.edges)
    assert np.array_equal(grn.pairs_2E, plain.pairs_2E)
    assert grn.num_genes == 24
    assert grn.others.counts == {"motif": 1, "near": 6}
    near = grn.others.of("near")
    assert grn.others.pairs_2E[:, near].tolist() == [[24, 25, 26, 27, 28, 29], [6, 7, 8, 9, 10, 11]]
    assert grn.others.weight_E[near].tolist() == [1, 2, 3, 4, 5, 6]
    assert grn.content_hash != plain.content_hash
    assert (
        "other relations, which pass messages and are not scored: motif: 1 edges, near: 6 edges" in grn.report.lines()
    )


def test_a_file_with_relations_reads_back(tmp_path: Path) -> None:
    grn = GRN.from_frame(edges(), multiome_vocab())
    grn.to_tsv(tmp_path / "edges.tsv")
    again = GRN.from_file(tmp_path / "edges.tsv", multiome_vocab())
    assert again.content_hash == grn.content_hash
    world = make_multiome(tmp_path / "prep", edges())
    assert Prep.open(world).grn.content_hash == grn.content_hash


def test_pairs_are_distinct_within_a_relation(tmp_path: Path) -> None:
    rows = ["source\ttarget\trelation\tweight", "GENE0\tGENE1\tregulates\t1", "GENE0\tGENE1\tbinds\t2"]
    rows += ["GENE0\tGENE1\tbinds\t5", "GENE0\tGENE2\t\t1"]
    (tmp_path / "edges.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = load_edges(tmp_path / "edges.tsv")
    assert found.counts["duplicates"] == 1
    grn = GRN.from_edge_list(found, multiome_vocab())
    assert grn.num_edges == 2
    assert grn.others.counts == {"binds": 1}
    assert grn.others.weight_E.tolist() == [5]


def test_a_name_of_two_spaces_is_told_by_its_space() -> None:
    vocab = FeatureVocab.from_symbols(["CD3E", "TBX21", "CD3E"], modality=["gene", "gene", "protein"], species="human")
    rows = [("TBX21", "CD3E", "", "", ""), ("CD3E", "CD3E", "", "protein", "gene")]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "source_space", "target_space"])
    grn = GRN.from_frame(frame, vocab)
    assert grn.pairs_2E.tolist() == [[1], [0]]
    assert grn.others.names == ("protein_gene",)
    assert grn.others.pairs_2E.tolist() == [[2], [0]]
    assert any("1 protein_gene" in note for note in grn.report.notes)
    frame["source_space"] = ["", "protien"]
    with pytest.raises(UserError, match=r"space 'protien' is unknown \(did you mean 'protein'\?\)"):
        GRN.from_frame(frame, vocab)


def test_a_target_is_not_found_by_the_name_of_its_protein() -> None:
    """CD86 is measured as a protein alone: a plain list of TFs and targets says nothing about surface proteins."""
    vocab = FeatureVocab.from_symbols(["CD3E", "TBX21", "CD86"], modality=["gene", "gene", "protein"], species="human")
    rows = [("TBX21", "CD3E", ""), ("TBX21", "CD86", ""), ("TBX21", "CD86", "regulates")]
    grn = GRN.from_frame(pd.DataFrame(rows, columns=["source", "target", "relation"]), vocab)
    assert grn.pairs_2E.tolist() == [[1], [0]]
    assert not grn.others
    assert grn.report.unknown_targets == ["CD86"]
    assert grn.report.outside_edges == 2
    rows[1:] = [("TBX21", "CD86", "binds")]  # a relation of its own may have any end
    grn = GRN.from_frame(pd.DataFrame(rows, columns=["source", "target", "relation"]), vocab)
    assert grn.others.counts == {"binds": 1}


def test_lost_genes_are_compared_with_genes_however_many_peaks_there_are() -> None:
    """A few genes and thousands of peaks: the names that are not found are not blamed on the peaks."""
    peaks = [f"chr1-{1000 * i}-{1000 * i + 500}" for i in range(400)]
    genes = ["TBX21", "CD3E", "STAT1", "IRF1"]
    vocab = FeatureVocab.from_symbols(genes + peaks, modality=["gene"] * 4 + ["peak"] * 400, species="human")
    rows = [("TBX21", "CD3E"), *((f"AHR{i}", f"MYC{i}") for i in range(6))]
    grn = GRN.from_frame(pd.DataFrame(rows, columns=["source", "target"]), vocab, min_mapped=0.0)
    assert not any("interval" in note or "peak" in note for note in grn.report.notes)
    assert "symbols" in vocab.diagnose(["AHR", "MYC"], "the list")
    assert "both sides hold genomic intervals" in vocab.diagnose(["chr7-1-20", "chr8-5-90"], "the list")


def test_relations_without_a_name_are_named_by_their_spaces() -> None:
    grn = network([(GENES[0], GENES[1], ""), (PEAKS[0], GENES[2], ""), (GENES[0], PEAKS[3], "")])
    assert grn.others.names == ("gene_peak", "peak_gene")


def test_one_other_name_for_regulation_is_taken_for_it() -> None:
    grn = network([(GENES[0], GENES[1], "interaction"), (GENES[0], GENES[2], "interaction")])
    assert (grn.num_edges, grn.others.num_edges) == (2, 0)
    assert any("taken for regulates" in note for note in grn.report.notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [(PEAKS[0], GENES[1], "regulates"), (GENES[0], GENES[1], "regulates")],
            "give these another relation, such as",
        ),
        ([(GENES[0], GENES[1], "ppi"), (GENES[0], GENES[2], "binds")], "no edge regulates a gene"),
    ],
)
def test_networks_that_cannot_be_split_are_refused(rows: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_multiome(tmp_path_factory.mktemp("relations") / "prep", edges())


def test_messages_have_relations_with_weights_of_mean_one(world: Path) -> None:
    prep = Prep.open(world)
    split = prep.split("random-seed0")
    true = message_edges("true", split, prep.grn, seed=0)
    assert np.array_equal(true.pairs_2E, message_edges("true", split, prep.grn, seed=0, relations=[]).pairs_2E)
    near = true.others.of("near")
    np.testing.assert_allclose(true.others.weight_E[near], np.arange(1, 7) / 3.5)
    assert true.others.weight_E[~near].tolist() == [1]
    assert message_edges("true", split, prep.grn, seed=0, weights=False).others.weight_E.tolist() == [1] * 7
    assert message_edges("none", split, prep.grn, seed=0).others.num_edges == 0
    rewired = message_edges("rewired", split, prep.grn, seed=0).others
    assert rewired.names == true.others.names
    for row in (0, 1):  # degrees are kept in each relation
        assert sorted(rewired.pairs_2E[row][near]) == sorted(true.others.pairs_2E[row][near])
    assert not np.array_equal(rewired.pairs_2E, true.others.pairs_2E)
    only = message_edges("true", split, prep.grn, seed=0, relations=["near"]).others
    assert only.counts == {"near": 6}
    with pytest.raises(UserError, match=r"graph.relations: 'nearr' is not a relation .*did you mean 'near'"):
        message_edges("true", split, prep.grn, seed=0, relations=["nearr"])


def others_of(rows: list[tuple[int, int]]) -> RelationEdges:
    pairs_2E = np.array(rows, dtype=np.int64).T
    zeros, count = np.zeros(len(rows), dtype=np.int64), len(rows)
    return RelationEdges(("prior",), pairs_2E, zeros, zeros, np.ones(count, dtype=np.float32))


def test_a_held_out_edge_under_another_name_is_a_leak_and_a_way_round_is_counted(world: Path) -> None:
    split = Prep.open(world).split("random-seed0")
    tf, target = (int(index) for index in split.test_2E[:, split.test_2E[1] > 4][:, 0])  # its reverse is no edge
    for rows in ([(tf, target)], [(target, tf)]):
        with pytest.raises(UserError, match=r"held-out-in-relation: 1 .*Remove these edges, or set graph\.relations"):
            assert_no_leak(split, split.train_2E, others=others_of(rows))
    trained = tuple(int(index) for index in split.train_2E[:, 0])
    assert audit(split, split.train_2E, others=others_of([trained])).ok
    report = audit(split, split.train_2E, others=others_of([(tf, 24), (24, target)]))
    assert report.ok
    (found,) = [finding for finding in report.findings if finding.name == "path-around-held-out"]
    assert (found.severity, found.count) == ("note", 1)
    assert "prior knowledge" in found.meaning
    control = audit(split, split.train_2E, others=others_of([(tf, target)]), control_graph=True)
    assert control.ok


def test_types_of_edges_are_direction_then_relation_then_sign() -> None:
    pairs_2E, sign_E, relation_E = np.array([[0, 0, 2], [1, 2, 1]]), np.array([1, -1, 0]), np.array([0, 1, 1])
    graph = MessageGraph.build(pairs_2E, 3, sign_E=sign_E, relation_E=relation_E, num_kinds=2)
    found = {(int(s), int(t)): int(kind) for s, t, kind in zip(*graph.edge_index_2E, graph.edge_type_E, strict=True)}
    assert graph.num_relations == 12
    assert found == {(0, 1): 0, (0, 2): 4, (2, 1): 5, (1, 0): 6, (2, 0): 10, (1, 2): 11}
    assert [part.num_edges for part in graph.by_relation] == [1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    # A pair that is supervised rests in every relation.
    assert graph.without(np.array([[1], [2]])).num_edges == 4
    with pytest.raises(UserError, match=r"argument 'relation_E': holds values outside 0\.\.1"):
        MessageGraph.build(pairs_2E, 3, relation_E=np.array([0, 1, 2]), num_kinds=2)
