"""Edge lists: each format by a small file written out in full, detection, and refusals."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.errors import UserError


def read_edges(path, format: str = "auto"):
    return load_edges(path, format).frame


TRRUST = (
    "TF\ttarget\tmode\tpmid\nA1\tB1\tActivation\t1\nA1\tB1\tUnknown\t2\nA1\tB2\tRepression\t3\nA1\tB2\tActivation\t4\n"
)
DOROTHEA = "tf,confidence,target,mor\nA1,A,B1,1\nA1,C,B2,-1\nA1,D,B3,1\n"
COLLECTRI = (
    "source\ttarget\tsource_symbol\ttarget_symbol\tconsensus_stimulation\tconsensus_inhibition\tsources\n"
    "A1\tP11111\tA1\tB1\tTrue\tFalse\tx;y\n"
    "A1\tP11111\tA1\tB1\tTrue\tFalse\ty;z\n"
    "A1\tB2\tA1\tB2\tFalse\tTrue\tx\n"
    "A1\tB3\tA1\tB3\tTrue\tTrue\tx\n"
    "A1\tB4\tA1\tB4\tFalse\tFalse\tx\n"
    "COMPLEX:A1_P11111\tB5\tCOMPLEX:A1_P11111\tB5\tTrue\tFalse\tx\n"
    "COMPLEX:P22222\tB6\tCOMPLEX:P22222\tB6\tTrue\tFalse\tx\n"
    "A1\tQ33333\tA1\t\tTrue\tFalse\tx\n"
)
BEELINE = (
    "network\tcell\tset\tTF\tTarget\nstring\thESC\tTFs+500\tA1\tB1\nstring\thESC\tTFs+500\tB1\tA1\n"
    "string\tmESC\tTFs+500\tA1\tB9\n"
)


def write(tmp_path: Path, text: str, name: str = "edges.tsv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def rows(frame) -> list[tuple]:
    return list(frame[["source", "target", "sign"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("text", "name", "detected", "expected"),
    [
        ("source\ttarget\nA1\tB1\nA1\tB2\n", "e.tsv", "tsv", [("A1", "B1", 0), ("A1", "B2", 0)]),
        ("TF,gene,sign\nA1,B1,+\nA1,B2,repression\n", "e.csv", "tsv", [("A1", "B1", 1), ("A1", "B2", -1)]),
        ("A1\tB1\nA1\tB2\n", "bare.tsv", "tsv", [("A1", "B1", 0), ("A1", "B2", 0)]),
        ("A1 B1\nA1 B2\n", "spaces.txt", "tsv", [("A1", "B1", 0), ("A1", "B2", 0)]),
        ("A1\tB1\t-1\n", "bare3.tsv", "decoupler", [("A1", "B1", -1)]),
        ("source,target,weight\nA1,B1,2\nA1,B2,-0.5\n", "d.csv", "decoupler", [("A1", "B1", 1), ("A1", "B2", -1)]),
        ("source,target,weight\nA1,B1,2\nA1,B2,0.5\n", "c.csv", "tsv", [("A1", "B1", 0), ("A1", "B2", 0)]),
        ("Gene1,Gene2,Type\nA1,B1,+\nA1,B2,-\n", "b.csv", "beeline", [("A1", "B1", 1), ("A1", "B2", -1)]),
        (TRRUST, "t.tsv.gz", "trrust", [("A1", "B1", 1), ("A1", "B2", 0)]),
        (TRRUST.split("\n", 1)[1], "raw.tsv", "trrust", [("A1", "B1", 1), ("A1", "B2", 0)]),
        (DOROTHEA, "dorothea.csv", "dorothea", [("A1", "B1", 1), ("A1", "B2", -1)]),
        (COLLECTRI, "c.tsv.gz", "collectri", [("A1", "B1", 1), ("A1", "B2", -1), ("A1", "B3", 0), ("A1", "B4", 0)]),
    ],
)
def test_formats_are_detected_and_said(tmp_path, text, name, detected, expected) -> None:
    edges = load_edges(write(tmp_path, text, name))
    assert edges.format == detected
    assert f"format detected: {detected}" in edges.notes
    assert rows(edges.frame) == expected
    assert (edges.frame["weight"] > 0).all()
    named = load_edges(write(tmp_path, text, name), detected)
    assert rows(named.frame) == expected


def test_weights_and_evidence_are_kept(tmp_path) -> None:
    frame = read_edges(write(tmp_path, "source,target,weight,sign,evidence\nA1,B1,0.25,-1,pmid:1\n", "e.csv"))
    assert frame.iloc[0].tolist() == ["A1", "B1", 0.25, -1, "pmid:1"]
    assert frame.dtypes.astype(str).tolist() == ["object", "object", "float32", "int8", "object"]


def test_gene_called_nan_is_a_gene(tmp_path) -> None:
    assert rows(read_edges(write(tmp_path, "source\ttarget\nNAN\tNA\n"))) == [("NAN", "NA", 0)]


def test_conflicting_signs_become_unknown_and_are_named(tmp_path) -> None:
    edges = load_edges(write(tmp_path, TRRUST))
    assert edges.conflicts == [("A1", "B2")]
    assert edges.counts == {"rows": 4, "duplicates": 2, "conflicting_signs": 1}
    assert edges.frame["evidence"].tolist() == ["1;2", "3;4"]
    assert any("A1->B2" in note for note in edges.notes)


@pytest.mark.parametrize(("option", "expected"), [("", 2), (":A", 1), (":AD", 2), (":abcde", 3)])
def test_dorothea_levels(tmp_path, option, expected) -> None:
    assert len(read_edges(write(tmp_path, DOROTHEA, "d.csv"), f"dorothea{option}")) == expected


def test_collectri_drops_complexes_aloud(tmp_path) -> None:
    edges = load_edges(write(tmp_path, COLLECTRI))
    assert edges.complexes == ["COMPLEX:A1_P11111", "COMPLEX:P22222"]
    assert edges.counts["complex_rows"] == 2
    assert edges.counts["nameless"] == 1
    assert edges.conflicts == [("A1", "B3")]
    assert any("2 complexes" in note and "dropped" in note for note in edges.notes)
    assert edges.frame["evidence"].iloc[0] == "x;y;z"


def test_collectri_expands_complexes_by_the_files_own_accessions(tmp_path) -> None:
    edges = load_edges(write(tmp_path, COLLECTRI), "collectri:expand")
    assert ("A1", "B5", 1) in rows(edges.frame)
    assert ("B1", "B5", 1) in rows(edges.frame)  # P11111 is B1 in the first row
    assert "B6" not in set(edges.frame["target"])
    assert any("P22222" in note and "lost" in note for note in edges.notes)


def test_collectri_signed_keeps_pairs_with_a_consensus_even_if_torn(tmp_path) -> None:
    edges = load_edges(write(tmp_path, COLLECTRI), "collectri:signed")
    assert rows(edges.frame) == [("A1", "B1", 1), ("A1", "B2", -1), ("A1", "B3", 0)]


def test_beeline_selector(tmp_path) -> None:
    path = write(tmp_path, BEELINE, "edges.tsv.gz")
    assert rows(read_edges(f"{path}:string/hESC/TFs+500")) == [("A1", "B1", 0), ("B1", "A1", 0)]
    with pytest.raises(UserError, match="holds 2 networks; name one"):
        read_edges(path)
    with pytest.raises(UserError, match=r"no such network.*did you mean 'string/hESC/TFs\+500'"):
        read_edges(f"{path}:string/hESC/TFs+50")


@pytest.mark.parametrize(
    ("text", "format", "message"),
    [
        ("source\ttarget\nA1\tB1\n", "collectry", r"unknown.*did you mean 'collectri'"),
        ("source\ttarget\nA1\tB1\n", "dorothea", "no column 'confidence'"),
        ("source\ttarget\nA1\tB1\n", "collectri", "no column 'source_symbol'"),
        ("source\ttarget\nA1\tB1\n", "tsv:expand", "unknown option"),
        (DOROTHEA, "dorothea:X", "unknown option"),
        ("source\ttarget\tweight\nA1\tB1\tlots\n", "auto", "weight 'lots' in data row 1"),
        ("source\ttarget\tweight\nA1\tB1\tinf\n", "auto", "not a finite number"),
        ("source\ttarget\tsign\nA1\tB1\tmaybe\n", "auto", "'maybe' is not a sign"),
        ("source\ttarget\n" + "O14746\tP04637\n" * 5, "auto", "UniProt accessions"),
        ("source\n", "auto", "no rows"),
        ("", "auto", "is empty"),
        ("genes\nA1\nB1\n", "auto", "only one column"),
        ("source\ttarget\n\t\n\tB1\n", "auto", "no edge is left"),
    ],
)
def test_bad_lists_are_refused_in_one_line(tmp_path, text, format, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_edges(write(tmp_path, text), format)
    assert "\n" not in str(caught.value)


def test_damaged_gzip_is_named(tmp_path) -> None:
    path = write(tmp_path, TRRUST * 50, "t.tsv.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cut short or damaged"):
        load_edges(path)
