"""The first line of a table of edges: header or edge, told by the lines below it; comments, indices, delimiters."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grn_cotrain.data.io.edges import load_edges, load_pairs
from grn_cotrain.errors import UserError

EDGES = [("HNF1A", "TF"), ("HNF1A", "ALB"), ("HNF4A", "APOA1"), ("HNF4A", "TF"), ("SPI1", "LYZ")]


def write(tmp_path: Path, text: str, name: str = "edges.tsv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def pairs(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(frame[["source", "target"]].itertuples(index=False, name=None))


def lines(rows, delimiter: str = "\t") -> str:
    return "".join(delimiter.join(str(value) for value in row) + "\n" for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        lines(EDGES),
        lines(EDGES, ","),
        lines(EDGES, " "),
        lines([(a, b, 0.5, f"PMID:{i}") for i, (a, b) in enumerate(EDGES)]),
        lines([(a, b, 0.5) for a, b in EDGES], ";"),
        lines([(a, b, "Activation", "1;2;3;4" if i == 0 else 5) for i, (a, b) in enumerate(EDGES)]),
        lines([(i, a, b, 2.5) for i, (a, b) in enumerate(EDGES)]),
        lines([(f'"{a}"', f'"{b}"') for a, b in EDGES], ","),
        lines([(a, "pp", b) for a, b in EDGES]),
        lines([(a, "Activation", b) for a, b in EDGES]),
        lines([("TF", "target"), *EDGES]),
        lines([("V1", "V2"), *EDGES]),
        lines([("0", "1"), *EDGES], ","),
        lines([("", "TF", "target"), *[(i, *pair) for i, pair in enumerate(EDGES)]], ","),
        lines([("TF", "target"), *[(i + 1, *pair) for i, pair in enumerate(EDGES)]], " ")
        .replace("TF target\n", "TF,target\n")
        .replace(" ", ","),
        "# made by a person, on a Monday\n# twice\n" + lines([("TF", "target"), *EDGES]),
        "#TF\ttarget\n" + lines(EDGES),
        "%%comment\n" + lines(EDGES),
        "Program: network 1.2\n\n" + lines([("TF", "target", "importance"), *[(*pair, 1) for pair in EDGES]]),
        "sep=;\n" + lines([("TF", "target", "weight"), *[(*pair, "0,5") for pair in EDGES]], ";"),
        lines([("target", "TF"), *[(b, a) for a, b in EDGES]]),
    ],
)
def test_every_edge_is_there_the_right_way_round(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    edges = load_edges(path)
    assert sorted(pairs(edges.frame)) == sorted(EDGES)
    assert pairs(load_pairs(path).frame) == EDGES
    assert any(note.startswith(("header:", "no header:")) for note in edges.notes)


def test_what_was_taken_as_a_header_is_said(tmp_path: Path) -> None:
    assert "header: TF, target" in load_edges(write(tmp_path, lines([("TF", "target"), *EDGES]))).notes
    notes = load_edges(write(tmp_path, lines(EDGES))).notes
    assert "no header: the first line (HNF1A, TF) is an edge; columns: source, target" in notes


def test_skipped_lines_are_counted(tmp_path: Path) -> None:
    text = "# one\n# two\nTF\ttarget\nSTAT1\tIRF1\n# three\nSPI1\tLYZ\n"
    edges = load_edges(write(tmp_path, text))
    assert pairs(edges.frame) == [("STAT1", "IRF1"), ("SPI1", "LYZ")]
    assert "3 lines of comments or above the table were skipped" in edges.notes


def test_what_cannot_be_decided_is_asked_for_and_the_option_decides(tmp_path: Path) -> None:
    path = write(tmp_path, "ALB\tTF\nSTAT1\tIRF\nSPI1\tLYZ\n")
    with pytest.raises(UserError, match=r"first line \(ALB, TF\) is a header or an edge.*tsv:header=no"):
        load_edges(path)
    assert pairs(load_edges(path, "tsv:header=no").frame)[0] == ("ALB", "TF")
    named = load_edges(path, "tsv:header=yes,source=TF,target=ALB")
    assert pairs(named.frame) == [("IRF", "STAT1"), ("LYZ", "SPI1")]
    with pytest.raises(UserError, match="choose from header=yes, header=no"):
        load_edges(path, "tsv:header=maybe")


SYMBOL = st.from_regex(r"[A-Z]{2,4}[0-9]{1,2}", fullmatch=True, alphabet=st.characters(codec="ascii"))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(SYMBOL, SYMBOL), min_size=3, max_size=12, unique=True),
    st.sampled_from("\t,;"),
    st.booleans(),
    st.sampled_from([None, "0.5", "1e-3"]),
)
def test_no_edge_is_lost_with_or_without_a_header(tmp_path_factory, rows, delimiter, header, weight) -> None:
    path = tmp_path_factory.mktemp("edges") / "edges.txt"
    full = [row if weight is None else (*row, weight) for row in rows]
    head = [("regulator", "target_gene", "weight")[: len(full[0])]] if header else []
    path.write_text(lines([*head, *full], delimiter), encoding="utf-8")
    assert pairs(load_pairs(path).frame) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "zip archive"),
        (b"RDX3\nrest", "R workspace"),
        (b"PAR1broken", "not a readable parquet"),
        (b"\x89HDF\r\n\x1a\nbroken", "cannot be read as h5ad"),
        (b"<graphml><graph edgedefault='directed'", "not readable GraphML"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><graphml/>", "definitions of its own"),
        (b"<html></html>", "a web page"),
        (b"<other></other>", "not GraphML"),
        (b'{"A": ', "cannot be read"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"A": 1}', "not a dictionary of gene"),
        (b'{"IRF1": ["STAT1"]}', "dictionary:keys=target"),
    ],
)
def test_other_files_are_named_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "edges.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_edges(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "format", "expected"),
    [
        ("peak_id,gene_short_name,STAT1,SPI1\np1,IRF1,1,0\np2,IRF1,1,0\np3,LYZ,0,1\n", "auto", None),
        (",peak_id,gene_short_name,STAT1,SPI1\n0,p1,IRF1,1,0\n1,p3,LYZ,0,1\n", "auto", None),
        ("TF,IRF1,LYZ,B2M\nSTAT1,1,0,0\nSPI1,0,1,0\n", "auto", None),
        ("target,STAT1,SPI1,MYC\nIRF1,1,0,0\nLYZ,0,1,0\n", "auto", None),
        (",STAT1,SPI1,MYC\nIRF1,1,0,0\nLYZ,0,1,0\n", "matrix:rows=target", None),
        (",IRF1,LYZ,B2M\nSTAT1,1,0,0\nSPI1,0,1,0\n", "matrix:rows=tf", None),
        (",IRF1,LYZ,B2M\nSTAT1,1,0,0\nSPI1,0,1,0\n", "auto", "rows=tf or matrix:rows=target"),
        ("gene,STAT1,SPI1,MYC\nIRF1,1,0,0\nLYZ,0,1,0\n", "auto", "name the rows"),
        ("TF,IRF1,LYZ\nSTAT1,0,0\n", "matrix", "all numbers of the matrix are 0"),
    ],
)
def test_matrices(tmp_path: Path, text: str, format: str, expected: str | None) -> None:
    path = write(tmp_path, text, "m.csv")
    if expected is None:
        assert sorted(pairs(load_edges(path, format).frame)) == [("SPI1", "LYZ"), ("STAT1", "IRF1")]
    else:
        with pytest.raises(UserError, match=expected):
            load_edges(path, format)


def test_gmt_of_others(tmp_path: Path) -> None:
    text = "STAT1 (3g)\tna\tIRF1\tB2M\tIFIT1\nSPI1_extended (1g)\tna\tLYZ\nMYC(-)\tna\tCST3,0.5\n"
    edges = load_edges(write(tmp_path, text, "r.gmt"))
    assert pairs(edges.frame) == [
        ("STAT1", "IRF1"),
        ("STAT1", "B2M"),
        ("STAT1", "IFIT1"),
        ("SPI1", "LYZ"),
        ("MYC", "CST3"),
    ]
    assert edges.frame["sign"].tolist() == [0, 0, 0, 0, -1]
    assert edges.frame["weight"].tolist() == [1, 1, 1, 1, 0.5]
    assert pairs(load_edges(write(tmp_path, text, "r.txt"), "gmt").frame) == pairs(edges.frame)


@pytest.mark.parametrize(
    ("text", "weights", "said"),
    [
        ('"TF" "target" "weight"\n"1" "STAT1" "IRF1" 0.5\n"2" "SPI1" "LYZ" 2\n', [0.5, 2], "only numbers the rows"),
        ("TF\ttarget\tweight\t\nSTAT1\tIRF1\t0.5\t\nSPI1\tLYZ\t2\t\n", [0.5, 2], "header: TF, target, weight"),
        # Whole numbers between the ends, or in pairs, may be ids: never a weight.
        ("STAT1\t6772\tIRF1\t3659\nSPI1\t6688\tLYZ\t4069\n", [1, 1], "columns not used: column 4"),
        ("STAT1\tIRF1\t6772\t3659\nSPI1\tLYZ\t6688\t4069\n", [1, 1], "columns not used: column 4"),
        ("STAT1\tIRF1\t870\nSPI1\tLYZ\t150\n", [870, 150], "columns: source, target, weight"),
        ("STAT1\tIRF1\t1\nSPI1\tLYZ\t1\nSPI1\tCST3\t0\n", [1, 1], "1 rows of weight 0 were left out"),
    ],
)
def test_indices_ids_and_empty_columns(tmp_path: Path, text: str, weights: list[float], said: str) -> None:
    edges = load_edges(write(tmp_path, text))
    assert pairs(edges.frame) == [("STAT1", "IRF1"), ("SPI1", "LYZ")]
    assert edges.frame["weight"].tolist() == weights
    assert any(said in note for note in edges.notes)


def test_text_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "edges.txt"
    path.write_bytes("TF\ttarget\r\nSTAT1\tIRF1\r\n".encode("utf-16"))
    assert pairs(load_edges(path).frame) == [("STAT1", "IRF1")]
