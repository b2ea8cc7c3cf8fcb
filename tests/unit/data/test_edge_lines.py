"""Edges that are not one a line of a table: SIF, arrows, JSON, ragged lines; marks in numbers; columns before names."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from grn_cotrain.data.io.edges import load_edges, load_pairs
from grn_cotrain.errors import UserError


def read(tmp_path: Path, text: str, name: str = "edges.tsv") -> tuple[dict[tuple[str, str], tuple[float, int]], str]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    edges = load_edges(path)
    rows = edges.frame[["source", "target", "weight", "sign"]].itertuples(index=False, name=None)
    return {(a, b): (pytest.approx(w), s) for a, b, w, s in rows}, "\n".join(edges.notes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sif", "STAT1 pd IRF1 B2M\nSPI1 pd LYZ\n"),
        ("a.sif", "SPI1 pd LYZ\nSTAT1 pd IRF1 B2M\n"),
        ("a.sif", "SPI1\tpd\tLYZ\nGATA1\nSTAT1\tpp\tIRF1\tB2M\n"),
        ("a.sif", "source\tinteraction\ttarget\nSPI1\tpd\tLYZ\nSTAT1\tpd\tIRF1\nSTAT1\tpp\tB2M\n"),
        ("a.txt", "STAT1 pd IRF1 B2M\nSPI1 pd LYZ\n"),
    ],
)
def test_every_target_of_a_line_of_sif_is_read(tmp_path: Path, name: str, text: str) -> None:
    edges, notes = read(tmp_path, text, name)
    assert edges == {("STAT1", "IRF1"): (1, 0), ("STAT1", "B2M"): (1, 0), ("SPI1", "LYZ"): (1, 0)}
    assert ("nodes without an edge in the file: 1" in notes) == ("GATA1" in text)


def test_the_relation_of_sif_is_the_sign_where_it_is_one(tmp_path: Path) -> None:
    edges, _ = read(tmp_path, "STAT1 activates IRF1 B2M\nSPI1 represses LYZ\n", "a.sif")
    assert edges == {("STAT1", "IRF1"): (1, 1), ("STAT1", "B2M"): (1, 1), ("SPI1", "LYZ"): (1, -1)}
    with pytest.raises(UserError, match="line 2 has two cells, but a line of SIF is a source, a relation and targets"):
        read(tmp_path, "STAT1 pd IRF1\nSPI1 LYZ\n", "a.sif")


@pytest.mark.parametrize("text", ["STAT1 -> IRF1\nHLA-A -| B2M\n", "STAT1-->IRF1\nHLA-A--|B2M\n"])
def test_arrows_are_signs(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text)[0] == {("STAT1", "IRF1"): (1, 1), ("HLA-A", "B2M"): (1, -1)}
    assert read(tmp_path, text.replace("\n", "\t0.5\n"))[0] == {
        ("STAT1", "IRF1"): (0.5, 1),
        ("HLA-A", "B2M"): (0.5, -1),
    }


@pytest.mark.parametrize(
    "text",
    ["STAT1\tIRF1\t0.5\tB2M\t0.3\nSPI1\tLYZ\t0.2\n", "STAT1 IRF1 B2M\nSPI1 LYZ\n"],
)
def test_lines_that_may_hold_several_edges_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"lines hold [23], [35] cells, so some may hold several edges \(like B2M\)"):
        read(tmp_path, text)


def test_json_of_one_object_an_edge_is_a_table(tmp_path: Path) -> None:
    rows = [{"source": "STAT1", "target": "IRF1", "weight": 0.5}, {"source": "STAT1", "target": "B2M", "weight": 2}]
    expected = {("STAT1", "IRF1"): (0.5, 0), ("STAT1", "B2M"): (2, 0)}
    assert read(tmp_path, json.dumps(rows), "a.json")[0] == expected
    assert read(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")[0] == expected


@pytest.mark.parametrize("weights", [("0.5", "0.2"), ("999", "400"), ("3", "1")])
def test_numbers_before_the_names_are_weights(tmp_path: Path, weights: tuple[str, str]) -> None:
    text = "".join(f"{weight}\tSTAT1\t{gene}\n" for weight, gene in zip(weights, ("IRF1", "B2M"), strict=True))
    edges, notes = read(tmp_path, text)
    assert edges == {("STAT1", "IRF1"): (float(weights[0]), 0), ("STAT1", "B2M"): (float(weights[1]), 0)}
    assert "numbers the rows" not in notes


@pytest.mark.parametrize("start", [0, 1])
def test_whole_numbers_in_order_number_the_rows(tmp_path: Path, start: int) -> None:
    edges, notes = read(tmp_path, f"{start}\tSTAT1\tIRF1\t0.5\n{start + 1}\tSTAT1\tB2M\t0.2\n")
    assert edges == {("STAT1", "IRF1"): (0.5, 0), ("STAT1", "B2M"): (0.2, 0)}
    assert "the first column only numbers the rows" in notes


def test_ids_before_the_names_are_no_weights(tmp_path: Path) -> None:
    edges, notes = read(tmp_path, "6772\tSTAT1\tIRF1\n6772\tSTAT1\tB2M\n6688\tSPI1\tLYZ\n")
    assert all(weight == 1 for weight, _ in edges.values())
    assert "columns: evidence, source, target" in notes


def test_a_column_without_a_name_is_named_by_its_place_and_offered_as_the_weight(tmp_path: Path) -> None:
    for text, place in (
        ("\tsource\ttarget\n.5\tSTAT1\tIRF1\n.2\tSTAT1\tB2M\n", 1),
        ("source\ttarget\t\nSTAT1\tIRF1\t.5\nSTAT1\tB2M\t.2\n", 3),
    ):
        edges, notes = read(tmp_path, text)
        assert all(weight == 1 for weight, _ in edges.values())
        assert f"columns not used: column {place}" in notes
        assert f"--format 'tsv:weight=column {place}' takes column 'column {place}'" in notes
        told = load_edges(tmp_path / "edges.tsv", f"tsv:weight=column {place}")
        assert sorted(told.frame["weight"]) == pytest.approx([0.2, 0.5])


def test_p_values_are_not_offered_as_weights(tmp_path: Path) -> None:
    assert "takes column" not in read(tmp_path, "source\ttarget\tpvalue\nSTAT1\tIRF1\t1e-9\n")[1]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (("0,5", "12,25"), (0.5, 12.25)),
        (("1.234,5", "2,5"), (1234.5, 2.5)),
        (("1,234.5", "2.5"), (1234.5, 2.5)),
        (("1,234,567", "1,000"), (1234567, 1000)),
        (("5e-3", "1E+2"), (0.005, 100)),
        (("0,500", "0,250"), (0.5, 0.25)),
    ],
)
def test_marks_in_numbers_are_read_where_they_are_clear(
    tmp_path: Path, weights: tuple[str, str], expected: tuple[float, float]
) -> None:
    text = f"source\ttarget\tweight\nSTAT1\tIRF1\t{weights[0]}\nSTAT1\tB2M\t{weights[1]}\n"
    assert read(tmp_path, text)[0] == {("STAT1", "IRF1"): (expected[0], 0), ("STAT1", "B2M"): (expected[1], 0)}


def test_a_comma_before_three_digits_alone_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weight '1,234' may be 1234 or 1\.234; write numbers without"):
        read(tmp_path, "source\ttarget\tweight\nSTAT1\tIRF1\t1,234\nSTAT1\tB2M\t2,500\n")


def test_a_mark_at_the_end_of_each_row_moves_no_column(tmp_path: Path) -> None:
    edges, _ = read(tmp_path, "source,target,weight\nSTAT1,IRF1,.5,\nSTAT1,B2M,.2,\n", "a.csv")
    assert edges == {("STAT1", "IRF1"): (0.5, 0), ("STAT1", "B2M"): (0.2, 0)}


def test_r_writes_tables_without_a_corner(tmp_path: Path) -> None:
    text = '"source" "target" "weight"\n"1" "STAT1" "IRF1" 0.5\n"2" "STAT1" "B2M" 0.25\n'
    assert read(tmp_path, text, "a.txt")[0] == {("STAT1", "IRF1"): (0.5, 0), ("STAT1", "B2M"): (0.25, 0)}


@pytest.mark.parametrize(("up", "down"), [("increase", "decrease"), ("-->", "--|"), ("Upregulates", "Downregulates")])
def test_more_words_for_signs(tmp_path: Path, up: str, down: str) -> None:
    edges, _ = read(tmp_path, f"TF\tgene\teffect\nSTAT1\tIRF1\t{up}\nSTAT1\tB2M\t{down}\n")
    assert edges == {("STAT1", "IRF1"): (1, 1), ("STAT1", "B2M"): (1, -1)}


def test_pairs_of_sif_are_one_row_each(tmp_path: Path) -> None:
    path = tmp_path / "pairs.sif"
    path.write_text("STAT1 pd IRF1 B2M\nSTAT1 pd IRF1\n")
    assert load_pairs(path).frame.to_numpy().tolist() == [["STAT1", "IRF1"], ["STAT1", "B2M"], ["STAT1", "IRF1"]]


def test_several_targets_in_a_cell_are_edges(tmp_path: Path) -> None:
    edges, notes = read(tmp_path, "TF\ttargets\tweight\nSTAT1\tIRF1; B2M\t0.5\nSPI1\tLYZ\t2\n")
    assert edges == {("STAT1", "IRF1"): (0.5, 0), ("STAT1", "B2M"): (0.5, 0), ("SPI1", "LYZ"): (2, 0)}
    assert "1 rows hold several targets, and each of these became an edge" in notes
    edges, _ = read(tmp_path, 'regulon,genes\nSTAT1(+),"IRF1,B2M"\n', "a.csv")
    assert edges == {("STAT1", "IRF1"): (1, 1), ("STAT1", "B2M"): (1, 1)}


def test_a_matrix_may_have_decimal_commas(tmp_path: Path) -> None:
    edges, _ = read(tmp_path, "TF;IRF1;B2M\nSTAT1;0,5;0\nSPI1;0;1\n", "a.csv")
    assert edges == {("STAT1", "IRF1"): (0.5, 0), ("SPI1", "B2M"): (1, 0)}


def test_the_levels_of_a_parquet_index_are_columns(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_tuples([("STAT1", "IRF1")], names=["TF", "target"])
    pd.DataFrame({"weight": [0.5]}, index=index).to_parquet(tmp_path / "a.parquet")
    assert load_edges(tmp_path / "a.parquet").frame["weight"].tolist() == [0.5]


def test_a_column_of_networks_is_named_where_no_selector_reads_it(tmp_path: Path) -> None:
    assert "columns not used: network" in read(tmp_path, "network\tsource\ttarget\nA\tSTAT1\tIRF1\n")[1]


def test_nul_bytes_cut_no_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds NUL bytes, so it is binary, or UTF-16 without its mark"):
        read(tmp_path, "source\ttarget\nSTAT1\tIR\0F1\n")
