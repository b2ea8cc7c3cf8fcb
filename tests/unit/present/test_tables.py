"""One table through four renderers: the same cells, the same numbers, nothing cut and nothing run."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from grn_cotrain.present import Cell, Column, Row, Table, figure, table, whole
from grn_cotrain.present.html import to_html
from grn_cotrain.present.markdown import Markdown, page, to_markdown
from grn_cotrain.present.sections import Section
from grn_cotrain.present.terminal import plain_lines, print_sections, print_table

SCORES = table(
    ("scorer", Column("macro AUROC", title="mean over TFs")),
    [
        Row([Cell("joint"), figure(0.4137, 0.4, 0.42)], tone="model"),
        [Cell("kernel_ridge"), figure(-0.05, -0.06, -0.04, star="best control")],
        ["random", figure(None)],
    ],
    name="scores",
    caption="Scores: all",
    note="How to read it",
)
SECTION = Section(
    "key",
    "Title",
    ("A paragraph [not markup].",),
    (table(("name", "value"), [("a|b", "1.5"), ("c", "-")], caption="Caption", note="A note"),),
)


def printed(shown: Table, *, width: int = 100) -> str:
    out = io.StringIO()
    print_table(shown, Console(file=out, force_terminal=True, width=width, color_system=None))
    return out.getvalue()


def test_plain_lines_are_aligned() -> None:
    assert plain_lines(SCORES) == [
        "Scores: all",
        "scorer                     macro AUROC",
        "joint            0.414 [0.400, 0.420]",
        "kernel_ridge  -0.050 [-0.060, -0.040]*",
        "random                              -",
        "How to read it",
    ]


def test_four_renderers_show_the_same_numbers() -> None:
    html = to_html(SCORES).striptags().replace("\N{MINUS SIGN}", "-")
    for drawn in ("\n".join(plain_lines(SCORES)), printed(SCORES), to_markdown(SCORES), html):
        assert re.findall(r"-?\d\.\d+", drawn) == [
            *("0.414", "0.400", "0.420"),
            *("-0.050", "-0.060", "-0.040"),
        ]


def test_markdown() -> None:
    assert to_markdown(SCORES) == (
        "**Scores: all**\n\n"
        "| scorer | macro AUROC |\n"
        "| --- | ---: |\n"
        "| **joint** | 0.414 [0.400, 0.420] |\n"
        "| kernel_ridge | -0.050 [-0.060, -0.040] \\* |\n"
        "| random | - |\n\n"
        "*How to read it*"
    )


def test_markdown_of_our_own_pages_stays_markdown() -> None:
    shown = table(("kind",), [[Markdown("[`sage`](page.md) a|b")], ["[`x`](y)"], [Cell("a_b", code=True)]])
    lines = to_markdown(shown).split("\n")[2:]
    assert lines == ["| [`sage`](page.md) a\\|b |", r"| [\`x\`\]\(y) |", "| `a_b` |"]


def test_html_marks_models_stars_and_sort_values() -> None:
    html = str(to_html(SCORES))
    assert '<tr class="model">' in html
    assert 'data-value="0.4137"' in html
    assert '<span class="star" title="best control">*</span>' in html
    assert '<span class="interval">[0.400, 0.420]</span>' in html
    assert 'title="mean over TFs"' in html
    assert ">–</td>" in html  # noqa: RUF001
    assert "&lt;b&gt;" in str(to_html(table(("<b>",), [["<b>"]])))


def test_words_keep_their_hyphens_in_html() -> None:
    html = str(to_html(table(("split", "value"), [("unseen-tf-5", figure(-1.0))])))
    assert "unseen-tf-5" in html
    assert "−1.000" in html  # noqa: RUF001


def test_columns_of_numbers_are_found() -> None:
    shown = table(
        ("name", "value", "share", "hash"),
        [("a", "0.5 [0.4, 0.6]", "2.1 %", "1f"), ("b", "-", "", "2")],
    )
    assert [column.numeric for column in shown.columns] == [False, True, True, False]
    assert [cell.value for cell in (whole(3), whole(None), figure(None))] == [3.0, None, None]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_terminal_cuts_no_number(width: int) -> None:
    wide = table(["scorer", *"abcde"], [["x", *(figure(0.5, 0.4, 0.6) for _ in range(5))]], caption="wide: all")
    text = printed(wide, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("[0.400, 0.600]") == 5
    assert ("(continued)" in text) == (width < 100)


def test_a_table_has_one_width() -> None:
    with pytest.raises(ValueError, match="a row has 2 cells, not 1"):
        table(("a",), [("1", "2")])


def test_a_page_in_markdown() -> None:
    text = page("Page", [SECTION])
    assert text.startswith(
        "# Page\n\n## Title\n\nA paragraph [not markup].\n\n**Caption**\n\n| name | value |\n| --- | ---: |"
    )
    assert "| a\\|b | 1.5 |" in text
    assert "*A note*" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_page_on_a_console(terminal: bool) -> None:
    out = io.StringIO()
    print_sections([SECTION], Console(file=out, force_terminal=terminal, width=80))
    for words in ("Title", "A paragraph [not markup].", "Caption", "a|b", "1.5", "A note"):
        assert words in out.getvalue()
    if not terminal:
        assert "name  value\na|b     1.5\nc         -\n" in out.getvalue()
