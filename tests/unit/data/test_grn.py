"""GRN: alignment, report, checks, hashes, and a round trip through every other form."""

from __future__ import annotations

import json
import logging
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

from grn_cotrain.data.grn import GRN, EdgeReport
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import MissingExtraError, UserError
from tests.cases.skips import extra

VOCAB = FeatureVocab.from_symbols(["A1", "B1", "C1", "D1", "HLA-A"], ["ENSG00000000001", "", "", "", ""])
FRAME = pd.DataFrame(
    [
        ("B1", "C1", 1.0, 1, "x"),
        ("a1", "B1", 2.0, -1, "y"),
        ("ENSG00000000001.2", "B1", 3.0, -1, "z"),  # the same pair by another name
        ("C1", "B1", 1.0, 0, ""),
        ("C1", "C1", 1.0, 1, ""),
        ("B1", "NOPE", 1.0, 1, ""),
        ("LOST", "D1", 1.0, 1, ""),
        ("A1", "D1", 1.0, 1, ""),
        ("A1", "D1", 1.0, -1, ""),
    ],
    columns=["source", "target", "weight", "sign", "evidence"],
)


@pytest.fixture
def grn() -> GRN:
    return GRN.from_frame(FRAME, VOCAB)


def test_edges_are_distinct_sorted_and_typed(grn: GRN) -> None:
    assert list(grn.edges.columns) == [
        *("source", "target", "source_index", "target_index", "weight", "sign", "evidence")
    ]
    assert grn.pairs_2E.tolist() == [[0, 0, 1, 2], [1, 3, 2, 1]]
    assert grn.pairs_2E.dtype == np.int64
    assert not grn.pairs_2E.flags.writeable
    assert grn.sign_E.tolist() == [-1, 0, 1, 0]
    assert grn.weight_E.tolist() == [3.0, 1.0, 1.0, 1.0]
    assert grn.edges["evidence"].tolist() == ["y;z", "", "x", ""]
    assert grn.source_index.tolist() == [0, 1, 2]
    assert (grn.num_edges, grn.num_genes, len(grn)) == (4, 5, 4)


def test_report_counts_and_names_everything(grn: GRN) -> None:
    report = grn.report
    assert (report.num_given, report.num_edges, report.num_sources, report.num_targets) == (9, 4, 3, 3)
    assert report.duplicates == 2
    assert report.self_loops == ["C1"]
    assert report.reciprocal == 2
    assert (report.outside_edges, report.unknown_sources, report.unknown_targets) == (2, ["LOST"], ["NOPE"])
    assert report.conflicting_signs == ["A1->D1"]
    assert ("a1", "A1") in report.renamed
    lines = " | ".join(report.lines())
    for word in ("LOST", "NOPE", "A1->D1", "self-loops", "reverse"):
        assert word in lines
    assert EdgeReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    kept_or_counted = report.num_edges + report.duplicates + len(report.self_loops) + report.outside_edges
    assert kept_or_counted == report.num_given


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("duplicates", "2 repeated"),
        ("self_loops", "C1"),
        ("unknown", "LOST, NOPE"),
        ("reciprocal", "2 edges whose reverse"),
    ],
)
def test_each_trouble_can_be_ignored_warned_or_refused(kind, message, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        GRN.from_frame(FRAME, VOCAB, **{f"on_{kind}": "ignore"})
        assert not caplog.records
        GRN.from_frame(FRAME, VOCAB, **{f"on_{kind}": "warn"})
        assert [message in record.getMessage() for record in caplog.records] == [True]
    with pytest.raises(UserError, match=message):
        GRN.from_frame(FRAME, VOCAB, **{f"on_{kind}": "error"})
    with pytest.raises(UserError, match="choose from ignore, warn, error"):
        GRN.from_frame(FRAME, VOCAB, **{f"on_{kind}": "explode"})


def test_check_lists_troubles(grn: GRN) -> None:
    assert len(grn.check()) == 4
    clean = GRN.from_frame(grn.edges.iloc[[0]], VOCAB)
    assert clean.check() == []


def test_hash_follows_pairs_signs_weights_and_not_the_order(grn: GRN) -> None:
    assert GRN.from_frame(FRAME[::-1], VOCAB).content_hash == grn.content_hash
    others = [
        GRN.from_frame(grn.edges.iloc[:3], VOCAB),
        GRN.from_frame(grn.edges.assign(sign=1), VOCAB),
        GRN.from_frame(grn.edges.assign(weight=9.0), VOCAB),
        GRN.from_frame(grn.edges, VOCAB.extend(["E1"])),
    ]
    assert len({grn.content_hash, *(other.content_hash for other in others)}) == 5


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.iloc[:0], "holds no edges"),
        (FRAME.iloc[[5, 6]], "no edge has both ends"),
        (FRAME.iloc[[4]], "no edge has both ends"),
        (FRAME.drop(columns="target"), "no column 'target'"),
        (FRAME.assign(weight=np.nan), "not a finite number"),
        (FRAME.assign(sign=2), "is not a sign"),
    ],
)
def test_bad_frames_are_refused(frame, message) -> None:
    with pytest.raises(UserError, match=message):
        GRN.from_frame(frame, VOCAB)


def test_round_trips(grn: GRN, tmp_path) -> None:
    grn.to_tsv(tmp_path / "grn.tsv")
    assert GRN.from_file(tmp_path / "grn.tsv", VOCAB).content_hash == grn.content_hash
    assert GRN.from_networkx(grn.to_networkx(), VOCAB).content_hash == grn.content_hash
    adata = anndata.AnnData(np.zeros((2, 5), np.float32), var=pd.DataFrame(index=list(VOCAB.symbols)[::-1]))
    grn.to_adata_varp(adata)
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert GRN.from_adata_varp(anndata.read_h5ad(tmp_path / "x.h5ad"), VOCAB).content_hash == grn.content_hash
    assert GRN.from_symbols(grn.edges, VOCAB, EdgeReport()).content_hash == grn.content_hash
    signed = GRN.from_frame(grn.edges[grn.edges["sign"] != 0], VOCAB)
    assert GRN.from_edge_list(_decoupler(signed, tmp_path), VOCAB).content_hash == signed.content_hash


def _decoupler(grn: GRN, tmp_path):
    path = tmp_path / "d.tsv"
    grn.to_decoupler().to_csv(path, sep="\t", index=False)
    return load_edges(path, "decoupler")


def test_graphml_holds_names_and_signs(grn: GRN, tmp_path) -> None:
    import networkx

    grn.to_graphml(tmp_path / "grn.graphml")
    graph = networkx.read_graphml(tmp_path / "grn.graphml")
    assert graph.edges["A1", "B1"]["sign"] == -1
    assert GRN.from_networkx(graph, VOCAB).content_hash == grn.content_hash


def test_pyg_holds_every_gene(grn: GRN) -> None:
    data = grn.to_pyg()
    assert data.num_nodes == 5
    assert data.edge_index.tolist() == grn.pairs_2E.tolist()
    assert data.edge_sign.tolist() == grn.sign_E.tolist()
    assert data.node_names == list(VOCAB.symbols)


def test_dgl_is_optional(grn: GRN, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "dgl", None)
        with pytest.raises(MissingExtraError, match="make setup-ci"):
            grn.to_dgl()
    extra("dgl")
    graph = grn.to_dgl()
    assert graph.num_nodes() == 5
    assert [ends.tolist() for ends in graph.edges()] == grn.pairs_2E.tolist()


def test_foreign_containers_are_refused(grn: GRN) -> None:
    import networkx

    with pytest.raises(UserError, match="undirected"):
        GRN.from_networkx(networkx.Graph([("A1", "B1")]), VOCAB)
    adata = anndata.AnnData(np.zeros((2, 2), np.float32), var=pd.DataFrame(index=["A1", "Z9"]))
    with pytest.raises(UserError, match="no such key"):
        GRN.from_adata_varp(adata, VOCAB)
    with pytest.raises(UserError, match="not among its var_names, first B1"):
        grn.to_adata_varp(adata)


def test_parsers_counts_join_the_report(tmp_path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(
        "TF\ttarget\tmode\tpmid\nA1\tB1\tActivation\t1\nA1\tB1\tRepression\t1\nX1\tY1\tActivation\t1\nX1\tY1\tRepression\t1\n"
    )
    report = GRN.from_file(path, VOCAB).report
    assert report.conflicting_signs == ["A1->B1"]  # the other torn pair is not in the network
    assert "format detected: trrust" in report.notes


def test_a_damaged_matrix_is_refused(grn: GRN) -> None:
    adata = anndata.AnnData(np.zeros((2, 5), np.float32), var=pd.DataFrame(index=list(VOCAB.symbols)))
    grn.to_adata_varp(adata)
    adata.varp["grn"].indices[0] = 120
    with pytest.raises(UserError, match=r"varp\['grn'\]: is damaged"):
        GRN.from_adata_varp(adata, VOCAB)
