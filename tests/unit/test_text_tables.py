"""Fields of TSV and CSV that a spreadsheet would run, and names inside Markdown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from grn_cotrain.data.io.name_lists import read_names
from grn_cotrain.data.io.tables import read_table
from grn_cotrain.present.markdown import code, escape, escape_block
from grn_cotrain.text_tables import formula_guard, guarded, unguarded, write_delimited

PAIRS = [
    ("=1+1", "'=1+1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
    ("-HLA", "'-HLA"),
    ("-", "'-"),
    ("\t=x", "'\t=x"),
    ("\r=x", "'\r=x"),
    ("\uff1dx", "'\uff1dx"),
    ("'=x", "''=x"),
    ("''=x", "'''=x"),
    ("-0.5", "-0.5"),
    ("+3", "+3"),
    ("-1e-05", "-1e-05"),
    ("-inf", "-inf"),
    ("'-5", "'-5"),
    ("STAT1", "STAT1"),
    ("HLA-A", "HLA-A"),
    ("5'UTR", "5'UTR"),
    ("'quoted", "'quoted"),
    ("", ""),
    (-0.5, -0.5),
    (None, None),
]


@pytest.mark.parametrize(("field", "written"), PAIRS, ids=lambda value: repr(value))
def test_the_guard_and_back(field: object, written: object) -> None:
    assert guarded(field) == written
    if isinstance(field, str) and isinstance(written, str):
        assert unguarded(written) == field


def test_every_field_header_and_row_name_of_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"source": ["=A", "B"], "=weight": [-0.5, 2.0], "sign": [-1, 1], "kind": pd.Categorical(["@x", "y"])},
        index=["+r", "s"],
    )
    write_delimited(frame, tmp_path / "a.tsv", index=True, float_format="%.3g")
    assert (tmp_path / "a.tsv").read_text() == (
        "\tsource\t'=weight\tsign\tkind\n'+r\t'=A\t-0.5\t-1\t'@x\ns\tB\t2\t1\ty\n"
    )
    assert list(frame.columns) == ["source", "=weight", "sign", "kind"], "the caller's table stays"
    with formula_guard(False):
        write_delimited(frame, tmp_path / "raw.csv", sep=",")
    assert (tmp_path / "raw.csv").read_text() == "source,=weight,sign,kind\n=A,-0.5,-1,@x\nB,2.0,1,y\n"


def test_our_reader_gives_back_every_name(tmp_path: Path) -> None:
    names = [field for field, _ in PAIRS if isinstance(field, str) and field and field.strip() == field]
    write_delimited(pd.DataFrame({"source": names, "target": "x"}), tmp_path / "a.tsv")
    assert read_table(tmp_path / "a.tsv")["source"].tolist() == names
    (tmp_path / "names.txt").write_text("STAT1\n'=A\n")
    assert read_names(tmp_path / "names.txt") == ["STAT1", "=A"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("STAT1", "STAT1"),
        ("HLA_A", "HLA_A"),
        ("0.5 [0.4, 0.6]", "0.5 [0.4, 0.6]"),
        ("a|b", "a\\|b"),
        ("`x`", "\\`x\\`"),
        ("*x*", "\\*x\\*"),
        ("_x_", "\\_x\\_"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("AT&T", "AT&amp;T"),
        ("[x](http://evil)", "[x\\]\\(http&#58;//evil)"),
        ("![x](y)", "\\![x\\]\\(y)"),
        ("www.evil.org", "www&#46;evil.org"),
        ("a\n\n# b", "a # b"),
        ("a\\|b", "a\\\\\\|b"),
        ("~~x~~", "\\~\\~x\\~\\~"),
    ],
)
def test_names_in_markdown_do_nothing(name: str, shown: str) -> None:
    assert escape(name) == shown


def test_blocks_and_code() -> None:
    assert [escape_block(text) for text in ("# a", "- a", "+ a", "1. a", "= a", "a # b")] == [
        "\\# a",
        "\\- a",
        "\\+ a",
        "1\\. a",
        "\\= a",
        "a # b",
    ]
    assert code("random-seed0") == "`random-seed0`"
    assert code("a`b") == "a\\`b"
    assert code("a|b") == "a\\|b"
    assert code("<b>") == "&lt;b&gt;"
